"""Prompts by latent frame: the time law, the shares of each frame, and what places read."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.long_video.prompt_travel import plan_travel, travel_conditions
from frameloom.models.long_video.prompt_video import join_prompts
from frameloom.models.network.time_law import TimeLaw
from frameloom.models.video.prompt_shares import PromptShares, read_by_shares
from frameloom.models.video.tokens import frames_of_tokens
from torch.nn import functional

WAN, LTX, PICTURES = TimeLaw(4), TimeLaw(8), TimeLaw()


@pytest.mark.parametrize("law", [WAN, LTX, PICTURES, TimeLaw(6)])
def test_latent_frames_share_out_a_clip_without_gaps(law):
    """The first latent frame is one frame, as a causal encoder has it."""
    frames = [frame for latent in range(7) for frame in law.frames(latent)]
    assert frames == list(range(len(frames)))
    assert list(law.frames(0)) == [0]
    assert law.latents(len(frames)) == 7
    for frame in frames:
        assert (
            law.frames(law.latents(frame + 1) - 1)[0] <= frame
        )  # the clip up to a frame ends in its latent frame


def test_the_law_of_pictures_is_a_latent_for_each_frame():
    assert [list(PICTURES.frames(latent)) for latent in range(3)] == [[0], [1], [2]]
    assert PICTURES.latents(12) == 12


def shares_of(keys, frames, interpolation):
    encoded = {prompt: [[torch.zeros(1, 2, 3), {}]] for prompt in keys.values()}
    ((_, shares),) = join_prompts(encoded, keys, plan_travel(keys, frames, interpolation), WAN)
    return shares.shares


def test_shares_are_those_of_the_first_frame_that_a_latent_stands_for():
    frames = torch.tensor([0, 1, 5, 9, 13]) / 16
    torch.testing.assert_close(shares_of({0: "a", 16: "b"}, 17, "linear"), torch.stack([1 - frames, frames]))


def test_a_cut_is_seen_from_the_first_latent_frame_on_that_begins_at_it_or_later():
    """Frame 6 lies within the latent frame of 5 to 8."""
    assert shares_of({0: "a", 6: "b"}, 17, "hold")[1].tolist() == [0, 0, 0, 1, 1]


def test_prompts_that_no_latent_frame_begins_with_are_left_out():
    assert len(shares_of({0: "a", 6: "b", 8: "c", 9: "d"}, 17, "hold")) == 2


def test_tokens_of_all_prompts_stand_side_by_side_with_their_masks():
    generator = torch.Generator().manual_seed(0)
    encoded = {
        name: [[torch.randn(1, length, 3, generator=generator), {"attention_mask": torch.ones(1, length)}]]
        for name, length in {"a": 4, "b": 6}.items()
    }
    keys = {0: "a", 5: "b"}
    ((tokens, options), shares), *more = join_prompts(encoded, keys, plan_travel(keys, 9, "hold"), WAN)
    assert not more
    assert shares.spans == ((0, 4), (4, 10))
    assert torch.equal(tokens[:, 4:], encoded["b"][0][0])
    assert options["attention_mask"].shape == (1, 10)
    assert (shares.tokens, shares.latents) == (10, 3)


def test_one_prompt_is_the_plain_condition():
    encoded = {"a": [[torch.ones(1, 4, 3), {}]]}
    keys = {0: "a", 5: "a"}
    assert travel_conditions(encoded, keys, plan_travel(keys, 9, "linear")) is encoded["a"]


def test_places_read_their_prompts_as_attention_by_a_mask_does():
    """Shares of 0 and 1 are a mask of minus infinity; shares between are the mean of two such readings."""
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, n, 8, generator=generator) for n in (7, 5, 5))
    spans, shares = ((0, 2), (2, 5)), torch.tensor([[1, 1, 0.25, 0, 0, 0, 0.5], [0, 0, 0.75, 1, 1, 1, 0.5]])

    def attend(places, span):
        return functional.scaled_dot_product_attention(q[:, places], k[:, span], v[:, span])

    def masked(span):
        mask = torch.full((7, 5), float("-inf"))
        mask[:, slice(*span)] = 0
        return functional.softmax(q @ k.mT / 8**0.5 + mask, -1) @ v

    wanted = sum(share[:, None] * masked(span) for span, share in zip(spans, shares, strict=True))
    torch.testing.assert_close(read_by_shares(attend, spans, shares), wanted)


def test_references_read_the_mean_of_the_frames_that_are_sampled():
    shares = PromptShares(((0, 2), (2, 4)), torch.tensor([[1.0, 1, 0], [0, 0, 1]]))
    frames = frames_of_tokens(8, [1, 2], 2, front=3)
    assert frames.tolist() == [-1, -1, -1, 1, 1, 2, 2, -1]
    assert shares.of_tokens(frames)[0].tolist() == [0.5, 0.5, 0.5, 1, 1, 0, 0, 0.5]


def test_too_few_tokens_are_refused():
    with pytest.raises(
        ValueError, match="attention has 7 tokens; expected 8 at least: 0 of references and 8 of 2"
    ):
        frames_of_tokens(7, [0, 1], 4)
