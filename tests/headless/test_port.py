"""The headless host's files, clones and training function."""

from __future__ import annotations

import pytest
import torch
from frameloom.headless.port import HeadlessHost
from frameloom.headless.text.prompt import Tokenizer
from frameloom.headless.weights.loading import load_checkpoint
from frameloom.host.bundled import BUNDLED, DEMO_TOKENIZER
from frameloom.models.errors import CheckpointError
from frameloom.models.motion.checkpoint import MotionWeights
from frameloom.models.motion.edit import motion_edit
from frameloom.models.network.sizes import DEMO
from frameloom.tests.support.motion import tiny_module
from frameloom.tests.support.random_demo import random_motion, write_lora, write_model

BUNDLED_MOTION = next(iter(BUNDLED["animatediff_models"]))


@pytest.fixture
def host(tmp_path):
    return HeadlessHost("cpu", tmp_path / "input", tmp_path / "output", tmp_path / "models")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    path = write_model(tmp_path_factory.mktemp("model") / "model.safetensors")
    return load_checkpoint(path, Tokenizer.from_folder(DEMO_TOKENIZER), torch.device("cpu"), DEMO)


def weights_of(module, name="random"):
    return MotionWeights(name, "frameloom", module.size, module.state_dict(), None)


def test_bundled_files_come_first_then_the_users(host):
    folder = host.models_dir / "animatediff_models"
    (folder / "deep").mkdir(parents=True)
    (folder / "adapter").mkdir()
    for name in (
        "b.ckpt",
        "notes.txt",
        "deep/a.safetensors",
        "adapter/config.json",
        "adapter/weights.safetensors",
    ):
        (folder / name).touch()
    names = host.list_files("animatediff_models")
    assert names == [BUNDLED_MOTION, "adapter", "b.ckpt", "deep/a.safetensors"]
    assert host.resolve("animatediff_models", "deep/a.safetensors") == folder / "deep" / "a.safetensors"
    assert host.resolve("animatediff_models", BUNDLED_MOTION) == BUNDLED["animatediff_models"][BUNDLED_MOTION]
    assert host.list_files("checkpoints") == []


def test_links_to_files_and_folders_are_followed_once(host, tmp_path):
    loras, disk = host.models_dir / "loras", tmp_path / "disk"
    for folder in (loras / "own", disk / "deep"):
        folder.mkdir(parents=True)
    (disk / "deep" / "a.ckpt").touch()
    (loras / "file.ckpt").symlink_to(disk / "deep" / "a.ckpt")
    (loras / "gone.ckpt").symlink_to(disk / "gone.ckpt")
    (loras / "folder").symlink_to(disk)
    (loras / "own" / "all").symlink_to(loras)
    (disk / "deep" / "back").symlink_to(disk)
    assert host.list_files("loras") == ["file.ckpt", "folder/deep/a.ckpt"]
    for name in host.list_files("loras"):
        assert host.resolve("loras", name) == loras / name


def test_an_absent_file_is_named_with_those_there(host):
    with pytest.raises(ValueError, match=r"loras: 'x.safetensors' was not found; expected one of: none"):
        host.resolve("loras", "x.safetensors")


def test_install_leaves_the_model_as_it_was(host, demo):
    motion = host.load_motion(weights_of(random_motion()))
    model = demo[0]
    clone = host.install(model, motion_edit("motion", motion))
    assert model.edits == ()
    assert clone.unet is model.unet
    assert len(host.install(clone, motion_edit("again", motion)).edits) == 2


def test_a_module_of_another_width_is_refused(host, demo):
    motion = host.load_motion(weights_of(tiny_module(width=64), "wide.safetensors"))
    with pytest.raises(
        CheckpointError, match=r"wide.safetensors: down_blocks.0.motion_modules.0 is 64 channels wide"
    ):
        host.install(demo[0], motion_edit("motion", motion))


def test_text_and_pictures_go_through(host, demo):
    _, clip, vae = demo
    (conditioning,), spans = host.encode_text(clip, "a red circle, on navy")
    assert conditioning[0].shape == (1, 77, DEMO.text.hidden_size)
    assert conditioning[1]["pooled_output"].shape == (1, DEMO.text.hidden_size)
    assert list(spans) == ["a red circle", "on navy"]
    latent = host.encode(vae, torch.rand(2, 37, 50, 4))
    assert latent["samples"].shape == (2, 4, 4, 6)
    pictures = host.decode(vae, latent)
    assert pictures.shape == (2, 32, 48, 3)
    assert 0 <= float(pictures.min()) <= float(pictures.max()) <= 1


def test_progress_tells_every_step(host, demo):
    model, clip, _ = demo
    conditioning, _ = host.encode_text(clip, "a red circle")
    seen = []

    class Bar:
        def update(self, done, preview=None):
            seen.append(done)

    zeros = torch.zeros(1, 4, 8, 8)
    sigmas = host.sigmas(model, 3, "simple")
    options = {"noise": zeros, "sigmas": sigmas, "sampler": "euler", "cfg": 1.0, "progress": Bar()}
    host.sample(model, conditioning, [], {"samples": zeros}, **options)
    assert seen == [1, 2, 3]


def test_the_training_function_has_gradients_inside_a_node(host, demo):
    module = random_motion().requires_grad_(True)
    motion = host.load_motion(weights_of(module))
    clone = host.install(demo[0], motion_edit("motion", motion))
    object.__setattr__(motion, "network", module)  # the trainer's own weights in the place of the loaded ones
    with torch.inference_mode():
        noisy, tokens = torch.randn(4, 4, 8, 8), torch.randn(4, 77, DEMO.unet.context_dim)
        prediction = host.train_forward(clone, 4)(noisy, torch.full((4,), 300), tokens)
    prediction.square().mean().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert not any(parameter.requires_grad for parameter in clone.unet.parameters())


def test_a_lora_goes_on_a_clone_alone(host, demo):
    model, clip, _ = demo
    (host.models_dir / "loras").mkdir(parents=True)
    write_lora(host.models_dir / "loras" / "small.safetensors")
    clone = host.load_lora(model, "small.safetensors", 0.7)
    conditioning, _ = host.encode_text(clip, "a red circle")
    latent = {"samples": torch.randn(2, 4, 8, 8) * 4}
    before = host.predict(model, conditioning, latent, 2.0)
    assert not torch.allclose(host.predict(clone, conditioning, latent, 2.0), before, atol=1e-2)
    assert torch.equal(host.predict(model, conditioning, latent, 2.0), before)
    assert host.load_lora(model, "small.safetensors", 0.0) is model
