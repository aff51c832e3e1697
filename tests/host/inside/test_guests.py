"""Another pack's node on the same model, whatever it does: the network they share is as it was, and so is every run."""

from __future__ import annotations

import gc
from dataclasses import replace

import comfy.model_management
import pytest
import torch
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.patcher_extension import PatcherInjection
from frameloom.models.edits.edit import Edit
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


@pytest.fixture(scope="module")
def fresh(demo, motion, scene):
    """A plain run and one of ours, and the network, before any guest came."""
    with torch.inference_mode():
        found = [scene.run(model, frames=2) for model in (demo[0], scene.moving(demo[0], motion))]
    return *found, census(demo[0].model.diffusion_model)


@pytest.fixture
def unharmed(demo, motion, scene, fresh):
    """Checks, whatever the test did, that plain and our runs are bit-equal and the network is as it was."""
    plain, moved, network = fresh
    yield
    assert torch.equal(scene.run(demo[0], frames=2), plain)
    assert census(demo[0].model.diffusion_model) == network
    assert torch.equal(scene.run(scene.moving(demo[0], motion), frames=2), moved)
    assert census(demo[0].model.diffusion_model) == network


def moving(port, scene, model, motion):
    return scene.moving(model, motion)


def moving_v1(port, scene, model, motion):
    return scene.moving(model, port.load_motion(replace(motion.weights, clip_norm=True)))


def crossing(port, scene, model, motion):
    return scene.crossing(model)


def windowed(port, scene, model, motion):
    return port.install(model, Edit("windows", windows=WindowPlan(4, 2)))


GUESTS = {"injection": with_guest, "calls": with_guest_in_calls}
REFUSED = r"model: got layers of another pack in its UNet \(Layer of .*\); expected none beside Frameloom's"


@pytest.mark.parametrize("last", ["guest", "ours"])
@pytest.mark.parametrize("edit", [moving, moving_v1, windowed])
def test_layers_of_another_pack_beside_motion_or_windows_are_refused(
    port, demo, motion, scene, unharmed, edit, last
):
    model = (
        with_guest(edit(port, scene, demo[0], motion))
        if last == "guest"
        else edit(port, scene, with_guest(demo[0]), motion)
    )
    with pytest.raises(HostError, match=REFUSED):
        scene.run(model, frames=6)


@pytest.mark.parametrize("guest", GUESTS)
@pytest.mark.parametrize("last", ["guest", "ours"])
def test_layers_of_another_pack_beside_other_edits_act(port, demo, motion, scene, unharmed, guest, last):
    put_on = GUESTS[guest]
    model = put_on(scene.crossing(demo[0])) if last == "guest" else scene.crossing(put_on(demo[0]))
    found = scene.run(model, frames=2)
    assert not torch.equal(found, scene.run(scene.crossing(demo[0]), frames=2))
    assert not torch.equal(found, scene.run(put_on(demo[0]), frames=2))
    assert torch.equal(scene.run(model, frames=2), found)


@pytest.mark.parametrize("end", ["error", "cancel"])
@pytest.mark.parametrize("last", ["guest", "ours"])
@pytest.mark.parametrize("guest", GUESTS)
def test_a_guest_that_ends_the_run_in_the_middle_of_a_call(demo, scene, unharmed, guest, last, end):
    calls = []
    expected = {"error": RuntimeError, "cancel": comfy.model_management.InterruptProcessingException}[end]

    def stop():
        calls.append(1)
        if len(calls) == 20:
            raise expected("in the middle")

    put_on = GUESTS[guest]
    model = put_on(scene.crossing(demo[0]), stop)
    if last == "ours":
        model = scene.crossing(put_on(demo[0], stop))
    with pytest.raises(expected):
        scene.run(model, frames=2)
    assert len(calls) == 20


@pytest.mark.parametrize("end", ["error", "cancel", None])
def test_a_guest_within_our_calls_that_inserts_and_pops(demo, motion, scene, unharmed, end):
    """Its layers come and go while our hooks are on."""
    calls = []
    expected = {"error": RuntimeError, "cancel": comfy.model_management.InterruptProcessingException}.get(end)

    def stop():
        calls.append(1)
        if expected is not None and len(calls) == 20:
            raise expected("in the middle")

    model = with_guest_in_calls(scene.moving(demo[0], motion), stop)
    if expected is None:
        assert torch.isfinite(scene.run(model, frames=2)).all()
    else:
        with pytest.raises(expected):
            scene.run(model, frames=2)


def test_clones_that_are_dropped_in_any_order(demo, motion, scene, unharmed):
    """ComfyUI takes a guest's layers out when the last reference to a clone goes."""
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        models = [with_guest(demo[0]), scene.crossing(with_guest(demo[0])), scene.moving(demo[0], motion)]
        for model in models:
            scene.run(model, frames=2)
        for index in order:
            models[index] = None
            gc.collect()


def test_a_guest_that_asks_the_network_within_our_call_gets_one_answer(demo, motion, scene):
    """A call within a call: each motion module runs once in either."""
    moving = scene.moving(demo[0], motion)
    moved, answers = scene.run(moving, frames=2), []

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
