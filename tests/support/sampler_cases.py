"""Every sampler and scheduler on the demo model with its motion module, for both hosts, and what is odd about some.

``trained`` is (MODEL, CLIP, VAE) of the pack's demo model, ``moves`` its motion module; the rest is
``sampling_cases``'s.
"""

from __future__ import annotations

from frameloom.tests.support.sampling_cases import advanced, custom, step, workflow
from frameloom.tests.support.window_cases import windowed

STEPS, FRAMES, SIDE = 6, 4, 64


def on_the_demo(**settings):
    """A clip from text with cfg 4; any input of KSampler replaced."""
    links = {"model": ["moving", 0], "steps": STEPS}
    steps = workflow(prompt="a red circle moving right", latent=("empty", 0), **{**links, **settings})
    for side in ("positive", "negative"):
        steps[side]["inputs"]["clip"] = ["trained", 1]
    moving = step("animate", model=["trained", 0], motion=["moves", 0])
    empty = step("EmptyLatentImage", width=SIDE, height=SIDE, batch_size=FRAMES)
    return steps | {"empty": empty, "moving": moving}


def named_cases(samplers, schedulers) -> dict[str, dict]:
    """Return a case for each sampler with ``normal``, and for each scheduler with ``euler``."""
    found = {f"sampler-{name}": on_the_demo(sampler_name=name) for name in samplers}
    found |= {f"scheduler-{name}": on_the_demo(scheduler=name) for name in schedulers}
    return {name: {"prediction": "v", "workflow": steps} for name, steps in found.items()}


def masked(count, steps):
    """The same with noise masks, so many for its three frames."""
    steps["out"]["inputs"]["latent_image"] = ["kept", 0]
    return steps | {"kept": step("SetLatentNoiseMask", samples=["given", 0], mask=[f"masks-{count}", 0])}


def odd_cases() -> dict[str, dict]:
    """Return runs of a part of the steps, in windows that move, of few steps or many, under few masks or many."""
    moving = {"schedule": "looped", "overlap": 0, "weights": "overlap-linear"}
    part = {"start_at_step": 2, "end_at_step": 5}
    found = {
        "sde-part": advanced(sampler_name="dpmpp_2m_sde", **part),
        "uni-pc-part": advanced(sampler_name="uni_pc", **part),
        "dpm-2-to-the-end": advanced(sampler_name="dpm_2", start_at_step=3, end_at_step=10000),
        "nothing-left": advanced(start_at_step=6, end_at_step=10000),
        "backwards": advanced(start_at_step=4, end_at_step=2),
        "more-steps-than-levels": advanced(
            steps=1100, scheduler="ddim_uniform", start_at_step=996, end_at_step=10000
        ),
        "denoise-0": workflow(denoise=0.0),
        "sde-1": workflow(sampler_name="dpmpp_sde", steps=1),
        "sde-large-seed": workflow(sampler_name="dpmpp_3m_sde", seed=2**63 + 1, steps=4, denoise=0.7),
        "custom-sde": custom(1, sampler="dpmpp_sde"),
        "custom-noise-alone": custom(0, cut=0),
        "custom-no-noise": custom(1, noise=step("DisableNoise")),
        "moving-heun": windowed(workflow(sampler_name="heun", steps=4), **moving),
        "moving-sde": windowed(workflow(sampler_name="dpmpp_sde", steps=4), **moving),
        "masks-1": masked(1, workflow(denoise=0.6, sampler_name="heun", steps=4)),
        "masks-2": masked(2, workflow(denoise=0.6, sampler_name="dpmpp_2m_sde")),
        "masks-5": masked(5, workflow(denoise=0.6, sampler_name="uni_pc")),
    }
    return {f"odd-{name}": {"prediction": "v", "workflow": steps} for name, steps in found.items()}
