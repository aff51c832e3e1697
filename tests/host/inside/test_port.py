"""The port's smaller promises, by ComfyUI."""

from __future__ import annotations

import subprocess
import sys

import folder_paths
import pytest
import torch
from frameloom.models.schedules import STABLE_DIFFUSION


def test_spans_lie_where_the_words_are(port, demo):
    text = "a (big:1.3) red circle, moving right, a (big:1.3) red circle"
    conditioning, spans = port.encode_text(demo[1], text)
    tokens = [token for chunk in demo[1].tokenize(text)["l"] for token, _ in chunk]
    assert conditioning[0][0].shape[1] == len(tokens)
    assert set(spans) == {"a big red circle", "moving right"}
    words = [token for chunk in demo[1].tokenize("moving right")["l"] for token, _ in chunk][1:3]
    ((first, last),) = spans["moving right"]
    assert tokens[first:last] == words
    assert len(spans["a big red circle"]) == 2


def test_spans_go_on_in_the_next_chunk(port, demo):
    _, spans = port.encode_text(demo[1], ", ".join(["a red circle"] * 40) + ", moving right")
    ((first, last),) = spans["moving right"]
    assert first > 77
    assert last - first == 2


def test_sigmas_and_timesteps_agree(port, demo):
    assert port.timestep_to_sigma(demo[0], 881) == pytest.approx(
        float(STABLE_DIFFUSION.sigmas()[881]), rel=1e-5
    )
    assert port.sigma_to_timestep(demo[0], float(STABLE_DIFFUSION.sigmas()[400])) == 400
    sigmas = port.sigmas(demo[0], 10, "karras")
    assert sigmas.shape == (11,)
    assert sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()


def test_prediction_is_the_samplers_first_step(port, demo, scene):
    """Euler from sigma to 0 in one step is the prediction itself."""
    sigma, scale = 5.0, 0.18215
    noise = scene.noise(2)
    one_step = port.sample(
        demo[0], scene.positive, scene.negative, {"samples": torch.zeros(2, 4, 16, 16)}, noise=noise,
        sigmas=torch.tensor([sigma, 0.0]), sampler="euler", cfg=1.0,
    )["samples"]  # fmt: skip
    predicted = port.predict(demo[0], scene.positive, {"samples": sigma * noise / scale}, sigma)
    torch.testing.assert_close(predicted, one_step, rtol=1e-4, atol=1e-4)


def test_mask_holds_what_it_says(port, demo, scene):
    held = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(9))
    mask = torch.ones(4, 1, 16, 16)
    mask[0] = 0
    out = port.sample(
        demo[0], scene.positive, scene.negative, {"samples": held, "batch_index": [0, 1, 2, 3]}, noise=scene.noise(4),
        sigmas=port.sigmas(demo[0], 3, "normal"), sampler="euler", cfg=1.0, mask=mask,
    )  # fmt: skip
    torch.testing.assert_close(out["samples"][0], held[0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(out["samples"][1], held[1])
    assert out["batch_index"] == [0, 1, 2, 3]


def test_files_are_listed_and_resolved(port, tmp_path):
    assert "frameloom_demo_motion.safetensors" in port.list_files("animatediff_models")
    assert (
        port.resolve("animatediff_models", "frameloom_demo_motion.safetensors").name == "motion.safetensors"
    )
    with pytest.raises(ValueError, match=r"'\.\./secret\.safetensors'"):
        port.resolve("animatediff_models", "../secret.safetensors")
    with pytest.raises(ValueError, match="'no_such_kind'"):
        port.list_files("no_such_kind")


def test_output_paths_stay_in_the_output_folder(port, tmp_path):
    folder = folder_paths.get_output_directory()
    folder_paths.set_output_directory(str(tmp_path))
    try:
        path = port.output_path("frameloom/clip", "mp4")
        assert path.parent == tmp_path / "frameloom"
        assert path.parent.is_dir()
        assert not path.exists()
        path.touch()
        assert port.output_path("frameloom/clip", "mp4") != path
        with pytest.raises(ValueError, match=r"'\.\./escape' leads out"):
            port.output_path("../escape", "mp4")
    finally:
        folder_paths.set_output_directory(folder)


def test_training_goes_through_the_unet_and_its_edits(port, demo, motion, scene):
    forward = port.train_forward(scene.moving(demo[0], motion), 4)
    plain = port.train_forward(demo[0], 4)
    with torch.inference_mode(False):
        generator = torch.Generator().manual_seed(2)
        noisy = torch.randn(4, 4, 16, 16, generator=generator, requires_grad=True)
        tokens = torch.randn(4, 77, 64, generator=generator)
        out = forward(noisy, torch.full((4,), 300), tokens)
        (gradient,) = torch.autograd.grad(out[0].sum(), noisy)
        (alone,) = torch.autograd.grad(plain(noisy, torch.full((4,), 300), tokens)[0].sum(), noisy)
    assert gradient[3].abs().max() > 0, "frames do not mix"
    assert alone[3].abs().max() == 0


def test_import_of_the_pack_is_quick_and_registers_nothing(port):
    """A fresh process: ComfyUI and torch are there already, as at a host's start."""
    script = """
import os, sys, time
tree = os.environ["FRAMELOOM_INSIDE"]
sys.path.insert(0, tree)
sys.argv = ["main.py", "--cpu", "--disable-api-nodes"]
import comfy.options
comfy.options.enable_args_parsing()
import utils.extra_config, nodes, folder_paths
from importlib.util import module_from_spec, spec_from_file_location
root = os.environ["FRAMELOOM_ROOT"]
before = set(folder_paths.folder_names_and_paths), set(nodes.NODE_CLASS_MAPPINGS)
loaded = set(sys.modules)
spec = spec_from_file_location("/x/frameloom-pack", root + "/__init__.py", submodule_search_locations=[root])
module = module_from_spec(spec)
sys.modules["/x/frameloom-pack"] = module
spec.loader.exec_module(module)
assert (set(folder_paths.folder_names_and_paths), set(nodes.NODE_CLASS_MAPPINGS)) == before
print(sorted(set(sys.modules) - loaded))
"""
    import os
    from pathlib import Path

    environment = {**os.environ, "FRAMELOOM_ROOT": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "['/x/frameloom-pack']"
