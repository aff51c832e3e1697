"""The headless host, in folders of its own, on the CPU or FRAMELOOM_TEST_DEVICE; fixtures of ``host_in_comfyui``."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
from frameloom.headless import select_host
from frameloom.headless.core_nodes.conditioning import ControlNetApplyAdvanced, GLIGENTextBoxApply
from frameloom.headless.core_nodes.sampling import KSampler
from frameloom.headless.core_nodes.video import GetVideoComponents
from frameloom.headless.engine.gligen import load_gligen
from frameloom.headless.port import HeadlessHost
from frameloom.headless.weights.control_loading import load_controlnet
from frameloom.headless.weights.model import VAE
from frameloom.host import api
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.tests.support.gligen import WideText
from frameloom.tests.support.random_demo import write_control
from frameloom.tests.support.scene import Scene


class WatchedVAE(VAE):
    """A VAE whose batches are looked at first."""

    def __init__(self, vae, look):
        super().__init__(vae.network)
        object.__setattr__(self, "look", look)

    def decode(self, latents):
        latents = latents.clone()
        self.look(latents)
        return super().decode(latents)


class Core:
    """What stands in for ComfyUI's own nodes and its cancel button."""

    cancelled = KeyboardInterrupt
    watched = WatchedVAE

    def cancel(self):
        """Ctrl-C as in a terminal; a shell's background jobs ignore it."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.signal(signal.SIGINT, before)

    def random_control(self, folder):
        return load_controlnet(write_control(folder / "net.safetensors"), api.port().compute_device())

    def apply_control(self, *inputs):
        return ControlNetApplyAdvanced.execute(*inputs).args

    def ksampler(self, *inputs):
        return KSampler.execute(*inputs)

    def components(self, video):
        return GetVideoComponents.execute(video).args

    def load_gligen(self, path):
        return load_gligen(path, api.port().compute_device())

    def text_box(self, *inputs):
        return GLIGENTextBoxApply.execute(*inputs)[0]

    def widen(self, clip):
        return replace(clip, network=WideText(clip.network))


@pytest.fixture(scope="module")
def core(port):
    return Core()


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """The host of this process for as long as a file of tests takes, so that they may run nodes."""
    folder = tmp_path_factory.mktemp("headless")
    device = os.environ.get("FRAMELOOM_TEST_DEVICE", "cpu")
    port = HeadlessHost(device, folder / "input", folder / "output", folder / "models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "_selected", {})
        select_host(port)
        yield port


@pytest.fixture
def folders(port, tmp_path, monkeypatch):
    """Input and output folder of the test's own."""
    own = SimpleNamespace(input=tmp_path / "input", output=tmp_path / "output")
    for name, folder in vars(own).items():
        folder.mkdir()
        monkeypatch.setattr(port, f"{name}_dir", folder)
    return own


@pytest.fixture
def kind_folder(port):
    def make(kind):
        folder = port.models_dir / kind
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    return make


@pytest.fixture(scope="module")
def demo(port):
    return port.load_demo()


@pytest.fixture(scope="module")
def motion(port):
    [name, *_] = port.list_files("animatediff_models")
    return port.load_motion(read_motion_weights(port.resolve("animatediff_models", name)))


@pytest.fixture(scope="module")
def scene(port, demo):
    return Scene(port, demo[1])


@pytest.fixture(scope="module")
def moving(scene, demo, motion):
    return scene.moving(demo[0], motion)
