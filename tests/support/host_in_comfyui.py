"""ComfyUI in this process, on the CPU or FRAMELOOM_TEST_DEVICE, and our pack in it, loaded as ComfyUI loads it.

Importing this file starts it; ``tests/conftest.py`` does so where FRAMELOOM_INSIDE names its folder.
"""

# ruff: noqa: E402, I001  ComfyUI must be on the path, and its arguments set, before it is imported; order matters

from __future__ import annotations

import asyncio
import copy
import functools
import os
import sys
from types import SimpleNamespace

import pytest

TREE = os.environ["FRAMELOOM_INSIDE"]
sys.path.insert(0, TREE)
_device = [] if os.environ.get("FRAMELOOM_TEST_DEVICE") == "cuda" else ["--cpu"]
_arguments, sys.argv = sys.argv, ["main.py", *_device, "--disable-api-nodes"]
import comfy.options

comfy.options.enable_args_parsing()
import utils.extra_config  # noqa: F401  first, as ComfyUI's main has it
import comfy.model_management
import comfy.sd
import folder_paths
import latent_preview  # noqa: F401
import nodes
import torch

sys.argv = _arguments

from frameloom.tests.host.inside.snapshot import take_snapshot

# Before anything of ours is imported.
BEFORE = take_snapshot()

from frameloom.tests.host.inside.control import controlnet
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.tests.support.gligen import WideClip
from frameloom.tests.support.scene import Scene


class Watched(torch.nn.Module):
    """The network of a VAE, whose batches are looked at first."""

    def __init__(self, network, look):
        super().__init__()
        self.network, self.look = network, look

    def decode(self, latents, **options):
        latents = latents.clone()
        self.look(latents)
        return self.network.decode(latents, **options)


class Core:
    """ComfyUI's own nodes and its cancel button."""

    cancelled = comfy.model_management.InterruptProcessingException
    widen = WideClip

    def cancel(self):
        comfy.model_management.interrupt_current_processing()

    def random_control(self, _folder):
        with torch.inference_mode():
            return controlnet(3)

    def apply_control(self, *inputs):
        return nodes.ControlNetApplyAdvanced().apply_controlnet(*inputs)

    def ksampler(self, *inputs):
        with torch.inference_mode():
            return nodes.KSampler().sample(*inputs)

    def components(self, video):
        from comfy_extras.nodes_video import GetVideoComponents

        return GetVideoComponents.execute(video).args

    def load_gligen(self, path):
        with torch.inference_mode():
            return comfy.sd.load_gligen(str(path))

    def text_box(self, *inputs):
        return nodes.GLIGENTextBoxApply().append(*inputs)[0]

    def watched(self, vae, look):
        clone = copy.copy(vae)
        clone.first_stage_model = Watched(vae.first_stage_model, look)
        return clone


@pytest.fixture(scope="session")
def core():
    return Core()


@functools.cache
def start():
    """Hand the nodes over, once in a process, and return the port."""
    import frameloom

    async def get_node_list():
        return await (await frameloom.comfy_entrypoint()).get_node_list()

    assert asyncio.run(get_node_list())
    from frameloom.host import api

    return api.port()


@pytest.fixture(autouse=True)
def as_in_a_node():
    """ComfyUI runs nodes in inference mode."""
    with torch.inference_mode():
        yield


@pytest.fixture(scope="session")
def before():
    return BEFORE


@pytest.fixture(scope="session")
def port():
    return start()


@pytest.fixture
def folders(tmp_path):
    """Input and output folder of the test's own."""
    before = folder_paths.get_input_directory(), folder_paths.get_output_directory()
    own = SimpleNamespace(input=tmp_path / "input", output=tmp_path / "output")
    for each in vars(own).values():
        each.mkdir()
    folder_paths.set_input_directory(str(own.input))
    folder_paths.set_output_directory(str(own.output))
    yield own
    folder_paths.set_input_directory(before[0])
    folder_paths.set_output_directory(before[1])


@pytest.fixture
def kind_folder(port, tmp_path, monkeypatch):
    def look_in(kind):
        endings = folder_paths.folder_names_and_paths[kind][1]
        monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, ([str(tmp_path)], endings))
        return tmp_path

    return look_in


@pytest.fixture(scope="session")
def demo(port):
    with torch.inference_mode():
        return port.load_demo()


@pytest.fixture(scope="session")
def motion(port):
    path = port.resolve("animatediff_models", "frameloom_demo_motion.safetensors")
    with torch.inference_mode():
        return port.load_motion(read_motion_weights(path))


@pytest.fixture(scope="session")
def scene(port, demo):
    """A small sampling run, to be made with any model."""
    with torch.inference_mode():
        return Scene(port, demo[1])


@pytest.fixture(scope="session")
def moving(scene, demo, motion):
    with torch.inference_mode():
        return scene.moving(demo[0], motion)


@pytest.fixture(scope="session")
def xl(port):
    """A small SDXL of random weights, with both text encoders: MODEL and CLIP."""
    from frameloom.tests.host.inside.tiny_models import build_sdxl

    with torch.inference_mode():
        return build_sdxl()


@pytest.fixture(scope="session")
def xl_scene(port, xl):
    """The same small run for SDXL."""
    with torch.inference_mode():
        return Scene(port, xl[1])


@pytest.fixture(scope="session")
def xl_motion(port, xl):
    """A function that loads a motion module of random weights for it, of a kind."""
    from frameloom.host.comfyui.seams.network import size_of
    from frameloom.models.motion.checkpoint import MotionWeights
    from frameloom.models.motion.module import MotionModel, motion_size
    from frameloom.models.video.schedules import ANIMATEDIFF_SDXL

    size = motion_size(size_of(xl[0].model.diffusion_model))
    torch.manual_seed(1)
    state = {key: value.detach() for key, value in MotionModel(size).state_dict().items()}
    for key, value in state.items():
        if key.endswith("proj_out.weight"):
            value.normal_(std=0.3)  # else it starts as nothing

    def load(family="animatediff_sdxl"):
        schedule = ANIMATEDIFF_SDXL if family == "animatediff_sdxl" else None
        weights = MotionWeights(f"{family}.safetensors", family, size, state, schedule, family == "hotshotxl")
        with torch.inference_mode():
            return port.load_motion(weights)

    return load
