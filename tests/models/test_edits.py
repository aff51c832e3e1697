"""How edits compose: the rule of every seam, with parts that only these tests know."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.active import RULES, RunEdits, find_notes
from frameloom.models.edits.call import Call, Condition, Plan
from frameloom.models.edits.edit import SEAMS, Edit, Part
from frameloom.models.motion.edit import STILL, motion_edit
from frameloom.models.network.unet import SD1
from frameloom.tests.support.layers import at_level
from frameloom.tests.support.motion import tiny_module
from frameloom.tests.support.parts import Every
from frameloom.tests.support.random_demo import as_learner
from torch import ones

CALL = Call(2, 1, (Condition(0),), (0, 1), 1.0, 0.5, (4, 4))
LAYER = at_level(1)  # of 2 x 2 places
OTHER = next(layer for layer in SD1.layers if layer.level == 1 and layer != LAYER)


def run_of(seam, *parts):
    return RunEdits([Edit(f"edit {number}", **{seam: part}) for number, part in enumerate(parts)])


def test_every_seam_has_a_rule():
    assert set(RULES) == set(SEAMS)


def test_parts_of_self_attention_read_what_the_one_before_read_and_each_remembers_by_itself():
    run = run_of("self_attention", *[Every(2.0, levels=frozenset({1}))] * 2)  # one part twice
    tokens = ones(2, 3, 1)
    assert run.at(CALL).read(tokens, LAYER).tokens.unique().item() == 2 * (2 + 1) + 1
    assert run.at(CALL).read(tokens, OTHER).tokens.unique().item() == 2 * (2 + 2) + 2
    assert run.at(CALL).read(tokens, LAYER, "a ControlNet").tokens.unique().item() == 7
    run.forget()
    assert run.at(CALL).read(tokens, LAYER).tokens.unique().item() == 7
    assert run.at(CALL).read(tokens, at_level(0)) is None


def test_the_last_part_between_attentions_acts_and_none_where_that_one_does_not():
    one, off = Every(2.0), Every(3.0, off=True)
    assert run_of("between", one, Every(5.0)).at(CALL).between(ones(1), 7).item() == 12
    active = run_of("between", one, off).at(CALL)
    assert not active.acts_at("between")
    assert active.between(ones(1), 7).item() == 1


def test_what_is_added_to_cross_attention_adds_up():
    query = ones(2, 4, 1).half()
    bias = run_of("cross_attention", Every(2.0), Every(3.0), Every(9.0, off=True)).at(CALL)
    assert torch.equal(bias.bias(LAYER, query, 3), torch.tensor([0, 2.5, 5]).expand(2, 4, 3).half())
    assert run_of("cross_attention").at(CALL).bias(LAYER, query, 5) is None
    with pytest.raises(ValueError, match="level 1 has 9 places; expected 2 x 2 for latents of 4 x 4"):
        bias.bias(LAYER, ones(2, 9, 1).half(), 3)


def test_everything_that_looks_sees_the_layers_of_its_levels():
    parts = [Every(levels=frozenset({1})) for _ in range(2)]
    active = run_of("observe", *parts).at(CALL)
    active.see("query", "key", LAYER)
    active.see("query", "key", at_level(0))
    assert [part.seen for part in parts] == [[("query", "key", LAYER)]] * 2
    assert active.is_watched(LAYER)
    assert not active.is_watched(at_level(0))


@pytest.mark.parametrize("seam", ["input", "slots", "self_attention", "cross_attention"])
def test_a_part_that_does_not_act_is_not_asked(seam):
    assert run_of(seam, Every(off=False)).at(CALL).acts_at(seam)
    active = run_of(seam, Every(off=True)).at(CALL)
    assert not active.acts_at(seam)
    assert active.keeps_frames_apart


def test_slots_are_told_of_the_last_part_in_time():
    part, time = Every(slots=("slot",)), object()
    run = RunEdits([Edit("a", slots=part, time=object()), Edit("b", time=time)])
    run.at(CALL).slot("slot", ones(1))
    assert part.seen == [("slot", time)]


def test_in_a_controlnet_self_attention_alone_is_edited():
    seams = ("input", "slots", "self_attention", "between")
    active = RunEdits([Edit("all", **dict.fromkeys(seams, Every()))]).at(CALL, in_control=True)
    assert [name for name in seams if active.acts_at(name)] == ["self_attention"]


def test_a_call_may_have_other_parts_at_a_seam():
    run, other = run_of("observe", Every()), Every()
    run.at(CALL, {"observe": [other]}).see("query", "key", LAYER)
    assert len(other.seen) == 1
    assert run.parts("observe")[0].seen == []


def test_a_part_is_asked_before_a_run_what_it_works_beside():
    class Alone(Part):
        def check(self, edits, conditions):
            if len(edits) > 1 or conditions:
                raise ValueError(f"got {len(edits)} edits, {len(conditions)} conditions")

    lone = Edit("lone", guide=Alone())
    RunEdits([lone])
    with pytest.raises(ValueError, match="got 2 edits, 0 conditions"):
        RunEdits([lone, Edit("other")])
    with pytest.raises(ValueError, match="got 1 edits, 1 conditions"):
        RunEdits([lone], [{}])


def test_a_parts_networks_are_exchanged_wherever_it_is():
    motion = as_learner(tiny_module())
    edit = motion_edit("motion", motion)
    both = Edit("both", slots=edit.slots, input=edit.slots, observe=Every())
    assert both.networks == (motion,)
    other = both.with_networks(["another"])
    assert other.networks == ("another",)
    assert other.slots is other.input
    assert other.slots.motion is motion
    assert other == both  # what runs is no part of what it is


def test_a_motion_module_on_one_frame_is_told(caplog):
    moving = [motion_edit("motion module", as_learner(tiny_module())), Edit("plain")]
    assert find_notes([*moving, *moving], Plan(1)) == [STILL]
    assert caplog.messages == [STILL]
    assert find_notes(moving, Plan(2)) == find_notes(moving[1:], Plan(1)) == []
    assert caplog.messages == [STILL]
