"""What every host promises of several Apply Motion Modules: at every slot they run in turn, in their order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from frameloom.models.edits.edit import Edit, Part
from frameloom.models.motion.lora import merge_loras, read_motion_lora
from frameloom.models.motion.module import MotionModel
from frameloom.tests.support.tensors import apart

STRENGTHS = (1.0, 0.6)


@dataclass(frozen=True)
class ByHand(Part):
    """Networks of torch's own layers, one after another."""

    modules: tuple[tuple[Any, float], ...]
    over_clip = False

    @property
    def slots(self):
        return self.modules[0][0].slots

    def run(self, slot, hidden, call, time, merges):
        for network, strength in self.modules:
            hidden = hidden + strength * network.transformer(slot)(hidden, call.frames)
        return hidden


def built(weights):
    network = MotionModel(weights.size)
    network.load_state_dict(weights.state)
    return network.eval().requires_grad_(False)


@pytest.fixture
def pan(port, motion):
    return read_motion_lora(
        port.resolve("animatediff_motion_lora", "frameloom_demo_pan_left.safetensors")
    ).fit(motion.weights)


@pytest.fixture
def two(port, motion, pan):
    """Two modules, and the same by hand: the demo's, and it with other weights and a motion LoRA."""
    state = {key: 0.8 * value if value.dim() == 2 else value for key, value in motion.weights.state.items()}
    weights = replace(motion.weights, state=state)
    hosts = motion, port.load_motion(weights).with_lora(pan, 0.5)
    return hosts, (built(motion.weights), built(merge_loras(weights, [(pan, 0.5)])))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_they_are_what_both_make_by_hand_in_their_order(port, scene, demo, two, order):
    from frameloom.nodes.motion.modules import ApplyMotionModule

    motions, networks = two
    model = demo[0]
    for number, strength in zip(order, STRENGTHS, strict=True):
        model = ApplyMotionModule.execute(model, motions[number], strength, 0.0, 1.0, "use model's own").args[
            0
        ]
    part = ByHand(tuple((networks[number], each) for number, each in zip(order, STRENGTHS, strict=True)))
    wanted = scene.run(port.install(demo[0], Edit("by hand", slots=part)))
    assert apart(scene.run(model), wanted) <= 1e-4
    other = ByHand(part.modules[::-1])
    assert apart(scene.run(port.install(demo[0], Edit("by hand", slots=other))), wanted) > 1e-3


def test_one_module_twice_keeps_the_loras_of_each(port, scene, demo, motion, pan):
    """Two clones of one module share weights in ComfyUI, so the second is loaded by itself."""
    model = scene.moving(scene.moving(demo[0], motion, 0.5), motion.with_lora(pan, 1.0), 0.5)
    modules = (built(motion.weights), 0.5), (built(merge_loras(motion.weights, [(pan, 1.0)])), 0.5)
    wanted = scene.run(port.install(demo[0], Edit("by hand", slots=ByHand(modules))))
    assert apart(scene.run(model), wanted) <= 1e-4
