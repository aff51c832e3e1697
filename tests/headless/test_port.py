"""The headless host's files, and what goes through a model of its own."""

from __future__ import annotations

import pytest
import torch
from frameloom.host.bundled import BUNDLED
from frameloom.models.network.sizes import DEMO
from frameloom.tests.support.random_demo import as_learner, random_motion, random_text, write_lora
from frameloom.tests.support.tensors import draw

BUNDLED_MOTION = next(iter(BUNDLED["animatediff_models"]))


def test_bundled_files_come_first_then_the_users(port):
    folder = port.models_dir / "animatediff_models"
    (folder / "deep").mkdir(parents=True)
    (folder / "adapter").mkdir()
    others = ("notes.txt", "adapter/config.json", "adapter/weights.safetensors")
    for name in ("b.ckpt", "deep/a.safetensors", *others):
        (folder / name).touch()
    names = port.list_files("animatediff_models")
    assert names == [*BUNDLED["animatediff_models"], "adapter", "b.ckpt", "deep/a.safetensors"]
    assert port.resolve("animatediff_models", "deep/a.safetensors") == folder / "deep" / "a.safetensors"
    assert port.resolve("animatediff_models", BUNDLED_MOTION) == BUNDLED["animatediff_models"][BUNDLED_MOTION]
    assert port.list_files("checkpoints") == []


def test_links_to_files_and_folders_are_followed_once(port, tmp_path):
    loras, disk = port.models_dir / "loras", tmp_path / "disk"
    for folder in (loras / "own", disk / "deep"):
        folder.mkdir(parents=True)
    (disk / "deep" / "a.ckpt").touch()
    (loras / "file.ckpt").symlink_to(disk / "deep" / "a.ckpt")
    (loras / "gone.ckpt").symlink_to(disk / "gone.ckpt")
    (loras / "folder").symlink_to(disk)
    (loras / "own" / "all").symlink_to(loras)
    (disk / "deep" / "back").symlink_to(disk)
    assert port.list_files("loras") == ["file.ckpt", "folder/deep/a.ckpt"]
    for name in port.list_files("loras"):
        assert port.resolve("loras", name) == loras / name


def test_an_absent_file_is_named_with_those_there(port):
    with pytest.raises(ValueError, match=r"loras: 'x.safetensors' was not found; expected one of: none"):
        port.resolve("loras", "x.safetensors")


def test_text_and_pictures_go_through(port, random_parts):
    _, clip, vae = random_parts
    (conditioning,), _ = port.encode_text(clip, "a red circle, on navy")
    assert conditioning[0].shape == (1, 77, DEMO.text.hidden_size)
    assert conditioning[1]["pooled_output"].shape == (1, DEMO.text.hidden_size)
    latent = port.encode(vae, torch.rand(2, 37, 50, 4))
    assert latent["samples"].shape == (2, 4, 4, 6)
    pictures = port.decode(vae, latent)
    assert pictures.shape == (2, 32, 48, 3)
    assert 0 <= float(pictures.min()) <= float(pictures.max()) <= 1


def test_a_lora_goes_on_a_clone_alone(port, model):
    (port.models_dir / "loras").mkdir(parents=True)
    write_lora(port.models_dir / "loras" / "small.safetensors")
    clone, latent = port.load_lora(model, "small.safetensors", 0.7), {"samples": draw(2, 4, 8, 8) * 4}
    before, changed, after = (
        port.predict(each, random_text(1), latent, 2.0) for each in (model, clone, model)
    )
    assert not torch.allclose(changed, before, atol=1e-2)
    assert torch.equal(after, before)
    assert port.load_lora(model, "small.safetensors", 0.0) is model


def test_the_training_function_has_gradients_inside_a_node(port, model):
    trained = random_motion().requires_grad_(True)
    with torch.inference_mode():
        forward = port.train_forward(model, 4, as_learner(trained))
        given = draw(4, 4, 8, 8), torch.full((4,), 300), draw(4, 77, DEMO.unet.context_dim)
        prediction = forward(*given)
    prediction.square().mean().backward()
    assert all(parameter.grad is not None for parameter in trained.parameters())
