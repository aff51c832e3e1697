"""Small workflows with ControlNets, conditions for a part of the run, and an instruct-pix2pix model; for both hosts.

``net``, ``other`` and ``pooled`` are ControlNets, ``edit`` is a MODEL with 8 input channels, ``hints-N`` are N
pictures; the rest is ``sampling_cases``'s.
"""

from __future__ import annotations

from frameloom.tests.support.sampling_cases import LONG, step, text, workflow


def apply(positive, negative, net, hints, strength, start, end):
    return step(
        "ControlNetApplyAdvanced", positive=positive, negative=negative, control_net=[net, 0], image=[hints, 0],
        strength=strength, start_percent=start, end_percent=end,
    )  # fmt: skip


def controlled(*applied, on=("positive", "negative"), **settings):
    """Both prompts through ControlNets in a row, each (net, hints, strength, start, end); ``on``: those used."""
    steps = workflow(**{"steps": 5, **settings})
    links = [["positive", 0], ["negative", 0]]
    for index, (net, hints, strength, start, end) in enumerate(applied):
        steps[f"apply{index}"] = apply(*links, net, hints, strength, start, end)
        links = [[f"apply{index}", side] for side in (0, 1)]
    last = f"apply{len(applied) - 1}"
    steps["out"]["inputs"] |= {name: [last, ("positive", "negative").index(name)] for name in on}
    return steps


def ranged(positive, negative, **settings):
    """Conditions that count in parts of the run: two for the positive prompt, one for the negative."""
    steps = workflow(**{"steps": 5, **settings})
    steps["more"] = text("a blue square")
    for name, (source, (start, end)) in {
        "first": ("positive", positive[0]),
        "second": ("more", positive[1]),
        "never": ("negative", negative),
    }.items():
        options = {"start_percent": start, "end_percent": end}
        steps[name] = step("set_options", conditioning=[source, 0], options=options)
    steps["both"] = step("join", one=["first", 0], other=["second", 0])
    steps["out"]["inputs"] |= {"positive": ["both", 0], "negative": ["never", 0]}
    return steps


def edited(style="regular", cfg_conds=5.0, cfg_cond2_negative=1.5, control=False):
    """Instruct-pix2pix by three prompts: with picture and text, with the picture alone, with neither."""
    steps = workflow()
    links = {name: [name, 0] for name in ("noise", "guider", "sampler", "sigmas")}
    sides = {name: [name, 0] for name in ("positive", "negative")}
    guidance = {"cfg_conds": cfg_conds, "cfg_cond2_negative": cfg_cond2_negative, "style": style}
    first = ["apply", 0] if control else ["edited", 0]
    return steps | {
        "edited": step("InstructPixToPixConditioning", **sides, vae=["demo", 2], pixels=["given", 1]),
        "apply": apply(["edited", 0], ["edited", 1], "net", "hints-3", 0.8, 0.0, 1.0),
        "noise": step("RandomNoise", noise_seed=11),
        "sampler": step("KSamplerSelect", sampler_name="euler"),
        "sigmas": step("BasicScheduler", model=["edit", 0], scheduler="karras", steps=5, denoise=1.0),
        "guider": step(
            "DualCFGGuider", model=["edit", 0], cond1=first, cond2=["edited", 1], negative=["negative", 0], **guidance
        ),
        "out": step("SamplerCustomAdvanced", **links, latent_image=["given", 0]),
    }  # fmt: skip


def plain_edit():
    """Instruct-pix2pix by plain guidance."""
    steps = edited()
    sides = {"positive": ["edited", 0], "negative": ["edited", 1]}
    steps["guider"] = step("CFGGuider", model=["edit", 0], **sides, cfg=3.0)
    return steps


def crossed(steps, anchor="first", **options):
    """The same with cross-frame attention, on whatever the model is."""
    sampled = steps["guider" if "guider" in steps else "out"]["inputs"]
    inputs = {"model": sampled["model"], "anchor": anchor, "levels": "0123", **options}
    sampled["model"] = ["crossed", 0]
    return steps | {"crossed": step("cross_frames", **inputs)}


def guided(steps):
    """The same guided by an energy, on whatever the model is."""
    sampled = steps["guider" if "guider" in steps else "out"]["inputs"]
    side = "cond1" if "cond1" in sampled else "positive"
    guided = step("guide", model=sampled["model"], conditioning=sampled[side], bare=["negative", 0])
    sampled |= {"model": ["guided", 0], side: ["guided", 1]}
    return steps | {"guided": guided}


def crossed_cases():
    """Cross-frame attention in the UNet and its ControlNets, by name."""
    whole = (0.0, 1.0)
    one = ("net", "hints-3", 1.0, *whole)
    return {
        "everywhere": crossed(controlled(one)),
        "unet-alone": crossed(controlled(one), in_control=False),
        "half": crossed(controlled(one), strength=0.5),
        "both": crossed(controlled(one), "first + previous"),
        "second-frame": crossed(controlled(one), "chosen frame", frame=1),
        "coarse-levels": crossed(controlled(one), levels="23"),
        "one-side": crossed(controlled(one, on=("positive",))),
        "long-prompt": crossed(controlled(one, prompt=LONG)),
        "chain": crossed(controlled(("net", "hints-3", 0.6, *whole), ("other", "hints-1", 1.2, *whole))),
        "chain-of-one-net": crossed(
            controlled(("net", "hints-3", 0.6, *whole), ("net", "hints-1", 0.6, *whole)), strength=0.5
        ),
        "no-control": crossed(workflow(steps=5)),
        "edit": crossed(edited()),
        "edit-control": crossed(edited(control=True)),
    }


def control_cases() -> dict[str, dict]:
    """Return every case: prediction type, and a workflow whose node ``out`` is compared."""
    whole = (0.0, 1.0)
    found = {
        "one-hint": controlled(("net", "hints-1", 0.7, *whole)),
        "hint-a-frame": controlled(("net", "hints-3", 1.3, *whole)),
        "hints-again": controlled(("net", "hints-2", 1.0, *whole)),
        "hints-cut": controlled(("net", "hints-5", 1.0, *whole)),
        "six-hints-for-two-chunks": controlled(("net", "hints-6", 1.0, *whole)),
        "without-prefix": controlled(("other", "hints-3", 1.0, *whole)),
        "pooled": controlled(("pooled", "hints-3", 1.0, *whole)),
        "percent": controlled(
            ("net", "hints-3", 1.0, 0.25, 0.75)
        ),  # five steps: on the noise levels themselves
        "percent-between": controlled(("net", "hints-3", 1.0, 0.1, 0.6), scheduler="karras"),
        "percent-never": controlled(("net", "hints-3", 1.0, 0.6, 0.4)),
        "chain": controlled(("net", "hints-3", 0.6, 0.0, 0.7), ("other", "hints-1", 1.2, 0.3, 1.0)),
        "chain-of-one-net": controlled(("net", "hints-3", 0.6, *whole), ("net", "hints-1", 0.6, *whole)),
        "strength-0": controlled(("net", "hints-3", 0.5, *whole), ("other", "hints-3", 0.0, *whole)),
        "positive-alone": controlled(("net", "hints-3", 1.0, *whole), on=("positive",)),
        "positive-alone-six-hints": controlled(("net", "hints-6", 1.0, *whole), on=("positive",)),
        "cfg-1": controlled(("net", "hints-3", 1.0, *whole), cfg=1.0),
        "long-prompt": controlled(("net", "hints-3", 1.0, *whole), prompt=LONG),
        "ancestral": controlled(("net", "hints-3", 1.0, 0.0, 0.5), sampler_name="euler_ancestral"),
        "ranges": ranged([(0.0, 0.5), (0.5, 1.0)], (0.0, 0.6)),
        "range-on-a-level": ranged([(0.0, 0.75), (0.25, 1.0)], (0.25, 1.0)),
        "range-without-positive": ranged([(0.3, 0.8), (0.4, 0.7)], (0.0, 1.0)),
    }
    found |= {f"crossed-{name}": steps for name, steps in crossed_cases().items()}
    cases = {f"control-{name}": {"prediction": "eps", "workflow": steps} for name, steps in found.items()}
    # With noise prediction a random network decides all in the first step; with velocities every step counts.
    a_while = crossed(controlled(("net", "hints-3", 1.0, *whole)), start_percent=0.3, end_percent=0.7)
    for name, steps in {**found, "crossed-a-while": a_while}.items():
        if name in ("chain", "ranges", "crossed-everywhere", "crossed-a-while"):
            cases[f"control-{name}-v"] = {"prediction": "v", "workflow": steps}
    found = {
        "guided": guided(controlled(("net", "hints-3", 1.0, *whole))),
        "guided-crossed": guided(crossed(controlled(("net", "hints-1", 1.0, *whole)))),
    }
    cases |= {f"control-{name}": {"prediction": "v", "workflow": steps} for name, steps in found.items()}
    edits = {
        "regular": edited(),
        "nested": edited("nested"),
        "no-negative": edited(cfg_cond2_negative=1.0),
        "first-alone": edited(cfg_conds=1.0, cfg_cond2_negative=1.0),
        "nested-at-1": edited("nested", 1.0, 1.0),
        "plain": plain_edit(),
        "control": edited(control=True),
        "guided": guided(edited(control=True)),
    }
    return cases | {f"edit-{name}": {"prediction": "eps", "workflow": steps} for name, steps in edits.items()}
