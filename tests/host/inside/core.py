"""Nodes of core's own, and of core's own context windows, that tests put beside ours."""

from __future__ import annotations

import comfy.context_windows
from comfy_extras import nodes_custom_sampler, nodes_pag

import nodes


def call(node, *args, **inputs):
    """Run a node of either kind; returns its first output."""
    run = node.execute if hasattr(node, "execute") else getattr(node(), node.FUNCTION)
    return run(*args, **inputs)[0]


def in_cores_windows(model, length=4, overlap=2):
    """A clone with core's context windows, which the node for them would give it."""
    clone = model.clone()
    clone.model_options["context_handler"] = comfy.context_windows.IndexListContextHandler(
        context_schedule=comfy.context_windows.get_matching_context_schedule("standard_static"),
        fuse_method=comfy.context_windows.get_matching_fuse_method("pyramid"),
        context_length=length,
        context_overlap=overlap,
    )
    comfy.context_windows.create_prepare_sampling_wrapper(clone)
    return clone


def with_perturbed_attention(model):
    return call(nodes_pag.PerturbedAttentionGuidance, model, 2.0)


def with_area(conditioning):
    """The same for the left half of the pictures of a Scene."""
    return call(nodes.ConditioningSetArea, conditioning, 32, 64, 0, 0, 1.0)


def sample_plain(model, scene, latent, seed=3):
    inputs = {"steps": 3, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    sides = {"positive": scene.positive, "negative": scene.negative}
    return call(nodes.KSampler, model=model, seed=seed, latent_image=latent, **sides, **inputs)["samples"]


def sample_custom(model, scene, latent, seed=3):
    """The same put together of nodes; returns the latents, and the last step's clean ones."""

    def custom(name, **inputs):
        return getattr(nodes_custom_sampler, name).execute(**inputs).args

    (guider,) = custom("CFGGuider", model=model, positive=scene.positive, negative=scene.negative, cfg=3.0)
    (sigmas,) = custom("BasicScheduler", model=model, scheduler="normal", steps=3, denoise=1.0)
    (sampler,) = custom("KSamplerSelect", sampler_name="euler")
    (noise,) = custom("RandomNoise", noise_seed=seed)
    drawn = custom(
        "SamplerCustomAdvanced",
        noise=noise,
        guider=guider,
        sampler=sampler,
        sigmas=sigmas,
        latent_image=latent,
    )
    return [each["samples"] for each in drawn]
