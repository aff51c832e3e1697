"""A motion LoRA at a strength for each frame, against modules that have it merged: one module for each frame."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from frameloom.models.edits.call import training_call
from frameloom.models.long_video.free_noise import WindowFusion
from frameloom.models.motion.lora import MotionLoRA, loras_in_slot, merge_loras
from frameloom.models.motion.mixing import Mixing
from frameloom.models.motion.module import MotionModel
from frameloom.models.video.factors import Factors
from frameloom.tests.support.motion import tiny_module, tiny_weights
from frameloom.tests.support.tensors import draw

SLOT, CHANNELS, FRAMES, SIDE = "down_blocks.0.motion_modules.0", 32, 7, 3
LAYERS = [
    *(f"attention_blocks.{number}.{layer}" for number in (0, 1) for layer in ("to_q", "to_k", "to_v", "to_out.0")),
    "ff.net.0.proj",
    "ff.net.2",
]  # fmt: skip
NAMES = [f"{SLOT}.temporal_transformer.{each}.weight" for each in ("proj_in", "proj_out")] + [
    f"{SLOT}.temporal_transformer.transformer_blocks.0.{each}.weight" for each in LAYERS
]
STRENGTHS = torch.tensor([0.0, 0.0, 1.0, 0.5, -1.0, 2.0, 0.25])
WINDOWS = WindowFusion(4, 2)  # 0..3, 2..5, 3..6


@cache
def lora() -> MotionLoRA:
    """One of rank 2 on every linear layer of a slot."""
    shapes = {name: tiny_module().get_parameter(name).shape for name in NAMES}
    pairs = {
        name: (0.3 * draw(2, shape[1], seed=2 * i), 0.3 * draw(shape[0], 2, seed=2 * i + 1))
        for i, (name, shape) in enumerate(shapes.items())
    }
    return MotionLoRA("lora", pairs)


@cache
def merged(strength: float) -> Any:
    network = MotionModel(tiny_weights().size)
    network.load_state_dict(merge_loras(tiny_weights(), [(lora(), strength)]).state)
    return network.transformer(SLOT).eval().requires_grad_(False)


def ours(hidden, factors, time=None, rows=0, frame_ids=range(FRAMES), progress=0.0):
    network = tiny_module()
    call = replace(training_call(hidden, FRAMES), frame_ids=tuple(frame_ids), progress=progress)
    found = loras_in_slot([(lora(), factors)], network, SLOT, hidden, call)
    with torch.no_grad():
        return network.transformer(SLOT)(hidden, FRAMES, Mixing(time, loras=found), rows)


def by_hand(hidden, strengths, time=None):
    """Every frame's tokens through its own module; attention by its formula. Of one video."""
    own = [merged(float(strength)) for strength in strengths]
    blocks = [each.transformer_blocks[0] for each in own]

    def each(layers, tokens):
        return torch.stack([layer(tokens[:, f]) for f, layer in enumerate(layers)], dim=1)

    def attend(layers, tokens):
        place = layers[0].pos_encoder.pe[:, : tokens.shape[1]]
        q, k, v = (
            each([getattr(layer, part) for layer in layers], tokens + place).unflatten(2, (8, -1))
            for part in ("to_q", "to_k", "to_v")
        )
        logits = torch.einsum("nfhd,nghd->nhfg", q, k) / q.shape[-1] ** 0.5
        return torch.einsum("nhfg,nghd->nfhd", logits.softmax(-1), v).flatten(2)

    tokens = own[0].norm(hidden).permute(2, 3, 0, 1).flatten(0, 1)
    tokens = each([one.proj_in for one in own], tokens)
    for number in (0, 1):
        layers, normal = [block.attention_blocks[number] for block in blocks], blocks[0].norms[number](tokens)
        if time is None:
            answer = attend(layers, normal)
        else:
            answer = torch.zeros_like(normal)
            for start, weights in zip(time.starts(FRAMES), time.weights(FRAMES), strict=True):
                seen = slice(start, start + time.length)
                answer[:, seen] += weights[seen, None] * attend(layers[seen], normal[:, seen])
        tokens = tokens + each([layer.to_out[0] for layer in layers], answer)
    tokens = tokens + each([block.ff for block in blocks], blocks[0].ff_norm(tokens))
    tokens = each([one.proj_out for one in own], tokens)
    return tokens.unflatten(0, (SIDE, SIDE)).permute(2, 3, 0, 1)


def near(one, other):
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 2])
@pytest.mark.parametrize("time", [None, WINDOWS], ids=["all frames", "windows"])
def test_every_frames_layers_are_those_of_a_module_with_its_strength(time, rows):
    hidden = draw(FRAMES, CHANNELS, SIDE, SIDE)
    near(ours(hidden, Factors(STRENGTHS, {0.0: 1.0}), time, rows), by_hand(hidden, STRENGTHS, time))


def test_strengths_are_of_frames_absolute_numbers_and_the_last_goes_on():
    hidden, by_frame = draw(FRAMES, CHANNELS, SIDE, SIDE), torch.tensor([9.0, 9.0, 1.0, 0.5, -1.0])
    later = ours(hidden, Factors(by_frame, {0.0: 1.0}), frame_ids=range(2, 2 + FRAMES))
    near(later, by_hand(hidden, torch.tensor([1.0, 0.5, -1.0, -1.0, -1.0, -1.0, -1.0])))


@pytest.mark.parametrize("rows", [0, 2])
def test_places_have_the_strength_of_the_mask_in_every_video(rows):
    strengths = torch.zeros(3, FRAMES)  # of each row of places
    strengths[1], strengths[2, 2] = 1, 1
    hidden = draw(2 * FRAMES, CHANNELS, SIDE, SIDE)
    mask = strengths.T[:, :, None].expand(-1, -1, SIDE)
    both = ours(hidden, Factors(torch.ones(1), {0.0: 1.0}, mask), rows=rows)
    for video, got in zip(hidden.split(FRAMES), both.split(FRAMES), strict=True):
        for row, each in enumerate(strengths):
            near(got[:, :, row], by_hand(video, each)[:, :, row])


def test_a_lora_that_is_0_in_a_call_changes_no_layer():
    hidden, call = draw(4, CHANNELS, SIDE, SIDE), training_call(draw(4, 4, SIDE, SIDE), 4)
    for factors in (Factors(torch.zeros(4), {0.0: 1.0}), Factors(torch.ones(4), {0.0: 0.0, 0.5: 1.0})):
        assert loras_in_slot([(lora(), factors), (lora(), 1.0)], tiny_module(), SLOT, hidden, call) == {}
