"""Small workflows for both hosts, in API form. ``demo`` is (MODEL, CLIP, VAE), ``given`` is (LATENT, IMAGE)."""

from __future__ import annotations

SAMPLERS = (
    ("euler", "normal"),
    ("euler", "karras"),
    ("euler_ancestral", "normal"),
    ("dpmpp_2m", "normal"),
    ("dpmpp_2m_sde", "beta"),
)
LONG = "a (big:1.4) red circle, moving right on a navy background, " * 8


def workflow(prompt="a big (red:1.3) circle, on navy", negative="", latent=("given", 0), **sampler):
    """Two prompts and a KSampler, with any of its inputs replaced."""
    settings = {
        "model": ["demo", 0],
        "seed": 3,
        "steps": 6,
        "cfg": 4.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "positive": ["positive", 0],
        "negative": ["negative", 0],
        "latent_image": list(latent),
        "denoise": 1.0,
    }
    return {
        "positive": {"class_type": "CLIPTextEncode", "inputs": {"text": prompt, "clip": ["demo", 1]}},
        "negative": {"class_type": "CLIPTextEncode", "inputs": {"text": negative, "clip": ["demo", 1]}},
        "out": {"class_type": "KSampler", "inputs": settings | sampler},
    }


def advanced(**settings):
    """A part of the steps of a run, by KSamplerAdvanced."""
    steps = workflow()
    inputs = steps["out"]["inputs"]
    shared = {name: inputs[name] for name in inputs if name not in ("seed", "denoise")}
    own = {"add_noise": "enable", "noise_seed": 9, "start_at_step": 1, "end_at_step": 4}
    own |= {"return_with_leftover_noise": "enable"}
    steps["out"] = {"class_type": "KSamplerAdvanced", "inputs": shared | own | settings}
    return steps


def custom(part, sampler="euler_ancestral", cut=3, noise=None):
    """Sampling put together from its nodes: a part of the levels, by a sampler, from some noise."""
    steps = workflow()
    link = {name: [name, 0] for name in ("noise", "guider", "sampler")}
    steps |= {
        "out": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": link | {"sigmas": ["cut", part], "latent_image": ["given", 0]},
        },
        "noise": noise or {"class_type": "RandomNoise", "inputs": {"noise_seed": 11}},
        "sampler": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": sampler}},
        "all": {
            "class_type": "BasicScheduler",
            "inputs": {"model": ["demo", 0], "scheduler": "karras", "steps": 6, "denoise": 0.8},
        },
        "cut": {"class_type": "SplitSigmas", "inputs": {"sigmas": ["all", 0], "step": cut}},
        "guider": {
            "class_type": "CFGGuider",
            "inputs": {
                "model": ["demo", 0],
                "positive": ["positive", 0],
                "negative": ["negative", 0],
                "cfg": 3.0,
            },
        },
    }
    return steps


def laid_out(kind, prompt=None, **inputs):
    """The positive prompt with a layout, and what acts by it on the model."""
    steps = workflow(prompt) if prompt else workflow()
    bare = {"class_type": "CLIPTextEncode", "inputs": {"text": "on navy", "clip": ["demo", 1]}}
    steps |= {"bare": bare}
    links = {"model": ["demo", 0], "conditioning": ["positive", 0], "bare": ["bare", 0]}
    steps["layout"] = {"class_type": kind, "inputs": links | inputs}
    steps["out"]["inputs"] |= {"model": ["layout", 0], "positive": ["layout", 1]}
    return steps


def _edited(kind, graph, motion="motion", **inputs):
    """With a motion module and a technique of ours behind it."""
    steps = graph()
    steps["moving"] = {"class_type": "animate", "inputs": {"model": ["demo", 0], "motion": [motion, 0]}}
    steps["free"] = {"class_type": kind, "inputs": {"model": ["moving", 0], **inputs}}
    for name in ("out", "guider"):
        if "model" in steps.get(name, {}).get("inputs", {}):
            steps[name]["inputs"]["model"] = ["free", 0]
    return steps


def _free(graph=workflow, **parts):
    """FreeNoise in windows of two of the three frames."""
    return _edited("free_noise", graph, length=2, stride=1, **parts)


def _init(graph=workflow, iterations=2, **settings):
    """FreeInit, whose frames are odd in number."""
    return _edited("free_init", graph, iterations=iterations, **settings)


def cases() -> dict[str, dict]:
    """Return every case: prediction type, and a workflow whose node ``out`` is compared."""
    found = {}
    for prediction in ("eps", "v"):
        for sampler, scheduler in SAMPLERS:
            found[f"{prediction}-{sampler}-{scheduler}"] = {
                "prediction": prediction,
                "workflow": workflow(sampler_name=sampler, scheduler=scheduler),
            }
        for sampler in ("euler", "ddim"):
            found[f"{prediction}-{sampler}-masked"] = {
                "prediction": prediction,
                "masked": True,
                "workflow": workflow(sampler_name=sampler, denoise=0.6),
            }
    lora = workflow(model=["lora", 0])
    lora["lora"] = {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"model": ["demo", 0], "lora_name": "small.safetensors", "strength_model": 0.7},
    }
    decode = {"class_type": "VAEDecode", "inputs": {"samples": ["given", 0], "vae": ["demo", 2]}}
    encode = {"class_type": "VAEEncode", "inputs": {"pixels": ["given", 1], "vae": ["demo", 2]}}
    text = {"class_type": "CLIPTextEncode", "inputs": {"text": LONG, "clip": ["demo", 1]}}
    others = {
        "cfg-1": workflow(cfg=1.0),
        "image-to-image": workflow(denoise=0.5, sampler_name="dpmpp_2m"),
        "long-prompt": workflow(prompt=LONG),
        "escapes": workflow(prompt="a \\(red\\) ((circle)) (moving:0.4) (up", negative="blue"),
        "text-only": {"out": text},
        "advanced": advanced(),
        "advanced-rest": advanced(add_noise="disable", start_at_step=4, end_at_step=10000),
        "advanced-forced": advanced(return_with_leftover_noise="disable"),
        "custom-high": custom(0),
        "custom-low": custom(1),
        "lora": lora,
        "decode": {"out": decode},
        "encode": {"out": encode},
        "layout-bias": laid_out("lay_out", gather_percent=None),
        "layout-gather": laid_out("lay_out", gather_percent=0.6),
        "layout-long": laid_out("lay_out", prompt=LONG, gather_percent=1.0),
        "layout-energy": laid_out("guide"),
        "layout-energy-long": laid_out("guide", prompt=LONG),
        "free-none": _free(noise=False, fusion=False),
        "free-noise": _free(fusion=False),
        "free-fusion": _free(noise=False),
        "free-both": _free(),
        "free-custom": _free(lambda: custom(0)),
        "init-none": _init(iterations=0),
        "init-one": _init(iterations=1),
        "init-two": _init(),
        "init-coarse": _init(coarse_to_fine=True),
        "init-gaussian": _init(filter="gaussian"),
        "init-from-a-clip": _init(lambda: workflow(denoise=0.6, sampler_name="euler_ancestral")),
    }
    found |= {name: {"prediction": "v", "workflow": steps} for name, steps in others.items()}
    # ``told`` is the motion module with a mask encoder.
    for name, motion, iterations in (("none", "motion", 0), ("some", "told", 0), ("twice", "told", 1)):
        steps = _init(motion=motion, iterations=iterations)
        found[f"told-{name}"] = {"prediction": "v", "masked": True, "workflow": steps}
    found["batch-index"] = {"prediction": "v", "batch_index": [4, 1, 4], "workflow": workflow()}
    return found
