"""What every host promises of Stretch Positions: a module with other encodings, whose LoRAs and strengths stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from frameloom.models.motion.edit import Varying
from frameloom.models.motion.lora import read_motion_lora
from frameloom.models.video.factors import read_factors
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.scene import FRAMES
from frameloom.tests.support.tensors import apart


def stretch(motion, known, frames):
    from frameloom.nodes.motion.positions import StretchPositions

    return StretchPositions.execute(motion, known, frames).args[0]


@pytest.fixture
def by_hand(port, motion):
    """Return the module with every second frame's encoding, and what lies between, worked out in another way."""

    def encoding(value):
        places = (np.arange(FRAMES) + 0.5) / 2 - 0.5
        columns = [np.interp(places, [0, 1], column) for column in value[0, :2].float().cpu().numpy().T]
        return torch.tensor(np.array(columns).T[None]).to(value)

    state = {
        key: encoding(value) if key.endswith(".pe") else value for key, value in motion.weights.state.items()
    }
    size = replace(motion.weights.size, max_frames=FRAMES)
    return port.load_motion(replace(motion.weights, state=state, size=size))


def test_a_clip_is_as_a_module_with_such_encodings_draws_it(scene, demo, motion, moving, by_hand):
    drawn = scene.run(scene.moving(demo[0], stretch(motion, 2, FRAMES)))
    assert apart(drawn, scene.run(scene.moving(demo[0], by_hand))) <= 1e-4
    assert apart(drawn, scene.drawn(moving)) > 1e-3
    assert torch.equal(scene.run(scene.moving(demo[0], stretch(motion, FRAMES, FRAMES))), scene.drawn(moving))


def test_loras_and_a_strength_that_changes_stay(port, scene, demo, motion):
    lora = read_motion_lora(port.resolve("animatediff_motion_lora", "frameloom_demo_pan_left.safetensors"))
    varying = Varying(read_factors(FRAMES, "0: 1, -1: 0.5", "linear", "1"))
    dressed = motion.with_lora(lora, 0.7).with_varying(varying)
    later = stretch(motion, 2, FRAMES).with_lora(lora, 0.7).with_varying(varying)
    assert (
        apart(*(scene.run(scene.moving(demo[0], each)) for each in (stretch(dressed, 2, FRAMES), later)))
        <= 1e-4
    )


def test_a_longer_clip_than_the_module_knew_runs_with_and_without_windows(scene, demo, motion):
    longer = motion.weights.size.max_frames + 4
    model = scene.moving(demo[0], stretch(motion, 16, longer))
    assert torch.isfinite(scene.run(model, frames=longer)).all()
    windowed = scene.windowed(model, WindowPlan(longer, 8))
    assert torch.isfinite(scene.run(windowed, frames=longer + 8)).all()
    with pytest.raises(ValueError, match=f"frames={longer + 1} is more than the {longer} that"):
        scene.run(model, frames=longer + 1)
