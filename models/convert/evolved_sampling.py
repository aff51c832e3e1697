"""AnimateDiff-Evolved's Sample Settings: where noise comes from, and runs that are repeated."""

from __future__ import annotations

from typing import Any

from .contexts import divisor
from .graph import Link, Node
from .guidance import put_cfg, say_lost
from .rules import part
from .targets import FREE_INIT, FREE_NOISE, NOISE
from .work import Work

FILTERS = {"gaussian": "gaussian", "butterworth": "butterworth", "ideal": "ideal_released"}
_NOT_HERE = ("noise_layers", "sigma_schedule", "image_inject", "ancestral_opts")
# Samplers for which KSampler takes one step more and leaves out the last but one.
_ONE_MORE = ("dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2")
_MOST_FRAMES = 1_000_000

part("ADE_AnimateDiffSamplingSettings", here="Free Noise, Video Noise, or the sampler's seed",
     but="near for `FreeNoise`, whose order recurs in another way, and for `constant`, whose one noise is another; "
         "exact for `auto1111`, `empty`, `repeated_context` and `seed_offset`. `batch_offset` with `comfy` is not "
         "possible")  # fmt: skip
part("ADE_IterationOptsFreeInit", here="Free Init", but="near: the noise of later runs is another")
part("ADE_IterationOptsDefault", here="nothing, for one iteration", but="more iterations are not possible")


def put_settings(work: Work, node: Node, model: Any) -> Any:
    """Put the sample settings that a node takes on a model, or on what samples it; return a link to the model."""
    settings = work.part(node, "sample_settings")
    if settings is None:
        return model
    work.take(settings)
    model = put_cfg(work, node, work.part(settings, "custom_cfg"), model)
    for name in _NOT_HERE:
        say_lost(work, work.part(settings, name))
    model = _put_iterations(work, work.part(settings, "iteration_opts"), model)
    kind, said = str(work.read(settings, "noise_type", "default")), False
    generator = str(work.read(settings, "seed_gen", "comfy"))
    if kind in ("FreeNoise", "repeated_context"):
        model, said = _put_free_noise(work, node, settings, model, kind), True
    said = _put_noise(work, node, settings, kind, generator) or said
    if not said:
        work.say(
            settings,
            "exact",
            "left out; its noise is the sampler's own",
        )
    return model


def _put_iterations(work: Work, options: Node | None, model: Any) -> Any:
    if options is None:
        return model
    work.take(options)
    runs = int(work.number(options, "iterations", 1))
    if options.kind != "ADE_IterationOptsFreeInit":
        if runs > 1:
            work.say(options, "not possible", f"{runs} runs, each from the clip before. Instead: samplers one after "
                     "the other, or Free Init.")  # fmt: skip
        else:
            work.say(options, "exact", "left out; one run is what a sampler does")
        return model
    name = str(work.read(options, "filter", "gaussian"))
    lost = ["the noise of later runs is another"]
    if name not in FILTERS:
        lost.append(f"the filter is butterworth in place of {name}")
    if work.read(options, "apply_to_1st_iter", False):
        lost.append("the first run starts from plain noise")
    made = work.new(
        FREE_INIT,
        options,
        model=model,
        extra_iterations=min(runs - 1, 20),
        filter=FILTERS.get(name, "butterworth"),
        spatial_stop=max(work.number(options, "d_s", 0.25), 0.01),
        temporal_stop=max(work.number(options, "d_t", 0.25), 0.01),
        order=min(int(work.number(options, "n_butterworth", 4)), 16),
        coarse_to_fine=False,
    )
    work.say(options, "near", "; ".join([work.title(made), *lost]))
    return Link(made.id, 0)


def _put_free_noise(work: Work, node: Node, settings: Node, model: Any, kind: str) -> Any:
    """Let noise recur, by windows of the context's length."""
    context = work.part(node, "context_options")
    if context is None:
        work.say(settings, "exact", f"left out; without context options {kind} changes nothing")
        return model
    views = work.part(context, "view_opts", "view_opts_req")
    at, names = (
        (context, ("context_length", "context_overlap"))
        if views is None
        else (views, ("view_length", "view_overlap"))
    )
    length, overlap = int(work.number(at, names[0], 16)), int(work.number(at, names[1], 4))
    frames, samplers = work.frames(node), list(work.samplers(node))
    seeds = [_seed(work, each) for each in samplers]
    made_of = (
        (length - overlap)
        if kind == "FreeNoise" and at.kind != "ADE_BatchedContextOptions"
        else length
        if kind == "FreeNoise"
        else 1
    )
    stride = divisor(length, made_of)
    made = work.new(
        FREE_NOISE,
        settings,
        model=model,
        window_length=length,
        stride=stride,
        seed=seeds[0] if seeds else None,
        reshuffle=True,
        fuse=False,
    )
    is_whole = frames is not None and (frames <= length or (frames - length) % stride == 0)
    is_seeded = len(set(map(str, seeds))) == 1 and seeds[0] is not None
    if kind == "repeated_context" or (stride == made_of and is_whole and is_seeded):
        work.say(settings, "exact", work.title(made))
    else:
        work.say(
            settings, "near", f"{work.title(made)}: noise recurs in another order, every {stride} frames"
        )
    return Link(made.id, 0)


def _seed(work: Work, sampler: Node) -> Any:
    """Return a sampler's seed, a number or a link; None where it has none of its own."""
    name = next((each for each in ("seed", "noise_seed") if each in sampler.inputs), None)
    if name is not None:
        return work.pass_on(sampler, name, None)
    noise = work.part(sampler, "noise")
    return None if noise is None or "noise_seed" not in noise.inputs else _seed(work, noise)


def _put_noise(work: Work, node: Node, settings: Node, kind: str, generator: str) -> bool:
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
        seed = _seed(work, sampler) if override is None else override
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
