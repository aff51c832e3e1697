"""Text2Video-Zero with a ControlNet, against diffusers' pipeline with its cross-frame processor in both networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from diffusers.pipelines.deprecated.text_to_video_synthesis.pipeline_text_to_video_zero import (
    CrossFrameAttnProcessor2_0,
)
from frameloom.headless.engine.control import Control
from frameloom.headless.port import HeadlessHost
from frameloom.headless.weights.control_loading import load_controlnet
from frameloom.headless.weights.networks import build_unet
from frameloom.models.edits.edit import Edit
from frameloom.models.network.sizes import DEMO
from frameloom.models.zero_shot.cross_frame import CrossFrameEdit
from frameloom.tests.support.random_demo import CPU, write_control
from frameloom.tests.support.tensors import apart, draw
from frameloom.tests.support.text2video_zero import build_pipeline

FRAMES, STEPS, CFG, STRENGTH = 4, 5, 5.0, 0.8
NOISE = draw(1, 4, 8, 8, seed=1).repeat(FRAMES, 1, 1, 1)  # one noise for all frames
HINTS = torch.rand(FRAMES, 3, 64, 64, generator=torch.Generator().manual_seed(2))
PROMPTS = [draw(1, 77, DEMO.unet.context_dim, seed=seed) for seed in (3, 4)]


@pytest.fixture(scope="module")
def networks(random_parts, tmp_path_factory):
    model = random_parts[0]
    model = replace(model, base_sampling=replace(model.base_sampling, prediction="eps"))
    return model, load_controlnet(write_control(tmp_path_factory.mktemp("crossed") / "net.safetensors"), CPU)


def of_diffusers(model, net, crossed):
    """Latents from diffusers' own classes with the same weights; ``crossed``: networks that read the first frame."""
    unet, control = build_unet(DEMO.unet), ControlNetModel.from_config(net.config)
    unet.load_state_dict(model.unet.state_dict())
    control.load_state_dict(net.state_dict())
    for network in (part for part in (unet, control) if type(part).__name__ in crossed):
        network.set_attn_processor(CrossFrameAttnProcessor2_0(batch_size=2))
    pipeline = build_pipeline(StableDiffusionControlNetPipeline, unet, controlnet=control)
    positive, negative = (prompt.expand(FRAMES, -1, -1) for prompt in PROMPTS)
    return pipeline(
        image=HINTS,
        prompt_embeds=positive,
        negative_prompt_embeds=negative,
        latents=NOISE,
        num_inference_steps=STEPS,
        guidance_scale=CFG,
        controlnet_conditioning_scale=STRENGTH,
        output_type="latent",
    ).images


def of_ours(model, net, **edit):
    port = HeadlessHost("cpu", "in", "out", "models")
    sigmas = port.sigmas(model, STEPS, "ddim_uniform")
    crossed = port.install(model, Edit("test", self_attention=CrossFrameEdit(**edit)))
    control = Control(net, HINTS, STRENGTH)
    sides = [[[prompt, {"control": control}]] for prompt in PROMPTS]
    # diffusers takes the noise for the latents of its first level, signal and all.
    noise = NOISE * (1 + sigmas[0] ** 2) ** 0.5 / sigmas[0]
    latent = {"samples": torch.zeros_like(NOISE)}
    return (
        port.sample(crossed, *sides, latent, noise=noise, sigmas=sigmas, sampler="ddim", cfg=CFG)["samples"]
        * model.latent_scale
    )


@pytest.fixture(scope="module")
def ours(networks):
    """Latents with both networks crossed, with the UNet alone, and with none."""
    edits = {"both": {}, "UNet": {"in_control": False}, "none": {"strength": 0.0}}
    return {name: of_ours(*networks, **edit) for name, edit in edits.items()}


@pytest.mark.parametrize("crossed", ["both", "UNet"])
def test_the_trajectory_is_diffusers(networks, ours, crossed):
    names = {"UNet2DConditionModel"} | ({"ControlNetModel"} if crossed == "both" else set())
    with torch.no_grad():
        theirs = of_diffusers(*networks, names)
    assert apart(ours[crossed], theirs) <= 1e-4


def test_the_comparison_tells_the_networks_apart(ours):
    for one, other, least in (("both", "UNet", 1e-3), ("UNet", "none", 1e-2)):
        assert apart(ours[other], ours[one]) > least
