"""AnimateDiff-Evolved's noise: other seeds, noise of other kinds, and layers of it, as Video Noise and Blend Noise."""

from __future__ import annotations

from typing import Any

from .graph import Link, Node
from .rules import part
from .targets import BLEND, NOISE
from .work import Work

# Samplers for which KSampler takes one step more and leaves out the last but one.
_ONE_MORE = ("dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2")
_MOST_FRAMES = 1_000_000
LAYERS = {
    "ADE_NoiseLayerReplace": "replace", "ADE_NoiseLayerAdd": "add", "ADE_NoiseLayerAddWeighted": "weighted",
    "ADE_NoiseLayerNormalizedSum": "normalised",
}  # fmt: skip

part(*LAYERS, here="Blend Noise, with RandomNoise or Video Noise",
     but="near by mask, for `constant`, whose one noise is another, for noise of a GPU, and behind FreeNoise; not "
         "possible: FreeNoise and `repeated_context` in a layer, weights above 1, a `balance_multiplier` other than 1 "
         "and 0, `batch_offset` with `comfy`")  # fmt: skip


def seed_of(work: Work, sampler: Node) -> Any:
    """Return a sampler's seed, a number or a link; None where it has none of its own."""
    name = next((each for each in ("seed", "noise_seed") if each in sampler.inputs), None)
    if name is not None:
        return work.pass_on(sampler, name, None)
    noise = work.part(sampler, "noise")
    return None if noise is None or "noise_seed" not in noise.inputs else seed_of(work, noise)


def put_noise(work: Work, node: Node, settings: Node, kind: str, generator: str) -> bool:
    """Change what samplers start from. Returns whether a line of the report says so."""
    offset = int(work.number(settings, "batch_offset", 0))
    shift = int(work.number(settings, "seed_offset", 0))
    override = settings.inputs.get("seed_override")
    override = override if work.graph.value(override) is not None else None
    by_frame = generator.startswith("auto1111")
    if kind == "empty" or kind == "constant" or by_frame:
        mode = "empty" if kind == "empty" else "shared" if kind == "constant" else "seed + frame"
        return _own_noise(work, node, settings, mode, offset if by_frame else 0, (shift, override))
    if offset:
        work.say(settings, "not possible", f"batch_offset {offset}: noise of frames that are not drawn comes first. "
                 "Instead: Video Noise with frame_offset.")  # fmt: skip
        return True
    if not shift and override is None:
        return False
    for sampler in work.samplers(node):
        _shift_seed(work, settings, sampler, shift, override)
    return True


def _shift_seed(work: Work, settings: Node, sampler: Node, shift: int, override: Any) -> None:
    noise = sampler if "noise" not in sampler.inputs else work.part(sampler, "noise")
    name = next((each for each in ("seed", "noise_seed") if noise is not None and each in noise.inputs), None)
    seed: Any = None if noise is None or name is None else work.read(noise, name, None)
    if noise is None or name is None or (override is None and not isinstance(seed, int)):
        work.say(
            settings,
            "not possible",
            f"the seed of {work.name(sampler)} can't be changed by {shift}; change it by hand.",
        )
        return
    if override is not None and shift == 0:
        work.graph.put(noise, name, override)
    elif override is None:
        work.graph.put(noise, name, (int(seed) + shift) % (1 << 64))
    else:
        work.say(
            settings, "not possible", f"seed_override and seed_offset {shift} together; add them up by hand."
        )
        return
    lost = _own_way(work, sampler)
    work.say(settings, "near" if lost else "exact", "; ".join([f"the seed of {work.name(noise)}", *lost]))


def _own_way(work: Work, sampler: Node) -> list[str]:
    """Return what is lost where a sampler's seed changes that was to change its start alone."""
    name = str(work.read(sampler, "sampler_name", ""))
    if not name:
        select = work.part(sampler, "sampler")
        name = "" if select is None else str(work.read(select, "sampler_name", ""))
    makes_noise = "ancestral" in name or "sde" in name or name == "lcm"
    return [f"{name} makes other noise on its way, too"] if makes_noise else []


def _own_noise(
    work: Work, node: Node, settings: Node, mode: str, offset: int, seeds: tuple[int, Any]
) -> bool:
    """Give samplers a noise node; a KSampler becomes a SamplerCustomAdvanced, which takes one."""
    shift, override = seeds
    samplers = list(work.samplers(node))
    if not samplers:
        work.say(settings, "not possible", f"{mode} noise, and no sampler of this model was found. Instead: "
                 "SamplerCustomAdvanced with Video Noise.")  # fmt: skip
    for sampler in samplers:
        if sampler.kind not in ("KSampler", "SamplerCustomAdvanced"):
            work.say(settings, "not possible", f"{mode} noise for {work.name(sampler)}, which takes no noise. Instead: "
                     "SamplerCustomAdvanced with Video Noise.")  # fmt: skip
            continue
        seed = seed_of(work, sampler) if override is None else override
        if isinstance(seed, int):
            seed = (seed + shift) % (1 << 64)
        elif shift:
            work.say(
                settings,
                "not possible",
                f"seed_offset {shift} on a seed that comes by a link; add it by hand.",
            )
        if mode == "empty":
            noise = work.new("DisableNoise", settings)
        else:
            noise = work.new(
                NOISE, settings, noise_seed=seed, mode=mode, frame_offset=min(offset, _MOST_FRAMES)
            )
        changed = bool(shift) or override is not None or mode == "empty"
        lost = (_own_way(work, sampler) if changed else []) + _give_noise(work, sampler, noise)
        if mode == "shared":
            lost.append("all frames share one noise, as there, but it is another")
        work.say(settings, "near" if lost else "exact", "; ".join([work.title(noise), *lost]))
    return True


def _give_noise(work: Work, sampler: Node, noise: Node) -> list[str]:
    """Let a sampler take a noise node; return what is lost."""
    graph = work.graph
    if sampler.kind == "SamplerCustomAdvanced":
        graph.put(sampler, "noise", Link(noise.id, 0))
        return []
    model = sampler.inputs.get("model")
    guider = work.new("CFGGuider", sampler, model=model, positive=sampler.inputs.get("positive"),
                      negative=sampler.inputs.get("negative"), cfg=work.pass_on(sampler, "cfg", 8.0))  # fmt: skip
    chosen = work.new("KSamplerSelect", sampler, sampler_name=work.pass_on(sampler, "sampler_name", "euler"))
    sigmas = work.new("BasicScheduler", sampler, model=model, scheduler=work.pass_on(sampler, "scheduler", "normal"),
                      steps=work.pass_on(sampler, "steps", 20),
                      denoise=work.pass_on(sampler, "denoise", 1.0))  # fmt: skip
    made = work.new("SamplerCustomAdvanced", work.take(sampler), noise=Link(noise.id, 0), guider=Link(guider.id, 0),
                    sampler=Link(chosen.id, 0), sigmas=Link(sigmas.id, 0),
                    latent_image=sampler.inputs.get("latent_image"))  # fmt: skip
    graph.rewire(Link(sampler.id, 0), Link(made.id, 0))
    name = str(work.read(sampler, "sampler_name", ""))
    lost = (
        [
            f"KSampler gives {name} one step more, of which it leaves one out; here it takes the steps as they are"
        ]
        if name in _ONE_MORE
        else []
    )
    work.say(
        sampler, "near" if lost else "exact", "; ".join([f"{work.title(made)}, which takes a noise", *lost])
    )
    return lost


def put_layers(work: Work, node: Node, settings: Node, layers: Node, kind: str) -> None:
    """Blend layers of noise into what samplers start from.

    Args:
        work: graph that is changed.
        node: node that gives the model.
        settings: node with the settings.
        layers: node with the layer that comes first.
        kind: type of the noise that they are blended into.
    """
    chain: list[Node] = []
    layer: Node | None = layers
    while layer is not None and layer not in chain:
        chain.append(work.take(layer))
        layer = work.part(layer, "prev_noise_layers")
    generator = str(work.read(settings, "seed_gen", "comfy"))
    samplers = [each for each in work.samplers(node) if each.id not in work.done]
    why = "" if samplers else "no sampler of this model was found"
    for each in samplers:
        if each.kind not in ("KSampler", "SamplerCustomAdvanced"):
            why = f"{work.name(each)} takes no noise"
        why = why or next(filter(None, (_why_no_layer(work, at, each, generator) for at in chain)), "")
    if why:
        for each in chain:
            work.say(each, "not possible", f"{why}. Instead: by hand, Blend Noise and SamplerCustomAdvanced.")
        return
    for sampler in samplers:
        seed = seed_of(work, sampler)
        noise = sampler.inputs.get("noise")
        for at in chain:
            other = _layer_noise(work, at, seed, generator)
            mask = at.inputs.get("mask_optional")
            if noise is None:
                noise = Link(work.new("RandomNoise", settings, noise_seed=seed).id, 0)
            made = work.new(BLEND, at, noise=noise, other=Link(other.id, 0), blend=_blend(work, at),
                            weight=work.pass_on(at, "noise_weight", 0.5), mask=mask)  # fmt: skip
            noise = Link(made.id, 0)
            lost = ["edges of the mask are smoothed in another way"] if mask is not None else []
            if mask is not None and _blend(work, at) == "normalised":
                lost.append("by place the weight changes, and not the share of the blend")
            if work.read(at, "noise_type", "default") == "constant":
                lost.append("all frames share one noise, as there, but it is another")
            if "gpu" in _generator(work, at, generator):
                lost.append("its noise is the CPU's")
            if kind in ("FreeNoise", "repeated_context"):
                lost.append("the layer's noise recurs as well")
            work.say(at, "near" if lost else "exact", "; ".join([work.title(made), *lost]))
        if isinstance(noise, Link):
            _give_noise(work, sampler, work.graph.nodes[noise.node])


def _blend(work: Work, layer: Node) -> str:
    blend = LAYERS.get(layer.kind, "")
    return "add" if blend == "weighted" and work.number(layer, "balance_multiplier", 1.0) == 0 else blend


def _why_no_layer(work: Work, layer: Node, sampler: Node, generator: str) -> str:
    """Return why a layer can't be blended into what a sampler starts from, or nothing."""
    values = {name: work.read(layer, name, first) for name, first in
              (("noise_weight", 0.5), ("seed_offset", 0), ("batch_offset", 0), ("balance_multiplier", 1.0),
               ("noise_type", "default"), ("seed_override", 0))}  # fmt: skip
    if layer.kind not in LAYERS or any(isinstance(value, Link) for value in values.values()):
        return "a layer that is not known, or has numbers by a link"
    if values["noise_type"] not in ("default", "constant", "empty"):
        return f"a layer of {values['noise_type']}"
    if not isinstance(seed_of(work, sampler), int):
        return f"{work.name(sampler)} has no seed that is written down"
    if values["noise_weight"] > 1 or values["balance_multiplier"] not in (0, 1):
        return "a weight of more than 1, or a balance_multiplier other than 1 and 0"
    if values["batch_offset"] and not _generator(work, layer, generator).startswith("auto1111"):
        return f"batch_offset {values['batch_offset']}: noise of frames that are not drawn comes first"
    return ""


def _generator(work: Work, layer: Node, existing: str) -> str:
    found = str(work.read(layer, "seed_gen_override", "use existing"))
    return existing if found == "use existing" else found


def _layer_noise(work: Work, layer: Node, seed: int, generator: str) -> Node:
    """Return the node that makes a layer's noise."""
    override = work.read(layer, "seed_override", None)
    seed = ((seed if override is None else int(override)) + int(work.number(layer, "seed_offset", 0))) % (
        1 << 64
    )
    kind = work.read(layer, "noise_type", "default")
    if kind == "empty":
        return work.new("DisableNoise", layer)
    offset = min(int(work.number(layer, "batch_offset", 0)), _MOST_FRAMES)
    if _generator(work, layer, generator).startswith("auto1111") or kind == "constant":
        mode = "shared" if kind == "constant" else "seed + frame"
        return work.new(NOISE, layer, noise_seed=seed, mode=mode, frame_offset=offset)
    return work.new("RandomNoise", layer, noise_seed=seed)
