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


def step(kind, **inputs):
    """A node of a workflow."""
    return {"class_type": kind, "inputs": inputs}


def text(words, clip="demo"):
    return step("CLIPTextEncode", text=words, clip=[clip, 1])


def workflow(prompt="a big (red:1.3) circle, on navy", negative="", latent=("given", 0), **sampler):
    """Two prompts and a KSampler, with any of its inputs replaced."""
    settings = {
        "seed": 3,
        "steps": 6,
        "cfg": 4.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
    }
    links = {"model": ["demo", 0], "positive": ["positive", 0], "negative": ["negative", 0]}
    out = step("KSampler", **links, latent_image=list(latent), **settings)
    out["inputs"] |= sampler
    return {"positive": text(prompt), "negative": text(negative), "out": out}


def advanced(**settings):
    """A part of the steps of a run, by KSamplerAdvanced."""
    steps = workflow()
    inputs = steps["out"]["inputs"]
    shared = {name: inputs[name] for name in inputs if name not in ("seed", "denoise")}
    own = {"add_noise": "enable", "noise_seed": 9, "start_at_step": 1, "end_at_step": 4}
    own |= {"return_with_leftover_noise": "enable"}
    return steps | {"out": step("KSamplerAdvanced", **(shared | own | settings))}


def custom(part, sampler="euler_ancestral", cut=3, noise=None):
    """Sampling put together from its nodes: a part of the levels, by a sampler, from some noise."""
    steps = workflow()
    links = {name: [name, 0] for name in ("noise", "guider", "sampler")}
    sides = {name: [name, 0] for name in ("positive", "negative")}
    return steps | {
        "out": step("SamplerCustomAdvanced", **links, sigmas=["cut", part], latent_image=["given", 0]),
        "noise": noise or step("RandomNoise", noise_seed=11),
        "sampler": step("KSamplerSelect", sampler_name=sampler),
        "all": step("BasicScheduler", model=["demo", 0], scheduler="karras", steps=6, denoise=0.8),
        "cut": step("SplitSigmas", sigmas=["all", 0], step=cut),
        "guider": step("CFGGuider", model=["demo", 0], **sides, cfg=3.0),
    }


def laid_out(kind, prompt=None, **inputs):
    """The positive prompt with a layout, and what acts by it on the model."""
    steps = workflow(prompt) if prompt else workflow()
    steps["bare"] = text("on navy")
    links = {"model": ["demo", 0], "conditioning": ["positive", 0], "bare": ["bare", 0]}
    steps["layout"] = step(kind, **links, **inputs)
    steps["out"]["inputs"] |= {"model": ["layout", 0], "positive": ["layout", 1]}
    return steps


def _edited(kind, graph, motion="motion", **inputs):
    """With a motion module and a technique of ours behind it."""
    steps = graph()
    steps["moving"] = step("animate", model=["demo", 0], motion=[motion, 0])
    steps["free"] = step(kind, model=["moving", 0], **inputs)
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
    lora["lora"] = step(
        "LoraLoaderModelOnly", model=["demo", 0], lora_name="small.safetensors", strength_model=0.7
    )
    others = {
        "cfg-1": workflow(cfg=1.0),
        "image-to-image": workflow(denoise=0.5, sampler_name="dpmpp_2m"),
        "long-prompt": workflow(prompt=LONG),
        "escapes": workflow(prompt="a \\(red\\) ((circle)) (moving:0.4) (up", negative="blue"),
        "text-only": {"out": text(LONG)},
        "advanced": advanced(),
        "advanced-rest": advanced(add_noise="disable", start_at_step=4, end_at_step=10000),
        "advanced-forced": advanced(return_with_leftover_noise="disable"),
        "custom-high": custom(0),
        "custom-low": custom(1),
        "lora": lora,
        "decode": {"out": step("VAEDecode", samples=["given", 0], vae=["demo", 2])},
        "encode": {"out": step("VAEEncode", pixels=["given", 1], vae=["demo", 2])},
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
