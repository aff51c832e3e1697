"""Layouts as a model obeys them: what is added to logits, and where an entity's effect goes."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.call import Call, Condition
from frameloom.models.layout.attention import MAX_GAIN, BoxBias, BoxGather, Layout, Reading, Region
from frameloom.tests.support.layers import at_level
from frameloom.tests.support.tensors import draw

FRAMES, SIDE, TOKENS = 3, 16, 6
LEFT, RIGHT = (0.0, 0.0, 0.25, 1.0), (0.75, 0.0, 1.0, 1.0)  # a quarter of the columns each


def region(box, spans=((1, 3),), present=(True,) * FRAMES):
    return Region(list(spans), ((torch.tensor(box).expand(FRAMES, 4), torch.tensor(present)),))


def reading(*regions, tokens=TOKENS):
    return Reading(torch.zeros(1, tokens, 4), regions)


def call(*readings, progress=0.0, frame_ids=tuple(range(FRAMES)), videos=1):
    conditions = tuple(
        Condition(index, payload={} if each is None else each.payload())
        for index, each in enumerate(readings)
    )
    return Call(len(frame_ids), videos, conditions, frame_ids, 1.0, progress, (SIDE, SIDE))


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_phrases_tokens_are_added_to_inside_the_box_and_taken_from_outside(level):
    bias = BoxBias(strength=2.0).bias(call(reading(region(LEFT))), at_level(level), TOKENS)
    side = SIDE >> level
    grid = bias.view(FRAMES, side, side, TOKENS)
    inside = side // 4
    assert grid[..., :inside, 1:3].unique().tolist() == [2.0]
    assert grid[..., inside:, 1:3].unique().tolist() == [-2.0]
    assert not grid[..., [0, 3, 4, 5]].any()


def test_a_cell_that_a_box_covers_by_half_is_left_alone():
    edge = (0.0, 0.0, 2.5 / SIDE, 1.0)
    columns = (
        BoxBias(2.0).bias(call(reading(region(edge))), at_level(0), TOKENS).view(FRAMES, SIDE, SIDE, TOKENS)
    )
    assert columns[0, 0, :4, 1].tolist() == [2.0, 2.0, 0.0, -2.0]


def test_every_chunk_has_its_own_conditions_bias_and_other_prompts_none():
    one = reading(region(LEFT))
    bias = BoxBias().bias(call(None, one, reading(), videos=2), at_level(0), TOKENS)
    negative, positive, plain = bias.chunk(3)
    assert not negative.any()
    assert not plain.any()
    first, second = positive.chunk(2)
    assert torch.equal(first, second)
    assert torch.equal(first, BoxBias().bias(call(one), at_level(0), TOKENS))


def test_a_prompt_that_was_repeated_to_anothers_length_is_biased_in_every_copy():
    once = BoxBias().bias(call(reading(region(LEFT))), at_level(0), TOKENS)
    twice = BoxBias().bias(call(reading(region(LEFT))), at_level(0), 2 * TOKENS)
    assert torch.equal(twice, torch.cat([once, once], 2))


def test_it_is_over_after_its_end_and_without_strength_or_entities():
    one = reading(region(LEFT))
    assert BoxBias(end_percent=0.5).bias(call(one, progress=0.5), at_level(0), TOKENS) is not None
    assert BoxBias(end_percent=0.5).bias(call(one, progress=0.51), at_level(0), TOKENS) is None
    assert BoxBias(strength=0.0).bias(call(one), at_level(0), TOKENS) is None
    assert BoxBias().bias(call(reading(), None), at_level(0), TOKENS) is None


def test_frames_are_taken_by_their_absolute_number():
    boxes = torch.tensor([LEFT, RIGHT, LEFT])
    moving = Region([(1, 3)], ((boxes, torch.ones(FRAMES, dtype=torch.bool)),))
    still = [region(box).masks([0], SIDE, SIDE) for box in (RIGHT, LEFT)]
    assert torch.equal(moving.masks([1, 0], SIDE, SIDE), torch.cat(still))


def lay_out(*boxes, present=(True,) * FRAMES):
    regions = tuple(region(box, [(2 * n + 1, 2 * n + 3)], present) for n, box in enumerate(boxes))
    return Layout(reading(*regions), reading(), tuple(reading(one) for one in regions))


def columns(first, stop, value=1.0):
    """A prediction [F, C, H, W] that has a value in some columns, and nothing elsewhere."""
    made = torch.zeros(FRAMES, 4, SIDE, SIDE)
    made[..., first:stop] = value
    return made


def test_none_and_each_by_itself_are_asked():
    layout = lay_out(LEFT, RIGHT)
    asked = BoxGather().variants(layout.payload(), progress=0.9)
    wanted = [layout.bare, *layout.alone]
    assert [question.payload["reading"] for question in asked] == wanted
    assert all(question.tokens is each.tokens for question, each in zip(asked, wanted, strict=True))


def test_nothing_more_is_asked_after_the_end_and_of_prompts_without_a_layout():
    two = lay_out(LEFT, RIGHT).payload()
    assert len(BoxGather(end_percent=0.5).variants(two, progress=0.5)) == 3
    assert BoxGather(end_percent=0.5).variants(two, progress=0.51) == ()
    assert BoxGather().variants({}, progress=0.0) == ()


def test_a_single_entity_is_asked_for_while_its_effect_is_gathered_and_the_prompt_as_usual_after():
    one = lay_out(LEFT).payload()
    assert len(BoxGather(gain_percent=0.3).variants(one, progress=0.3)) == 2
    assert BoxGather(gain_percent=0.3).variants(one, progress=0.31) == ()


def test_an_entity_that_is_absent_at_times_is_kept_out_by_asking_on():
    """The whole prompt would draw it in every frame."""
    for present, asked in (((True, False, True), 2), ((True,) * FRAMES, 0)):
        layout = lay_out(LEFT, present=present).payload()
        assert len(BoxGather(gain_percent=0.3).variants(layout, progress=0.31)) == asked


def test_an_effect_spread_over_the_picture_is_in_the_box_with_its_sum_kept():
    bare = draw(FRAMES, 4, SIDE, SIDE)
    effect = columns(0, SIDE, 0.125)
    got = BoxGather().compose(lay_out(LEFT).payload(), [bare, bare + effect], range(FRAMES), 0.0) - bare
    torch.testing.assert_close(got, columns(0, SIDE // 4, 0.5))


def test_what_is_in_the_box_already_stays_as_it_is():
    bare, effect = torch.ones(FRAMES, 4, SIDE, SIDE), columns(0, SIDE // 4)
    got = BoxGather().compose(lay_out(LEFT).payload(), [bare, bare + effect], range(FRAMES), 0.0)
    torch.testing.assert_close(got, bare + effect)


def test_past_the_gain_an_effect_outside_of_its_box_is_cut_off():
    bare, effect = torch.zeros(FRAMES, 4, SIDE, SIDE), columns(0, SIDE, 0.125)
    payload = lay_out(LEFT, RIGHT).payload()
    got = BoxGather(gain_percent=0.3).compose(payload, [bare, effect, bare], range(FRAMES), 0.31)
    torch.testing.assert_close(got, columns(0, SIDE // 4, 0.125))


def test_past_the_gain_a_single_entity_is_the_whole_prompts_where_it_is_present():
    bare, effect = torch.zeros(FRAMES, 4, SIDE, SIDE), columns(0, SIDE, 0.125)
    layout = lay_out(LEFT, present=(True, False, True))
    got = BoxGather(gain_percent=0.3).compose(layout.payload(), [bare, effect], range(FRAMES), 0.31)
    assert torch.equal(got[[0, 2]], effect[[0, 2]])
    assert torch.equal(got[1], bare[1])


def test_the_gain_is_bounded():
    bare, effect = torch.zeros(FRAMES, 4, SIDE, SIDE), columns(SIDE // 4, SIDE)
    effect[..., 0] = 1e-6
    got = BoxGather().compose(lay_out(LEFT).payload(), [bare, effect], range(FRAMES), 0.0)
    torch.testing.assert_close(got, columns(0, 1, 1e-6 * MAX_GAIN))


def test_an_effect_in_anothers_box_is_not_gathered():
    """The circle's prompt does not know the cross, and may draw its circle where the cross is."""
    bare = torch.zeros(FRAMES, 4, SIDE, SIDE)
    circle = columns(0, SIDE // 4) + columns(3 * SIDE // 4, SIDE, 9.0)
    got = BoxGather().compose(lay_out(LEFT, RIGHT).payload(), [bare, circle, bare], range(FRAMES), 0.0)
    torch.testing.assert_close(got, columns(0, SIDE // 4))


def test_an_absent_entity_has_no_effect():
    bare, effect = torch.zeros(FRAMES, 4, SIDE, SIDE), columns(0, SIDE)
    layout = lay_out(LEFT, present=(True, False, True))
    got = BoxGather().compose(layout.payload(), [bare, effect], range(FRAMES), 0.0)
    assert got.flatten(1).any(1).tolist() == [True, False, True]
