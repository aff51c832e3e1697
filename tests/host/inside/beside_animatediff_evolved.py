"""AnimateDiff-Evolved on the same model: refused in words or right, and nothing is wrong afterwards.

``test_inside.py`` runs this file by itself, where that pack is found. Its motion models have the widths of SD1.5; here
its modules are made as wide as the demo model's, and all else is as it comes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import server
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import HostError
from frameloom.models.motion.camera_checkpoint import read_camera_weights
from frameloom.models.motion.camera_ctrl import CameraEdit
from frameloom.models.motion.camera_moves import move_camera, parse_moves
from frameloom.models.motion.positions import stretch_positions
from frameloom.models.motion.save import save_motion
from frameloom.models.network.unet import UNetSize
from frameloom.models.video.schedules import ANIMATEDIFF, ANIMATEDIFF_SDXL
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.camera import WIDTHS, tiny_camera
from frameloom.tests.support.motion import save
from frameloom.tests.support.tensors import apart
from frameloom.training.motion.lessons import new_module

import nodes

PEER = Path(os.environ["FRAMELOOM_PEER"])
ASSETS = Path(__file__).parents[3] / "assets" / "demo"
REFUSED = (
    r"model: got layers of another pack in its UNet \(VanillaTemporalModule of ComfyUI-AnimateDiff-Evolved\); expected "
    r"none beside Frameloom's (test|windows): .*leave m_models of Use Evolved Sampling unconnected"
)


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    """That pack's nodes, loaded as ComfyUI loads them."""
    folder = tmp_path_factory.mktemp("custom_nodes") / PEER.name
    shutil.copytree(PEER, folder, ignore=shutil.ignore_patterns(".git"))  # it may write beside its files

    async def load():
        server.PromptServer(asyncio.get_running_loop())
        assert await nodes.load_custom_node(str(folder))

    asyncio.run(load())
    shutil.copy(ASSETS / "motion.safetensors", folder / "models" / "demo.safetensors")
    name = next(name for name in sys.modules if name.endswith(f"{PEER.name}.animatediff.motion_module_ad"))
    layers = sys.modules[name]

    class Narrow(layers.MotionModule):
        def __init__(self, channels, *args, **kwargs):
            super().__init__(32 if channels == 320 else 64, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(layers, "MotionModule", Narrow)
        yield nodes.NODE_CLASS_MAPPINGS


def call(peer, name, **inputs):
    node = peer[name]
    return getattr(node(), node.FUNCTION)(**inputs)[0]


def load(peer, ad_settings=None):
    loaded = call(peer, "ADE_LoadAnimateDiffModel", model_name="demo.safetensors", ad_settings=ad_settings)
    return call(peer, "ADE_ApplyAnimateDiffModelSimple", motion_model=loaded)


@pytest.fixture(scope="module")
def motion_models(peer):
    return load(peer)


@pytest.fixture
def evolved(peer):
    def evolve(model, motion_models=None, context=None):
        parts = {"m_models": motion_models, "context_options": context}
        return call(peer, "ADE_UseEvolvedSampling", model=model, beta_schedule="autoselect", **parts)

    return evolve


@pytest.fixture
def edits(port, motion, scene):
    return {
        "motion": lambda model: scene.moving(model, motion),
        "windows": lambda model: port.install(model, Edit("windows", windows=WindowPlan(4, 2))),
        "crossing": scene.crossing,
    }


def names_of(model):
    return [(name, id(each)) for name, each in model.model.diffusion_model.named_modules()]


@pytest.fixture(scope="module")
def fresh(demo, motion, scene):
    with torch.inference_mode():
        names = names_of(demo[0])
        return names, scene.run(demo[0]), scene.run(scene.moving(demo[0], motion))


@pytest.fixture
def unharmed(demo, motion, scene, fresh):
    """Checks, whatever the test did, that plain and our runs are bit-equal and the network is as it was."""
    names, plain, moved = fresh
    yield
    assert torch.equal(scene.run(demo[0]), plain)
    assert names_of(demo[0]) == names
    assert torch.equal(scene.run(scene.moving(demo[0], motion)), moved)
    assert names_of(demo[0]) == names


@pytest.mark.parametrize("order", ["theirs, ours", "ours, theirs"])
@pytest.mark.parametrize("edit", ["motion", "windows"])
def test_its_motion_model_beside_ours_or_our_windows_is_refused(
    demo, scene, evolved, motion_models, edits, fresh, unharmed, edit, order
):
    put_on = edits[edit]
    model = (
        put_on(evolved(demo[0], motion_models))
        if order == "theirs, ours"
        else evolved(put_on(demo[0]), motion_models)
    )
    for _ in range(2):
        with pytest.raises(HostError, match=REFUSED):
            scene.run(model, frames=8)


def test_its_motion_model_alone_acts_as_before(demo, scene, evolved, motion_models, edits, fresh, unharmed):
    model = evolved(demo[0], motion_models)
    first = scene.run(model)
    assert not torch.equal(first, fresh[1])
    scene.run(edits["motion"](demo[0]))
    assert torch.equal(scene.run(model), first)


@pytest.mark.parametrize("edit", ["motion", "windows", "crossing"])
def test_its_sampling_without_motion_models_is_right_in_both_orders(
    demo, scene, evolved, edits, unharmed, edit
):
    put_on = edits[edit]
    wanted = scene.run(put_on(demo[0]), frames=8)
    assert torch.equal(scene.run(put_on(evolved(demo[0])), frames=8), wanted)
    assert torch.equal(scene.run(evolved(put_on(demo[0])), frames=8), wanted)


def test_its_motion_model_beside_our_other_edits_is_the_same_in_both_orders(
    demo, scene, evolved, motion_models, edits, unharmed
):
    put_on = edits["crossing"]
    both = scene.run(put_on(evolved(demo[0], motion_models)))
    assert torch.equal(scene.run(evolved(put_on(demo[0]), motion_models)), both)
    assert not torch.equal(both, scene.run(evolved(demo[0], motion_models)))
    assert not torch.equal(both, scene.run(put_on(demo[0])))


@pytest.mark.parametrize("stretched", [False, True])
def test_its_positions_are_stretched_as_ours(peer, port, demo, motion, scene, evolved, unharmed, stretched):
    """Without them, too, so that nothing else is apart."""
    weights, settings = motion.weights, None
    if stretched:
        weights = stretch_positions(weights, 3, 8)
        adjust = call(
            peer, "ADE_AdjustPESweetspotStretch", sweetspot=3, new_sweetspot=8, print_adjustment=False
        )
        settings = call(peer, "ADE_AnimateDiffSettings", pe_adjust=adjust)
    theirs = scene.run(evolved(demo[0], load(peer, settings)), frames=8)
    ours = scene.run(scene.moving(demo[0], port.load_motion(weights), schedule=ANIMATEDIFF), frames=8)
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_it_reads_what_training_makes_for_sdxl_weight_for_weight(peer):
    """As AnimateDiff's module for SDXL, which it takes for one by its three levels."""
    size = UNetSize(32, (1, 2, 2), context_dim=8, num_heads=2, depths=(0, 2, 2), middle_depth=2)
    weights = new_module(size.slots, ANIMATEDIFF_SDXL, norm_scope="clip")
    state = {
        name: torch.randn_like(value) for name, value in weights.state.items() if not name.endswith(".pe")
    }
    layers = sys.modules[next(name for name in sys.modules if name.endswith(".animatediff.motion_module_ad"))]
    file = Path(layers.__file__).parents[1] / "models" / "own_sdxl.safetensors"
    save_motion(file, replace(weights, state={**weights.state, **state}))
    theirs = call(peer, "ADE_LoadAnimateDiffModel", model_name=file.name).model
    assert (theirs.mm_info.sd_type, theirs.mm_info.mm_format) == ("SDXL", "AnimateDiff")
    read = theirs.state_dict()
    assert set(state) <= set(read)
    assert all(torch.equal(read[name].float(), value) for name, value in state.items())


@pytest.fixture(scope="module")
def their_camera(peer):
    """A CameraCtrl of random weights, as that pack loads its pruned file, on the demo's motion module."""
    folder = next(Path(place) for place in sys.modules if place.endswith(PEER.name)) / "models"
    save(folder / "camera.safetensors", tiny_camera())
    injection = next(
        module for name, module in sys.modules.items() if name.endswith(".animatediff.model_injection")
    )
    wide = injection.CameraPoseEncoder
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(injection, "CameraPoseEncoder", lambda channels, **more: wide(channels=WIDTHS, **more))
        loaded = call(
            peer,
            "ADE_LoadAnimateDiffModelWithCameraCtrl",
            model_name="demo.safetensors",
            camera_ctrl="camera.safetensors",
        )
    weights = read_camera_weights(folder / "camera.safetensors")
    return loaded, weights


@pytest.mark.parametrize(
    ("frames", "move"),
    [(4, "Pan Left"), (16, "Zoom In"), (2, "Roll Clockwise"), (16, "Tilt Up"), (24, "Pan Down")],
)
def test_cameras_are_theirs(demo, motion, scene, port, peer, evolved, their_camera, unharmed, frames, move):
    """But for 3 frames, where that pack takes a product over the wrong axis. 24 are in context windows of 16."""
    loaded, weights = their_camera
    poses = call(peer, "ADE_CameraPoseBasic", motion_type=move, speed=1.5, frame_length=frames)
    theirs = evolved(
        demo[0],
        call(peer, "ADE_ApplyAnimateDiffModelWithCameraCtrl", motion_model=loaded, cameractrl_poses=poses),
        call(peer, "ADE_StandardStaticContextOptions", context_length=16, context_overlap=4)
        if frames > 16
        else None,
    )
    edit = CameraEdit(
        weights,
        move_camera(frames, parse_moves(f"{move} 1.5")),
        torch.ones(frames),
        network=port.load_camera(weights),
    )
    moving = scene.windowed(scene.moving(demo[0], motion, schedule=ANIMATEDIFF), WindowPlan(16, 4))
    drawn = scene.run(port.install(moving, Edit("test", temporal_attention=edit)), frames=frames)
    assert apart(drawn, scene.run(theirs, frames=frames)) < 1e-3
    assert apart(drawn, scene.run(moving, frames=frames)) > 0.01


@pytest.mark.parametrize(
    ("theirs", "ours", "sampling"),
    [
        ("sqrt_linear (AnimateDiff)", "sqrt_linear (AnimateDiff)", None),
        ("linear (AnimateDiff-SDXL)", "linear (AnimateDiff-SDXL)", None),
        ("linear (HotshotXL/default)", "linear (Stable Diffusion)", None),
        ("avg(sqrt_linear,linear)", "avg(sqrt_linear,linear)", None),
        ("lcm", "linear (Stable Diffusion)", "lcm"),
        ("lcm >> sqrt_linear", "sqrt_linear (AnimateDiff)", "lcm"),
        ("sqrt", "sqrt", None),
        ("cosine", "cosine", None),
    ],
)
def test_noise_levels_of_its_schedules_are_ours(peer, demo, motion, theirs, ours, sampling):
    """Of its lcm ones those of core's node before ours. Its squaredcos_cap_v2, also called cosine, fails in core."""
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
    from frameloom.nodes.motion.modules import ApplyMotionModule

    name = next(name for name in sys.modules if name.endswith(f"{PEER.name}.animatediff.utils_model"))
    wanted = sys.modules[name].BetaSchedules.to_model_sampling(theirs, demo[0])
    model = demo[0] if sampling is None else ModelSamplingDiscrete().patch(demo[0], sampling, False)[0]
    applied = ApplyMotionModule.execute(model, motion, 1.0, 0.0, 1.0, ours).args[0]
    got = applied.get_model_object("model_sampling")
    torch.testing.assert_close(got.sigmas, wanted.sigmas, rtol=1e-4, atol=0)
    assert sampling is None or got.timestep(got.sigmas[3]) == wanted.timestep(wanted.sigmas[3])
