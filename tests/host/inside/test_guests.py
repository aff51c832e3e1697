"""Another pack's node on the same model, whatever it does: the network they share is as it was, and so is every run."""

from __future__ import annotations

import gc
from dataclasses import replace

import comfy.model_management
import pytest
import torch
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.patcher_extension import PatcherInjection
from frameloom.models.errors import HostError
from frameloom.models.video.windows import WindowPlan


class Layer(torch.nn.Module):
    """What a guest puts behind each transformer; ``at_call`` may end a run."""

    def __init__(self, at_call):
        super().__init__()
        self.at_call = at_call

    def forward(self, hidden):
        self.at_call()
        return hidden + 0.01


def blocks_of(unet):
    return (*unet.input_blocks, unet.middle_block, *unet.output_blocks)


def put_in(unet, at_call):
    for block in blocks_of(unet):
        places = [index for index, child in enumerate(block) if isinstance(child, SpatialTransformer)]
        if places:
            block.insert(places[-1] + 1, Layer(at_call))


def take_out(unet):
    """As AnimateDiff-Evolved does it: what is behind is numbered anew."""
    for block in blocks_of(unet):
        for index in reversed([index for index, child in enumerate(block) if isinstance(child, Layer)]):
            block.pop(index)


def with_guest(model, at_call=lambda: None):
    """A clone into which a guest puts layers while it is loaded."""
    clone = model.clone()
    handle = PatcherInjection(
        inject=lambda patcher: put_in(patcher.model.diffusion_model, at_call),
        eject=lambda patcher: take_out(patcher.model.diffusion_model),
    )
    clone.set_injections("guest", [handle])
    return clone


def with_guest_in_calls(model, at_call=lambda: None):
    """A clone into which a guest puts layers for each model call."""
    clone = model.clone()

    def around(executor, *args, **kwargs):
        put_in(executor.class_obj, at_call)
        try:
            return executor(*args, **kwargs)
        finally:
            take_out(executor.class_obj)

    clone.add_wrapper_with_key("diffusion_model", "guest", around)
    return clone


def census(unet):
    """Every module by name, in its order, and the hooks on it."""
    return [
        (name, id(each), len(each._forward_hooks), len(each._forward_pre_hooks))
        for name, each in unet.named_modules()
    ]


@pytest.fixture
def unharmed(demo, moving, scene):
    """Checks, whatever the test did, that plain and our runs are bit-equal and the network is as it was."""
    models, before = (demo[0], moving), census(demo[0].model.diffusion_model)
    drawn = [scene.drawn(model, 2) for model in models]
    yield
    for model, wanted in zip(models, drawn, strict=True):
        assert torch.equal(scene.run(model, frames=2), wanted)
        assert census(demo[0].model.diffusion_model) == before


GUESTS = {"injection": with_guest, "calls": with_guest_in_calls}
EDITS = {
    "motion": lambda port, scene, model, motion: scene.moving(model, motion),
    "motion of clip norms": lambda port, scene, model, motion: scene.moving(
        model, port.load_motion(replace(motion.weights, clip_norm=True))
    ),
    "windows": lambda port, scene, model, motion: scene.windowed(model, WindowPlan(4, 2)),
}


@pytest.mark.parametrize("last", ["guest", "ours"])
@pytest.mark.parametrize("edit", EDITS)
def test_layers_of_another_pack_beside_motion_or_windows_are_refused(
    port, demo, motion, scene, unharmed, edit, last
):
    def put_on(model):
        return EDITS[edit](port, scene, model, motion)

    model = with_guest(put_on(demo[0])) if last == "guest" else put_on(with_guest(demo[0]))
    said = r"model: got layers of another pack in its UNet \(Layer of .*\); expected none beside Frameloom's"
    with pytest.raises(HostError, match=said):
        scene.run(model, frames=6)


@pytest.mark.parametrize(
    ("guest", "last"), [("injection", "guest"), ("injection", "ours"), ("calls", "ours")]
)
def test_layers_of_another_pack_beside_other_edits_act(demo, scene, unharmed, guest, last):
    put_on = GUESTS[guest]
    model = put_on(scene.crossing(demo[0])) if last == "guest" else scene.crossing(put_on(demo[0]))
    found = scene.run(model, frames=2)
    for lacking in (scene.crossing(demo[0]), put_on(demo[0])):
        assert not torch.equal(found, scene.run(lacking, frames=2))
    assert torch.equal(scene.run(model, frames=2), found)


@pytest.mark.parametrize("end", [RuntimeError, comfy.model_management.InterruptProcessingException, None])
@pytest.mark.parametrize("guest", GUESTS)
def test_a_guest_that_ends_the_run_in_the_middle_of_a_call(demo, motion, scene, unharmed, guest, end):
    """Layers that come and go for each call do so while our hooks are on."""
    calls = []

    def stop():
        calls.append(1)
        if end is not None and len(calls) == 20:
            raise end

    edited = scene.crossing(demo[0]) if guest == "injection" else scene.moving(demo[0], motion)
    model = GUESTS[guest](edited, stop)
    if end is None:
        assert torch.isfinite(scene.run(model, frames=2)).all()
        return
    with pytest.raises(end):
        scene.run(model, frames=2)
    assert len(calls) == 20


def test_clones_that_are_dropped_in_any_order(demo, motion, scene, unharmed):
    """ComfyUI takes a guest's layers out when the last reference to a clone goes."""
    for order in ((0, 1, 2), (2, 1, 0)):
        models = [with_guest(demo[0]), scene.crossing(with_guest(demo[0])), scene.moving(demo[0], motion)]
        for model in models:
            scene.run(model, frames=2)
        for index in order:
            models[index] = None
            gc.collect()


def test_a_guest_that_asks_the_network_within_our_call_gets_one_answer(moving, scene):
    """A call within a call: each motion module runs once in either."""
    moved, answers = scene.drawn(moving, 2), []

    def ask_twice(executor, *args, **kwargs):
        *rest, options = args
        if not options.get("asked"):
            answers.append(executor.class_obj.forward(*rest, {**options, "asked": True}, **kwargs))
        out = executor(*args, **kwargs)
        if not options.get("asked"):
            assert torch.equal(out, answers[-1])
        return out

    guest = moving.clone()
    guest.add_wrapper_with_key("diffusion_model", "guest", ask_twice)
    assert torch.equal(scene.run(guest, frames=2), moved)
    assert len(answers) == 3


def test_a_patch_of_ours_that_a_guest_takes_out_stops_the_run(demo, scene, unharmed):
    model = scene.crossing(demo[0])
    model.model_options["transformer_options"]["patches"] = {"attn1_patch": [lambda q, k, v, _: (q, k, v)]}
    with pytest.raises(
        HostError, match=r"another pack's node took Frameloom's attn1_patch of test out of it; expected"
    ):
        scene.run(model, frames=2)
