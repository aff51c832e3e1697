"""AnimateLCM-I2V: its encoder against the formula written out, where its maps go, and its file."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from frameloom.models.edits.call import Call, Condition
from frameloom.models.errors import CheckpointError
from frameloom.models.motion.checkpoint import MotionWeights, read_motion_weights, to_diffusers
from frameloom.models.motion.few_steps import CONSISTENCY
from frameloom.models.motion.image_encoder import PREFIX, ImageEncoder
from frameloom.models.motion.lcm_picture import PLACES, LcmPicture, check_lcm
from frameloom.models.motion.module import MotionModel
from frameloom.models.motion.save import save_motion
from frameloom.models.network.unet import SD1
from frameloom.models.video.schedules import BetaSchedule
from frameloom.tests.support.motion import equal_states, save, tiny_size, tiny_state
from frameloom.tests.support.tensors import draw

WIDTHS, FRAMES = (32, 64, 64, 64), 3
SIZE = replace(tiny_size(max_frames=64), image_encoder=True)


def encoder(widths=WIDTHS, scale=0.2):
    torch.manual_seed(0)
    made = ImageEncoder(widths).requires_grad_(False)
    for name, value in made.named_parameters():
        value.copy_(scale * draw(*value.shape, seed=len(name)))
    return made


def by_hand(state, latents, drift):
    """The maps, with convolutions as products of unfolded patches and pools as means over index."""

    def conv(name, hidden):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        side = weight.shape[-1]
        patches = torch.nn.functional.unfold(hidden, side, padding=side // 2)
        return (weight.flatten(1) @ patches).unflatten(2, hidden.shape[-2:]) + bias.view(-1, 1, 1)

    def halved(hidden):
        rows, columns = (torch.arange(2 * math.ceil(n / 2)).clamp(max=n - 1) for n in hidden.shape[-2:])
        whole = hidden[:, :, rows][..., columns]
        return sum(whole[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4

    hidden, maps = conv("conv_in", latents), []
    width = hidden.shape[1]
    for frame in range(len(latents)):
        for channel in range(width):
            angle = frame / 10_000 ** (channel // 2 * 2 / width)
            hidden[frame, channel] += drift * (math.cos if channel % 2 else math.sin)(angle)
    for block in range(8):
        if block in (2, 4, 6):
            hidden = halved(hidden)
        if f"body.{block}.in_conv.weight" in state:
            hidden = conv(f"body.{block}.in_conv", hidden)
        hidden = hidden + conv(f"body.{block}.block2", conv(f"body.{block}.block1", hidden).clamp(min=0))
        if block % 2:
            maps.append(hidden)
    return maps


@pytest.mark.parametrize(("size", "drift"), [((8, 8), 0.8), ((7, 10), 0.0), ((5, 3), 2.0)])
def test_the_encoder_is_the_formula(size, drift):
    """Also for sizes that a level halves unevenly, which it rounds up as the UNet does."""
    made, latents = encoder().double(), draw(FRAMES, 4, *size, seed=1).double()
    maps = made(latents, drift)
    for level, (got, wanted) in enumerate(zip(maps, by_hand(made.state_dict(), latents, drift), strict=True)):
        assert got.shape == (FRAMES, WIDTHS[level], *(math.ceil(side / 2**level) for side in size))
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_it_has_the_keys_of_its_authors_file():
    with torch.device("meta"):
        made = ImageEncoder([SD1.slots[f"down_blocks.{level}.motion_modules.1"] for level in SD1.levels])
    state = made.state_dict()
    assert len(state) == 38
    assert sum(value.numel() for value in state.values()) == pytest.approx(76.8e6, rel=1e-3)
    assert tuple(state["conv_in.weight"].shape) == (320, 4, 3, 3)
    assert {key.split(".")[1] for key in state if ".in_conv." in key} == {"2", "4"}
    assert tuple(state["body.7.block2.weight"].shape) == (1280, 1280, 1, 1)


def call(*frame_ids, conditions=2, **more):
    told = tuple(Condition(number) for number in range(conditions))
    return Call(len(frame_ids), 1, told, frame_ids, 1.0, 0.5, (8, 8), **more)


class Watched:
    """A module's network that counts how often its encoder is asked."""

    def __init__(self):
        self.asked, made = [], encoder()

        def img_encoder(latents, drift):
            self.asked.append(len(latents))
            return made(latents, drift)

        self.img_encoder, self.made = img_encoder, made


def test_each_levels_map_is_added_at_its_second_slot_of_the_way_down():
    picture, network = LcmPicture(draw(1, 4, 8, 8), 0.8), Watched()
    maps = network.made(picture.latents.expand(FRAMES, -1, -1, -1), 0.8)
    now = call(*range(FRAMES))
    for slot in SD1.slots:
        level = {f"down_blocks.{level}.motion_modules.1": level for level in range(4)}.get(slot)
        side = 8 // 2 ** (level or 0)
        got = picture.enter(slot, torch.zeros(2 * FRAMES, 1, side, side), now, network)
        if level is None:
            assert got is None
        else:
            torch.testing.assert_close(got, maps[level].repeat(2, 1, 1, 1), rtol=1e-5, atol=1e-6)
    assert network.asked == [FRAMES]


def test_a_clips_maps_are_made_once_for_all_calls_and_windows():
    network, memory = Watched(), {}
    slot = next(iter(PLACES))

    def enter(picture, *ids):
        return picture.enter(slot, torch.zeros(2 * len(ids), 1, 8, 8), call(*ids, memory=memory), network)

    one = LcmPicture(draw(1, 4, 8, 8), 0.8)
    first = enter(one, 0, 1, 2)
    assert torch.equal(enter(one, 4, 5, 6), first)  # a window's frames count from its first
    enter(LcmPicture(draw(1, 4, 8, 8), 0.0), 0, 1, 2)
    assert network.asked == [3, 1]  # without drift, one map is for all
    several = LcmPicture(draw(6, 4, 8, 8), 0.8)
    window = enter(several, 3, 4, 5)
    torch.testing.assert_close(window, network.made(several.latents[3:], 0.8)[0].repeat(2, 1, 1, 1))
    assert torch.equal(enter(several, 3, 4, 5), window)
    assert network.asked == [3, 1, 3]


def test_what_does_not_fit_is_refused():
    with pytest.raises(
        ValueError, match=r"motion: got lcm.ckpt, which has no image encoder; expected AnimateLCM's"
    ):
        check_lcm("lcm.ckpt", False, 1, 16)
    with pytest.raises(
        ValueError, match="images: got 3 pictures for a clip of 16 frames; expected one, or one for"
    ):
        check_lcm("lcm.ckpt", True, 3, 16)
    slot, low = next(iter(PLACES)), replace(call(0, 1), size=(8, 4))
    with pytest.raises(
        ValueError, match="AnimateLCM Picture: got pictures for latents of 8 x 8 cells and a clip of 8 x"
    ):
        LcmPicture(draw(1, 4, 8, 8), 0.8).enter(slot, torch.zeros(4, 1, 8, 4), low, SimpleNamespace())


def full_state():
    """AnimateLCM's file has no positional encodings."""
    state = {key: value for key, value in tiny_state(max_frames=64).items() if not key.endswith(".pe")}
    return state | {PREFIX + key: value for key, value in encoder().state_dict().items()}


def of_file(path) -> MotionWeights:
    weights = read_motion_weights(path)
    assert (weights.family, weights.clip_norm, weights.few_steps) == ("animatelcm_i2v", False, CONSISTENCY)
    assert weights.beta_schedule == BetaSchedule("sqrt_linear", 0.00085, 0.014)
    assert float(weights.beta_schedule.sigmas()[-1]) == pytest.approx(41.67, abs=0.01)
    assert weights.size.image_encoder
    network = MotionModel(weights.size)
    network.load_state_dict(dict(weights.state))
    assert equal_states(network.img_encoder.state_dict(), encoder().state_dict())
    return weights


def test_its_file_is_read_with_its_encoder_and_written_again(tmp_path):
    torch.save({"state_dict": {f"module.{k}": v for k, v in full_state().items()}}, tmp_path / "i2v.ckpt")
    weights = of_file(tmp_path / "i2v.ckpt")
    save_motion(tmp_path / "again.safetensors", weights)
    of_file(tmp_path / "again.safetensors")
    assert not [key for key in to_diffusers(weights)[0] if "img_encoder" in key]


def test_a_file_with_a_part_of_an_encoder_is_refused(tmp_path):
    state = full_state()
    del state[f"{PREFIX}body.5.block1.bias"]
    with pytest.raises(CheckpointError, match=r"lacks img_encoder.body.5.block1.bias and 0 more"):
        read_motion_weights(save(tmp_path / "i2v.safetensors", state))
