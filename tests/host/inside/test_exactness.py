"""Edits leave no trace: plain runs are bit-identical whatever came before, and ComfyUI is as it was."""

from __future__ import annotations

from dataclasses import replace

import comfy.lora
import comfy.model_management
import comfy.utils
import pytest
import torch
from frameloom.tests.host.inside.snapshot import replaced, take_snapshot


class StopAt:
    """A progress bar that ends the run at a step."""

    def __init__(self, step, stop):
        self.step, self.stop = step, stop

    def update(self, done, preview=None):
        if done == self.step:
            self.stop()


def hooks_on(network):
    """The number of forward hooks on a network's layers."""
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in network.modules())


@pytest.mark.parametrize("end", ["error", "cancel"])
def test_runs_are_bit_identical_after_one_that_ended(port, demo, moving, scene, end):
    plain, moved = scene.drawn(demo[0]), scene.drawn(moving)
    kind = {"error": RuntimeError, "cancel": comfy.model_management.InterruptProcessingException}[end]

    def stop():
        if end == "error":
            raise RuntimeError
        comfy.model_management.interrupt_current_processing()
        port.check_interrupt()

    with pytest.raises(kind):
        scene.run(moving, progress=StopAt(2, stop))
    assert torch.equal(scene.run(demo[0]), plain)
    assert torch.equal(scene.run(moving), moved)


def test_a_dropped_clone_does_not_take_the_slots_along(moving, scene):
    moved = scene.drawn(moving)
    dropped = moving.clone()
    del dropped  # ComfyUI takes a dropped clone's changes out of the network that they share
    assert torch.equal(scene.run(moving), moved)


def test_no_run_state_is_left(demo, moving, scene):
    scene.run(moving)
    assert set(moving.model_options["transformer_options"]) == set()
    assert set(demo[0].model_options["transformer_options"]) == set()


def test_names_are_unchanged_within_a_call_and_hooks_gone_after_it(port, demo, motion, scene):
    unet = demo[0].model.diffusion_model
    names, keys = [name for name, _ in unet.named_modules()], list(demo[0].model.state_dict())
    seen = []

    def look(executor, *args, **kwargs):
        seen.append(
            ([name for name, _ in unet.named_modules()], list(demo[0].model.state_dict()), hooks_on(unet))
        )
        return executor(*args, **kwargs)

    moving = scene.moving(demo[0], port.load_motion(replace(motion.weights, clip_norm=True)))
    moving.add_wrapper_with_key("diffusion_model", "test", look)
    scene.run(moving)
    assert all(found[:2] == (names, keys) and found[2] > 21 for found in seen)
    assert len(seen) == 3
    assert hooks_on(unet) == 0


def test_every_lora_key_patches_a_model_that_has_moved(demo, moving, scene):
    lora = {}
    generator = torch.Generator().manual_seed(1)
    state = demo[0].model.state_dict()
    key_map = comfy.lora.model_lora_keys_unet(demo[0].model, {})
    for name, key in key_map.items():
        if name.startswith("lora_unet_") and key in state and state[key].dim() >= 2:
            out, inner = state[key].shape[0], state[key][0].numel()
            lora[f"{name}.lora_up.weight"] = 0.1 * torch.randn(out, 2, generator=generator)
            lora[f"{name}.lora_down.weight"] = 0.1 * torch.randn(2, inner, generator=generator)
    patches = comfy.lora.load_lora(lora, key_map)
    before = demo[0].clone().add_patches(patches)
    assert len(before) == len(patches) > 200
    styled = demo[0].clone()
    styled.add_patches(patches)
    expected = scene.run(styled)
    scene.run(moving)
    again = demo[0].clone()
    assert set(again.add_patches(patches)) == set(before)
    assert torch.equal(scene.run(again), expected)


def test_nothing_of_comfyui_or_torch_is_replaced(before, demo, motion, scene):
    from frameloom.models.video.schedules import ANIMATEDIFF

    scene.run(scene.moving(demo[0], motion, schedule=ANIMATEDIFF))
    changed = replaced(before, take_snapshot())
    assert len(before) > 3000
    assert changed == []


def test_a_compiled_model_moves_as_one_that_is_not_compiled(demo, motion, scene):
    """Compiled code does not look again at hooks that come and go, but at what a model call has in its options."""
    import torch._dynamo
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    def compiled(model):
        clone = model.clone()
        set_torch_compile_wrapper(clone, backend="eager")
        return clone

    wanted = [scene.run(demo[0]), scene.run(scene.moving(demo[0], motion, 0.5))]
    torch._dynamo.reset()
    try:
        base = compiled(demo[0])
        for model, each in zip((base, scene.moving(base, motion, 0.5)), wanted, strict=True):
            torch.testing.assert_close(scene.run(model), each, rtol=0, atol=1e-4)
    finally:
        torch._dynamo.reset()
