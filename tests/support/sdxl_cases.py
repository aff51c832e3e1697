"""Small workflows on a narrow SDXL, for both hosts; neither is imported here.

``sdxl`` and ``sdxl_v`` are (MODEL, CLIP, VAE), of noise prediction and of velocities down to no signal;
``moves_animatediff_sdxl`` and ``moves_hotshotxl_sdxl`` are motion modules; the rest is ``sampling_cases``'s.
"""

from __future__ import annotations

from dataclasses import replace

from frameloom.models.network.sizes import SDXL, TextSize, VAESize
from frameloom.models.network.unet import UNetSize
from frameloom.tests.support.sampling_cases import LONG, step, text, workflow

# Encoders of as many layers, or as wide, would let tokens of one pass for the other's.
NARROW_SDXL = replace(
    SDXL,
    unet=UNetSize(32, (1, 2, 4), context_dim=192, num_heads=(1, 1, 2), depths=(0, 2, 3), middle_depth=3),
    vae=VAESize(ch=32, ch_mult=(1, 2, 4, 4), num_res_blocks=2),
    text=TextSize(vocabulary=704, hidden_size=64, layers=3, heads=1),
    text_g=TextSize(vocabulary=704, hidden_size=128, layers=4, heads=2, is_open_clip=True),
)
SIZES = {
    "width": 96,
    "height": 64,
    "crop_w": 8,
    "crop_h": 24,
    "target_width": 160,
    "target_height": 72,
}


def with_vocabulary(size, vocabulary):
    """The same sizes with text encoders of another vocabulary."""
    return replace(
        size,
        text=replace(size.text, vocabulary=vocabulary),
        text_g=replace(size.text_g, vocabulary=vocabulary),
    )


def on_sdxl(model="sdxl", prompt="a big (red:1.3) circle, on navy", negative="", layer=None, **sampler):
    """``workflow`` on an SDXL, of three frames that are wider than they are high, from a layer of its encoders."""
    steps = workflow(prompt, negative, latent=("empty", 0), model=[model, 0], **sampler)
    steps["empty"] = step("EmptyLatentImage", width=128, height=64, batch_size=3)
    clip = model
    if layer is not None:
        clip, steps["layer"] = "layer", step("CLIPSetLastLayer", clip=[model, 1], stop_at_clip_layer=layer)
    for name, words in (("positive", prompt), ("negative", negative)):
        steps[name] = text(words, clip)
        if layer is not None:
            steps[name]["inputs"]["clip"] = ["layer", 0]
    return steps


def encoded(text_g, text_l, **sizes):
    """With the prompt by CLIPTextEncodeSDXL."""
    steps = on_sdxl()
    prompt = step("CLIPTextEncodeSDXL", clip=["sdxl", 1], text_g=text_g, text_l=text_l, **(SIZES | sizes))
    return steps | {"positive": prompt}


def custom(add_noise=True):
    """By SamplerCustom."""
    steps = on_sdxl()
    links = {name: steps["out"]["inputs"][name] for name in ("model", "positive", "negative")}
    parts = {name: [name, 0] for name in ("sampler", "sigmas")}
    return steps | {
        "sampler": step("KSamplerSelect", sampler_name="euler_ancestral"),
        "sigmas": step("BasicScheduler", model=["sdxl", 0], scheduler="karras", steps=6, denoise=1.0),
        "out": step(
            "SamplerCustom", **links, **parts, add_noise=add_noise, noise_seed=5, cfg=3.0, latent_image=["empty", 0]
        ),
    }  # fmt: skip


def moving(motion, kind=None, **inputs):
    """With a motion module, and a technique of ours behind it."""
    steps = on_sdxl()
    steps["moving"] = step("animate", model=["sdxl", 0], motion=[motion, 0])
    steps["out"]["inputs"]["model"] = ["moving", 0]
    if kind is not None:
        steps["more"] = step(kind, model=["moving", 0], **inputs)
        steps["out"]["inputs"]["model"] = ["more", 0]
    return steps


def with_lora():
    """With a LoRA on the UNet."""
    steps = on_sdxl()
    lora = {"lora_name": "sdxl.safetensors", "strength_model": 0.7}
    steps["lora"] = step("LoraLoaderModelOnly", model=["sdxl", 0], **lora)
    steps["out"]["inputs"]["model"] = ["lora", 0]
    return steps


def edited(kind, **inputs):
    """With a technique of ours."""
    steps = on_sdxl()
    steps["edited"] = step(kind, model=["sdxl", 0], **inputs)
    steps["out"]["inputs"]["model"] = ["edited", 0]
    return steps


def laid_out(kind, **inputs):
    """The positive prompt with a layout, and what acts by it on the model."""
    steps = edited(kind, conditioning=["positive", 0], bare=["bare", 0], **inputs)
    steps["bare"] = text("on navy", "sdxl")
    steps["out"]["inputs"]["positive"] = ["edited", 1]
    return steps


def text_alone(prompt, layer=None):
    steps = on_sdxl(prompt=prompt, layer=layer)
    return {name: steps[name] for name in steps if name == "layer"} | {"out": steps["positive"]}


def sdxl_cases() -> dict[str, dict]:
    """Return every case: prediction type of the demo, which none asks, and a workflow."""
    found = {
        "plain": on_sdxl(),
        "karras": on_sdxl(sampler_name="dpmpp_2m_sde", scheduler="karras"),
        "long": on_sdxl(prompt=LONG),
        "last-layer": on_sdxl(layer=-1),
        "usual-layer": on_sdxl(layer=-2),
        "past-one": on_sdxl(layer=-4),
        "past-both": on_sdxl(layer=-5),
        "two-prompts": encoded("a big (red:1.3) circle", "on navy"),
        "two-lengths": encoded("a big (red:1.3) circle", LONG),
        "sizes": encoded("a big (red:1.3) circle", "on navy", width=512, crop_w=64),
        "lora": with_lora(),
        "custom": custom(),
        "custom-without-noise": custom(add_noise=False),
        "velocities": on_sdxl("sdxl_v"),
        "velocities-simple": on_sdxl("sdxl_v", scheduler="simple", sampler_name="dpmpp_2m"),
        "text": text_alone(LONG),
        "text-of-a-layer": text_alone("a (big:0.7) circle", layer=-3),
        "decode": {"out": step("VAEDecode", samples=["given", 0], vae=["sdxl", 2])},
        "encode": {"out": step("VAEEncode", pixels=["given", 1], vae=["sdxl", 2])},
        "animatediff": moving("moves_animatediff_sdxl"),
        "hotshot": moving("moves_hotshotxl_sdxl"),
        "free-noise": moving("moves_animatediff_sdxl", "free_noise", length=2, stride=1),
        "crossed": edited("cross_frames", anchor="first", levels="12"),
        "free-init": edited("free_init", iterations=1),
        "layout-bias": laid_out("lay_out", gather_percent=None),
        "layout-gather": laid_out("lay_out", gather_percent=0.6),
        "layout-energy": laid_out("guide"),
        "windows": moving("moves_animatediff_sdxl", "in_windows", length=2, overlap=1),
    }
    return {f"sdxl-{name}": {"prediction": "v", "workflow": steps} for name, steps in found.items()}
