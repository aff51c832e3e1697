"""What every host promises of Adjust Motion Weights: the module's own weights change, below its motion LoRAs."""

from __future__ import annotations

from dataclasses import replace

import torch
from frameloom.models.motion.lora import read_motion_lora
from frameloom.tests.support.tensors import apart


def test_weights_change_below_loras_and_the_module_stays(port, scene, demo, motion):
    from frameloom.nodes.motion.adjust import AdjustMotionWeights

    lora = read_motion_lora(port.resolve("animatediff_motion_lora", "frameloom_demo_pan_left.safetensors"))
    before = scene.predict(scene.moving(demo[0], motion))
    adjusted = AdjustMotionWeights.execute(motion.with_lora(lora, 0.7), "values", 0.01, 0.5).args[0]
    state = {
        key: value / 2 + 0.005 if ".to_v." in key else value for key, value in motion.weights.state.items()
    }
    wanted = port.load_motion(replace(motion.weights, state=state)).with_lora(lora, 0.7)
    drawn = scene.predict(scene.moving(demo[0], adjusted))
    torch.testing.assert_close(drawn, scene.predict(scene.moving(demo[0], wanted)), rtol=1e-4, atol=1e-4)
    assert apart(drawn, scene.predict(scene.moving(demo[0], motion.with_lora(lora, 0.7)))) > 0.001
    assert torch.equal(scene.predict(scene.moving(demo[0], motion)), before)
