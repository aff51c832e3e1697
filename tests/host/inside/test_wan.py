"""The files of the demo's video model, opened by ComfyUI's own loaders and sampled by its own nodes."""

from __future__ import annotations

import os
from pathlib import Path

import comfy.sample
import comfy.samplers
import comfy.sd
import comfy.utils
import pytest
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingSD3
from comfy_extras.nodes_wan import WanFirstLastFrameToVideo
from safetensors.torch import load_file

CLOSE = 1e-4


@pytest.fixture(scope="module")
def reference():
    found = load_file(os.environ["FRAMELOOM_REFERENCE"])
    return {key.removeprefix("wan."): value for key, value in found.items() if key.startswith("wan.")}


@pytest.fixture(scope="module")
def folder():
    return Path(os.environ["FRAMELOOM_REFERENCE"]).parent


@pytest.fixture(scope="module")
def vae(folder):
    return comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(folder / "frameloom_demo_wan_vae.safetensors")))


@pytest.fixture(scope="module")
def model(folder):
    return comfy.sd.load_diffusion_model(str(folder / "frameloom_demo_wan.safetensors"))


def sample(model, reference, positive, negative):
    """Return the latents of core's sampler for the reference's noise and noise levels, of mean 0 and deviation 1."""
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(3.0)
    start = torch.zeros_like(reference["noise"])
    sampler = comfy.samplers.sampler_object("euler")
    found = guider.sample(reference["noise"], start, sampler, reference["sigmas"], seed=0, disable_pbar=True)
    return model.model.process_latent_in(found)


def prompts(reference):
    return [[reference["text"][None], {}]], [[reference["empty"][None], {}]]


def test_the_autoencoder_is_diffusers(vae, reference):
    images = (reference["clip"][0].movedim(0, -1) + 1) / 2
    assert (vae.encode(images) - reference["latents"]).abs().max() < CLOSE
    decoded = reference["decoded"][0].movedim(0, -1) / 2 + 0.5
    assert (vae.decode(reference["latents"])[0] - decoded).abs().max() < CLOSE


def test_a_clip_of_a_prompt_is_diffusers(model, reference):
    found = sample(model, reference, *prompts(reference))
    assert (found - reference["free"]).abs().max() < CLOSE


def test_given_ends_are_what_the_recipe_trains(model, vae, reference):
    images = (reference["clip"][0].movedim(0, -1) + 1) / 2
    positive, negative, latent = WanFirstLastFrameToVideo.execute(
        *prompts(reference), vae, 64, 64, len(images), 1, start_image=images[:1], end_image=images[-1:]
    ).args
    assert latent["samples"].shape == reference["noise"].shape
    found = sample(model, reference, positive, negative)
    assert (found - reference["kept"]).abs().max() < CLOSE
    assert (found - reference["free"]).abs().max() > 100 * CLOSE


def test_cores_shift_reaches_the_levels_of_the_recipe(model, reference):
    (shifted,) = ModelSamplingSD3().patch(model, 5.0)
    levels = comfy.samplers.calculate_sigmas(shifted.get_model_object("model_sampling"), "simple", 3)
    assert (levels - reference["sigmas"]).abs().max() < 2e-3
