"""Scenes joined: lengths, order, weights of a cross-fade, and what can't be joined."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.video.scene_joins import join_scenes


def scenes(*lengths, size=(4, 6, 3)):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(length, *size, generator=generator) for length in lengths]


def test_a_hard_cut_leaves_every_frame_as_it_is_and_a_scene_alone_is_itself():
    parts = scenes(3, 1, 5)
    assert torch.equal(join_scenes(parts), torch.cat(parts))
    assert join_scenes(parts[:1], cross_fade=3) is parts[0]


@pytest.mark.parametrize("cross_fade", [1, 2, 3])
def test_a_cross_fade_is_the_weighted_mean_of_both(cross_fade):
    first, second, third = parts = scenes(4, 6, 3)
    video = join_scenes(parts, cross_fade)
    assert len(video) == 13 - 2 * cross_fade
    assert torch.equal(video[: 4 - cross_fade], first[: 4 - cross_fade])
    for place in range(cross_fade):
        share = (place + 1) / (cross_fade + 1)
        for start, old, new in ((4, first, second), (10 - cross_fade, second, third)):
            mean = (1 - share) * old[len(old) - cross_fade + place] + share * new[place]
            torch.testing.assert_close(video[start - cross_fade + place], mean)


@pytest.mark.parametrize(
    ("parts", "cross_fade", "message"),
    [
        ([], 0, r"images: got no scenes"),
        (
            scenes(2) + scenes(2, size=(8, 6, 3)),
            0,
            r"images: scene 2 of 2 is 6 x 8 with 3 channels; expected 6 x 4 with 3",
        ),
        (scenes(2) + scenes(2, size=(4, 6, 4)), 0, r"scene 2 of 2 is 6 x 4 with 4 channels"),
        (
            scenes(9, 5, 9),
            3,
            r"cross_fade=3: scene 2 of 3 has 5 frames; expected at least 6, a fade at either end",
        ),
        (scenes(2, 9), 3, r"cross_fade=3: scene 1 of 2 has 2 frames; expected at least 3, a fade at one end"),
    ],
)
def test_what_cannot_be_joined_is_said(parts, cross_fade, message):
    with pytest.raises(ValueError, match=message):
        join_scenes(parts, cross_fade)
