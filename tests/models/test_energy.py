"""The energy of cross-attention, against its definition in loops, and what is made of its gradient."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from frameloom.models.edits.active import RunEdits
from frameloom.models.edits.call import Call, Condition
from frameloom.models.edits.edit import Edit
from frameloom.models.edits.guide import find_shift
from frameloom.models.layout.attention import Reading, Region
from frameloom.models.layout.energy import BoxEnergy, box_energy
from frameloom.models.zero_shot.cross_frame import CrossFrameEdit
from frameloom.tests.support.layers import at_level
from frameloom.tests.support.tensors import apart, draw

FRAMES, SIDE, TOKENS, HEADS, WIDTH = 6, 8, 7, 2, 3
BOXES = torch.tensor([[0.1, 0.2, 0.45, 0.6]]).expand(FRAMES, 4) + torch.arange(FRAMES)[:, None] * 0.08
EVERYWHERE = torch.ones(FRAMES, dtype=torch.bool)


def reading(*spans):
    regions = tuple(Region(list(each), ((BOXES, EVERYWHERE),)) for each in spans)
    return Reading(torch.zeros(1, TOKENS, 4), regions)


def call(*readings, progress=0.0, sigma=2.0):
    conditions = tuple(
        Condition(index, {} if each is None else each.payload(), key=index)
        for index, each in enumerate(readings)
    )
    return Call(FRAMES, 1, conditions, tuple(range(FRAMES)), sigma, progress, (SIDE, SIDE))


def energy_by_loops(attention, mask):
    """One map and one mask, as lists."""
    attention = [each / sum(attention) * max(1, sum(mask)) for each in attention]

    def top(values, cells):
        count = max(1, math.floor(0.75 * cells))
        return sum(sorted(values, reverse=True)[:count]) / count

    inside = top([a * m for a, m in zip(attention, mask, strict=True)], sum(mask))
    outside = top([a * (1 - m) for a, m in zip(attention, mask, strict=True)], sum(1 - m for m in mask))
    return 1 - inside + 4 * outside


def test_energy_is_its_definition():
    attention = draw(3, 2, 25).sigmoid()
    mask = torch.zeros(3, 5, 5)
    mask[0, 1:4, 2:4], mask[1, 0, 0] = 1, 0.5
    mask[0, 1] *= 0.25
    mask = mask.flatten(1)
    for frame, got in enumerate(box_energy(attention, mask)):
        maps = [energy_by_loops(each.tolist(), mask[frame].tolist()) for each in attention[frame]]
        assert float(got) == pytest.approx(sum(maps) / 2, rel=1e-5)


def test_the_gradient_is_that_of_finite_differences():
    attention, mask = draw(2, 2, 16).sigmoid().double(), (draw(2, 16, seed=1) > 0.3).double() * 0.7
    assert torch.autograd.gradcheck(lambda each: box_energy(each, mask), attention.requires_grad_())


@pytest.mark.parametrize("tokens", [TOKENS, 2 * TOKENS])
def test_a_layers_energy_is_of_its_phrases_maps_in_their_own_boxes(tokens):
    """In a prompt that was repeated to another's length, of every copy."""
    query, key = draw(FRAMES, HEADS, 16, WIDTH), draw(1, HEADS, tokens, WIDTH, seed=1)
    asked = call(reading([(1, 3)], [(4, 5), (6, 7)]))
    total = 0.0
    for phrase in ([1, 2], [4, 6]):
        places = [place + copy for copy in range(0, tokens, TOKENS) for place in phrase]
        for frame in range(FRAMES):
            mask = asked.conditions[0].payload["reading"].regions[0].masks([frame], 4, 4).flatten().tolist()
            for head in range(HEADS):
                for place in places:
                    column = []
                    for cell in range(16):
                        logits = [
                            float(query[frame, head, cell] @ key[0, head, other]) / math.sqrt(WIDTH)
                            for other in range(tokens)
                        ]
                        column.append(math.exp(logits[place]) / sum(map(math.exp, logits)))
                    total += energy_by_loops(column, mask) / (2 * HEADS * len(places))
    assert float(BoxEnergy().energy(query, key, asked, at_level(1))) == pytest.approx(total, rel=1e-4)


def test_a_layer_of_another_grid_is_refused():
    with pytest.raises(ValueError, match="level 1 has 9 places; expected 4 x 4 for latents of 8 x 8"):
        BoxEnergy().energy(draw(FRAMES, 1, 9, 3), draw(1, 1, TOKENS, 3), call(reading([(1, 3)])), at_level(1))


def test_conditions_with_a_layout_are_guided_up_to_the_end():
    asked = call(None, reading([(1, 3)]), reading(), reading([(1, 2)]), progress=0.5)
    assert BoxEnergy(1.0, 0.5).guided(asked) == (1, 3)
    assert BoxEnergy(1.0, 0.49).guided(asked) == ()
    assert BoxEnergy(0.0, 0.5).guided(asked) == ()


class TinyModel:
    """Queries are the pictures' cells, keys a fixed prompt."""

    def __init__(self):
        self.rows, self.calls = [], []

    def __call__(self, noisy, rows, part, observer):
        self.rows.append(rows)
        self.calls.append(part)
        for level in (1, 2):
            cells = torch.nn.functional.avg_pool2d(noisy, 2**level).flatten(2).mT[:, None]
            observer.see(cells, draw(1, 1, TOKENS, 4, seed=level), part, at_level(level))


def test_the_move_is_of_the_guided_condition_by_sigma_and_strength():
    seen, asked = draw(2 * FRAMES, 4, SIDE, SIDE), call(None, reading([(1, 3)]), sigma=2.0)
    guide = BoxEnergy(strength=3.0)
    with torch.inference_mode():
        got = find_shift(guide, asked, seen, TinyModel(), apart=False)
    own = seen[FRAMES:].clone().requires_grad_()
    energies = []
    for level in (1, 2):
        cells = torch.nn.functional.avg_pool2d(own, 2**level).flatten(2).mT[:, None]
        alone = call(reading([(1, 3)]))
        energies.append(guide.energy(cells, draw(1, 1, TOKENS, 4, seed=level), alone, at_level(level)))
    (sum(energies) / 2).backward()
    torch.testing.assert_close(got, -3.0 * 4.0 / 5.0**0.5 * own.grad)
    assert not got.requires_grad
    assert not seen.requires_grad


def test_a_faint_gradient_outlives_half_precision():
    class Faint(BoxEnergy):
        def energy(self, *layer):
            return super().energy(*layer) * 2.0**-12

    seen, asked = draw(FRAMES, 4, SIDE, SIDE), call(reading([(1, 3)]))
    whole = find_shift(Faint(), asked, seen, TinyModel(), apart=False)
    half = find_shift(Faint(), asked, seen.half(), TinyModel(), apart=False)
    assert half.dtype == torch.float32
    assert apart(half, whole) < 0.01


def test_a_few_frames_at_a_time_give_what_all_at_once_give():
    seen, asked = draw(2 * FRAMES, 4, SIDE, SIDE), call(reading([(1, 3)]), None)
    whole, pieces = TinyModel(), TinyModel()
    at_once = find_shift(BoxEnergy(), asked, seen, whole, apart=False)
    torch.testing.assert_close(find_shift(BoxEnergy(), asked, seen, pieces, apart=True), at_once)
    assert whole.rows == [slice(0, 6)]
    assert pieces.rows == [slice(0, 4), slice(4, 6)]
    assert pieces.calls[1].frame_ids == (4, 5)


@pytest.mark.parametrize("is_part", [True, False])
def test_a_window_is_told_to_be_one(is_part):
    """So it reads the clip's anchor of cross-frame attention, and not a frame of its own."""
    model, asked = TinyModel(), replace(call(reading([(1, 3)])), is_part=is_part)
    find_shift(BoxEnergy(), asked, draw(FRAMES, 4, SIDE, SIDE), model, apart=False)
    assert [each.is_part for each in model.calls] == [is_part]


def test_nothing_is_asked_where_nothing_is_guided():
    model = TinyModel()
    assert (
        find_shift(BoxEnergy(), call(None, None), draw(2 * FRAMES, 4, SIDE, SIDE), model, apart=True) is None
    )
    assert model.rows == []


def test_frames_are_apart_where_no_edit_lets_them_read_each_other():
    crossing = Edit("test", self_attention=CrossFrameEdit(end_percent=0.5))
    run = RunEdits([Edit("test"), crossing])
    assert not run.at(call(None, progress=0.5)).keeps_frames_apart
    assert run.at(call(None, progress=0.6)).keeps_frames_apart
