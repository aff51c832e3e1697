"""PIA by the sum form against one convolution of 9 channels, its authors' affinities, and its files in any layout."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from diffusers import MotionAdapter
from frameloom.models.edits.call import Call, Condition
from frameloom.models.errors import CheckpointError
from frameloom.models.motion.checkpoint import read_motion_weights, to_diffusers
from frameloom.models.motion.mask_adapter import MaskEncoder
from frameloom.models.motion.pia import (
    AFFINITIES,
    AS_WRITTEN,
    PIA_KEY,
    PICTURE_KEY,
    PiaPicture,
    check_pia,
    read_affinity,
)
from frameloom.models.motion.save import save_motion
from frameloom.models.video.schedules import ANIMATEDIFF
from frameloom.tests.support.motion import equal_states, save, tiny_state, tiny_weights
from frameloom.tests.support.tensors import draw

WIDTH, FRAMES = 32, 6
WIDENED = draw(WIDTH, 9, 3, 3, seed=1)

# By the code of PIA's authors, of 16 frames whose first is given. Numbers are counts: [1, 2 x .9] is [1, .9, .9].
OFFICIAL = {
    "small motion": [(1.0, 1), (0.9, 1), (0.85, 3), (0.8, 11)],
    "medium motion": [(1.0, 1), (0.8, 3), (0.79, 1), (0.78, 1), (0.75, 10)],
    "large motion": [(1.0, 1), (0.8, 1), (0.7, 8), (0.6, 1), (0.5, 5)],
    "small motion, loop": [(1.0, 1), (0.9, 1), (0.85, 3), (0.8, 7), (0.85, 2), (0.9, 1), (1.0, 1)],
    "medium motion, loop": [
        (1.0, 1), (0.8, 3), (0.79, 1), (0.78, 1), (0.75, 5), (0.78, 1), (0.79, 1), (0.8, 2), (1.0, 1),
    ],
    "large motion, loop": [
        (1.0, 1), (0.8, 1), (0.7, 4), (0.6, 1), (0.5, 2), (0.6, 1), (0.7, 4), (0.8, 1), (1.0, 1),
    ],
    "small motion, style transfer": [(0.5, 1), (0.4, 3), (0.35, 1), (0.3, 11)],
    "medium motion, style transfer": [(0.5, 1), (0.4, 3), (0.35, 2), (0.3, 1), (0.25, 1), (0.2, 8)],
    "large motion, style transfer": [(0.5, 1), (0.2, 15)],
}  # fmt: skip


def call(frames=FRAMES, conditions=2, **more):
    ids = more.pop("frame_ids", tuple(range(frames)))
    return Call(frames, 1, tuple(Condition(n) for n in range(conditions)), ids, 1.0, 0.5, (8, 8), **more)


def picture(*frames, affinity=(1.0, 0.75, 0.5)):
    latents = draw(len(frames), 4, 8, 8, seed=2)
    return PiaPicture.of(latents, frames, torch.tensor(affinity))


def network(weight=WIDENED):
    made = MaskEncoder(WIDTH).requires_grad_(False)
    made.conv.weight.data.copy_(weight[:, 4:])
    return SimpleNamespace(picture_encoder=made)


@pytest.mark.parametrize("given", [0, 2])
def test_the_sum_is_the_convolution_of_nine_channels(given):
    noisy, pictures = draw(2 * FRAMES, 4, 8, 8), picture(given)
    mask = torch.tensor([[1.0, 0.75, 0.5][min(abs(frame - given), 2)] for frame in range(FRAMES)])
    word = torch.cat(
        [mask.view(-1, 1, 1, 1).expand(-1, 1, 8, 8), pictures.latents.expand(FRAMES, -1, -1, -1)], 1
    )
    wanted = torch.nn.functional.conv2d(torch.cat([noisy, word.repeat(2, 1, 1, 1)], 1), WIDENED, padding=1)
    base = torch.nn.functional.conv2d(noisy, WIDENED[:, :4], padding=1)
    got = base + pictures.begin(base, call(), network())
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_a_window_has_its_frames_distances():
    base, pictures = draw(2 * FRAMES, WIDTH, 8, 8), picture(1)
    whole = pictures.begin(base, call(), network())
    rows = [2, 3, 4, 2 + FRAMES, 3 + FRAMES, 4 + FRAMES]
    part = pictures.begin(base[rows], call(3, frame_ids=(2, 3, 4), is_part=True), network())
    torch.testing.assert_close(part, whole[rows], rtol=1e-5, atol=1e-5)


def test_of_several_pictures_the_nearest_and_the_largest_affinity_count():
    pictures = picture(4, 0, affinity=(1.0, 0.9, 0.5, 0.2))
    assert pictures.nearest(range(FRAMES)) == [1, 1, 1, 0, 0, 0]  # of two that are as near, the earlier
    assert pictures.mask(range(FRAMES)).flatten().tolist() == pytest.approx([1, 0.9, 0.5, 0.9, 1, 0.9])
    assert pictures.mask([40]).item() == pytest.approx(0.2)
    twice = PiaPicture.of(draw(2, 4, 8, 8), [3, 3], torch.ones(1))
    assert twice.frames == (3,)
    torch.testing.assert_close(twice.latents / 0.18215, draw(2, 4, 8, 8)[1:])


@pytest.mark.parametrize("name", AFFINITIES)
def test_affinities_are_those_of_the_authors(name):
    wanted = [value for value, count in OFFICIAL[name] for _ in range(count)]
    assert len(wanted) == 16
    assert read_affinity(name, "", 16).tolist() == pytest.approx(wanted)
    assert read_affinity(name, "", 20).tolist() == pytest.approx(wanted + wanted[-1:] * 4)


def test_written_affinities_are_a_list_or_keys():
    assert read_affinity(AS_WRITTEN, "1, .5", 4).tolist() == [1, 0.5, 0.5, 0.5]
    assert read_affinity(AS_WRITTEN, "0: 1, 2: 0", 4).tolist() == [1, 0.5, 0, 0]
    for text, said in (
        ("", "got no number"),
        ("1, nan", "got 'nan'"),
        ("1, 1.5", "got 1.5; expected 0 to 1"),
    ):
        with pytest.raises(ValueError, match=f"affinities: {said}"):
            read_affinity(AS_WRITTEN, text, 4)
    with pytest.raises(ValueError, match=r"got -0\.5; expected 0 to 1"):
        read_affinity(AS_WRITTEN, "-0.5", 4)


def test_a_picture_of_another_size_is_refused():
    low = replace(call(), size=(4, 8))
    with pytest.raises(
        ValueError, match=r"PIA Picture: got pictures for latents of 8 x 8 cells and a clip of 4 x"
    ):
        picture(0).begin(draw(12, WIDTH, 4, 8), low, network())


def test_what_is_no_pia_is_refused():
    with pytest.raises(
        ValueError, match=r"motion: got mm.ckpt, which has no picture encoder; expected a PIA module"
    ):
        check_pia("mm.ckpt", False)
    with pytest.raises(ValueError, match="vae: got one whose latents have 16 channels; expected 4"):
        PiaPicture.of(torch.zeros(1, 16, 8, 8), [0], torch.ones(1))


def of_file(path):
    weights = read_motion_weights(path)
    assert (weights.family, weights.clip_norm, weights.beta_schedule) == ("pia", True, ANIMATEDIFF)
    assert weights.size.picture_encoder
    assert not weights.size.mask_encoder
    assert equal_states(weights.state, tiny_state(middle=False) | {PICTURE_KEY: WIDENED[:, 4:]})
    return weights


def test_every_layout_is_read_to_the_same_weights(tmp_path):
    """The authors', with the bias of their base; diffusers'; and what we write of it."""
    own = tiny_state(middle=False) | {PIA_KEY: WIDENED, "conv_in.bias": torch.ones(WIDTH)}
    torch.save({"state_dict": {f"module.{key}": value for key, value in own.items()}}, tmp_path / "pia.ckpt")
    weights = of_file(tmp_path / "pia.ckpt")
    state, config = to_diffusers(tiny_weights(middle=False))
    adapter = MotionAdapter(**{**config, "conv_in_channels": 9})
    adapter.load_state_dict(state | {PIA_KEY: WIDENED, "conv_in.bias": torch.ones(WIDTH)})
    adapter.save_pretrained(tmp_path / "adapter")
    of_file(tmp_path / "adapter")
    save_motion(tmp_path / "again.safetensors", weights)
    of_file(tmp_path / "again.safetensors")
    assert PIA_KEY not in to_diffusers(weights)[0]


def test_a_convolution_of_another_base_is_refused(tmp_path):
    path = save(tmp_path / "pia.safetensors", tiny_state() | {PIA_KEY: torch.zeros(64, 9, 3, 3)})
    with pytest.raises(
        CheckpointError, match=r"picture_encoder.conv.weight is \(64, 5, 3, 3\); expected \(32, 5"
    ):
        read_motion_weights(path)


def test_fancy_videos_convolution_is_not_taken_for_pias(tmp_path):
    """Its channels are in another order."""
    more = {PIA_KEY: WIDENED, "fps_embedding.linear.weight": torch.zeros(128, WIDTH)}
    with pytest.raises(CheckpointError, match="is a FancyVideo module"):
        read_motion_weights(save(tmp_path / "fancy.safetensors", tiny_state() | more))
