"""SparseCtrl's network beside diffusers' own, its files, and which picture each frame has."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import AnimateDiffSparseControlNetPipeline, SparseControlNetModel
from frameloom.models.edits.call import Call, Condition, Plan
from frameloom.models.errors import CheckpointError
from frameloom.models.motion.sparse_checkpoint import read_sparse_control
from frameloom.models.motion.sparse_control import (
    SparseControlEdit,
    SparseNetwork,
    choose_pictures,
    place_pictures,
)
from frameloom.models.motion.sparse_network import SparseControl
from frameloom.models.network.sizes import DEMO
from frameloom.tests.support.sparse import random_sparse, to_diffusers, write_sparse
from frameloom.tests.support.tensors import apart, draw
from safetensors.torch import save_file

FRAMES = 3
CHANNELS = {"rgb": 4, "scribble": 3}
IDS = (0, 1, 2)
CALL = Call(FRAMES, 1, (Condition(1), Condition(0)), IDS, 1.0, 1 - 421 / 999, (8, 8))


def theirs(channels):
    """diffusers' network of the demo model's sizes, with the weights of ``random_sparse``."""
    network = SparseControlNetModel(
        conditioning_channels=channels,
        use_simplified_condition_embedding=channels == 4,
        block_out_channels=DEMO.unet.widths,
        cross_attention_dim=DEMO.unet.context_dim,
        attention_head_dim=DEMO.unet.num_heads,
    )
    missing, unexpected = network.load_state_dict(
        to_diffusers(random_sparse(channels=channels)[1]), strict=False
    )
    assert not unexpected
    assert all(".pos_embed" in name for name in missing)
    return network.eval()


@torch.no_grad()
@pytest.mark.parametrize("channels", CHANNELS.values(), ids=CHANNELS)
def test_it_is_diffusers_network_with_the_absent_frames_of_its_pipeline(channels):
    """But for the clip-wide norm of temporal layers, which is diffusers' and not its authors'."""
    size = random_sparse(channels=channels)[0].size
    network = SparseControl(size, norm_scope="clip").eval()
    network.load_state_dict(random_sparse(channels=channels)[1], strict=False)
    side = 8 if channels == 4 else 64
    pictures, tokens = draw(2, channels, side, side, seed=2), draw(2 * FRAMES, 7, 64, seed=3)
    prepare = AnimateDiffSparseControlNetPipeline.prepare_sparse_control_conditioning
    clip = pictures.transpose(0, 1)[None]
    given, mask = prepare(None, clip, FRAMES, [0, -1], torch.device("cpu"), torch.float32)
    skips, middle = theirs(channels)(
        draw(2, 4, FRAMES, 8, 8, seed=4), 421, tokens, given.repeat(2, 1, 1, 1, 1), 0.7,
        conditioning_mask=mask.repeat(2, 1, 1, 1, 1), return_dict=False,
    )  # fmt: skip
    part = SparseControlEdit(SparseNetwork("rgb", size, network), pictures, (0, 2), FRAMES, 0.7)
    added = part.residuals(tokens, CALL, None, part.memory())
    assert len(added.skips) == 12
    for got, wanted in zip((*added.skips, added.middle), (*skips, middle), strict=True):
        assert apart(got, wanted) <= 1e-4


def test_pictures_are_embedded_once_a_run(monkeypatch):
    network = random_sparse()[0]
    embed, asked = network.embed, []
    monkeypatch.setattr(network, "embed", lambda *given: asked.append(given) or embed(*given))
    part = SparseControlEdit(SparseNetwork("rgb", network.size, network), draw(1, 4, 8, 8), (0,), FRAMES)
    memory = part.memory()
    for ids in (IDS, IDS, (0, 2, 1)):
        call = replace(CALL, frame_ids=ids, is_part=True)
        part.residuals(draw(2 * FRAMES, 7, 64), call, None, memory)
    assert len(asked) == 1


@torch.no_grad()
def test_half_precision_is_near_full():
    network, (tokens, picture) = random_sparse()[0], (draw(2 * FRAMES, 7, 64), draw(1, 4, 8, 8))

    def added(dtype):
        own = SparseNetwork("rgb", network.size, network.to(dtype))
        part = SparseControlEdit(own, picture, (0,), FRAMES, others=0.5)
        made = part.residuals(tokens.to(dtype), CALL, None, part.memory())
        assert {each.dtype for each in (*made.skips, made.middle)} == {dtype}
        return torch.cat([each.float().flatten() for each in (*made.skips, made.middle)])

    full = added(torch.float32)
    assert apart(added(torch.float16), full) <= 5e-3


def equal(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[key].float(), other[key].float()) for key in one
    )


@pytest.mark.parametrize("channels", CHANNELS.values(), ids=CHANNELS)
def test_every_layout_is_read_to_the_same_weights(tmp_path, channels):
    network, state = random_sparse(channels=channels)
    wanted = network.state_dict()
    read = read_sparse_control(write_sparse(tmp_path / "plain.safetensors", channels=channels))
    assert equal(read.state, wanted)
    assert read.size == network.size
    around = {"controlnet": {f"module.{name}": value for name, value in state.items()}, "epoch": 1}
    torch.save({**around, "animatediff_config": {"motion": True}}, tmp_path / "authors.ckpt")
    assert equal(read_sparse_control(tmp_path / "authors.ckpt").state, wanted)
    theirs(channels).save_pretrained(tmp_path / "diffusers")
    assert equal(read_sparse_control(tmp_path / "diffusers").state, wanted)
    assert read_sparse_control(tmp_path / "diffusers").size == network.size
    linear = {
        name: value.squeeze() if ".proj_" in name else value for name, value in to_diffusers(state).items()
    }
    save_file({name: value.contiguous() for name, value in linear.items()}, tmp_path / "linear.safetensors")
    assert equal(read_sparse_control(tmp_path / "linear.safetensors").state, wanted)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda state: state.pop("controlnet_mid_block.weight"),
            "lacks controlnet_mid_block.weight.*download it again",
        ),
        (lambda state: state.update({"conv_in.weight": torch.zeros(32, 9, 3, 3)}), "9 latent channels"),
        (lambda state: state.update({"conv_in.weight": torch.zeros(48, 4, 3, 3)}), "widths .48, 32, 64"),
        (
            lambda state: state.update({"controlnet_cond_embedding.weight": torch.zeros(32, 8, 3, 3)}),
            "pictures of 7 channels and a mask",
        ),
        (lambda state: state.pop("conv_in.weight"), "conv_in.weight is missing.*expected 4 axes"),
        (
            lambda state: state.update({"conv_in.bias": torch.full((32,), torch.nan)}),
            "conv_in.bias holds NaN",
        ),
    ],
)
def test_damaged_files_are_named(tmp_path, change, said):
    state = dict(random_sparse()[1])
    change(state)
    save_file(state, tmp_path / "sparse.safetensors", {"frameloom.heads": "2"})
    with pytest.raises(CheckpointError, match=f"sparse.safetensors.*{said}"):
        read_sparse_control(tmp_path / "sparse.safetensors")


@pytest.mark.parametrize(
    ("text", "pictures", "frames", "wanted"),
    [
        ("0", 1, 16, (0,)),
        ("0, 8 -1", 3, 16, (0, 8, 15)),
        ("5, 3, 9", 2, 16, (5, 3)),  # a number more than pictures is not used
        ("uniform", 3, 16, (0, 7, 15)),
        ("uniform", 1, 16, (0,)),
        ("Starting", 2, 16, (0, 7)),
        ("ending", 2, 16, (7, 15)),
        ("ending", 1, 16, (15,)),
        ("center", 1, 16, (7,)),
        ("center", 2, 16, (5, 10)),
        ("center", 3, 4, (0, 1, 2)),
        *((word, 4, 4, (0, 1, 2, 3)) for word in ("uniform", "starting", "ending", "center")),
        ("uniform", 1, 1, (0,)),
    ],
)
def test_places_are_numbers_or_spread_evenly(text, pictures, frames, wanted):
    """Those of Advanced-ControlNet's four words, where it has room for them."""
    assert place_pictures(text, pictures, frames) == wanted


@pytest.mark.parametrize(
    ("ids", "places", "wanted"),
    [
        ((0, 1, 2, 3), (0, 9), [0, -1, -1, -1]),
        ((3, 4, 5, 6), (0, 9), [0, -1, -1, 1]),  # as near to both
        ((4, 5, 6, 7), (0, 9), [-1, -1, -1, 1]),
        ((8, 9, 0, 1), (0, 9), [-1, 1, 0, -1]),  # a loop's
        ((0, 2, 4, 6), (3, 5), [-1, -1, -1, 1]),  # between the frames of a window with gaps
        ((5, 6), (9, 0), [-1, 0]),
    ],
)
def test_a_windows_pictures(ids, places, wanted):
    assert choose_pictures(ids, places) == wanted


def test_a_clip_of_another_length_is_told_of_before_it_is_sampled():
    part = SparseControlEdit(SparseNetwork("rgb", random_sparse()[0].size, None), draw(1, 4, 8, 8), (0,), 16)
    assert part.note(Plan(16)) is None
    assert "got a clip of 12 frames; expected 16" in part.note(Plan(12))
