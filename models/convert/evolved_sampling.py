"""AnimateDiff-Evolved's Sample Settings: where noise comes from, and runs that are repeated."""

from __future__ import annotations

from typing import Any

from .contexts import divisor
from .graph import Link, Node
from .guidance import put_cfg, say_lost
from .noise import put_layers, put_noise, seed_of
from .rules import part
from .targets import FREE_INIT, FREE_NOISE
from .work import Work

FILTERS = {"gaussian": "gaussian", "butterworth": "butterworth", "ideal": "ideal_released"}
_NOT_HERE = ("sigma_schedule", "image_inject", "ancestral_opts")

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
    said = put_noise(work, node, settings, kind, generator) or said
    if (layers := work.part(settings, "noise_layers")) is not None:
        put_layers(work, node, settings, layers, kind)
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
    seeds = [seed_of(work, each) for each in samplers]
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
