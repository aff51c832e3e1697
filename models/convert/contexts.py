"""AnimateDiff-Evolved's context options as Context Windows."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

from .graph import Link, Node
from .rules import NOT_HERE, part
from .targets import CONTEXT, FREE_NOISE
from .work import Work

WEIGHTS = ("pyramid", "flat", "overlap-linear")
_DEFAULT_FUSE = {
    "ADE_LoopedUniformContextOptions": "flat",
    "ADE_AnimateDiffUniformContextOptions": "flat",
    "ADE_AnimateDiffLoaderV1Advanced": "flat",
}
LOOPED = tuple(_DEFAULT_FUSE)
_WRAPS = (
    "closed_loop is off, and its windows still run on from the clip's end to its beginning from step 2 on"
)

part("ADE_StandardStaticContextOptions", here="Context Windows, `static`",
     but="near for a `fuse_method` other than `pyramid` and `flat`")  # fmt: skip
part("ADE_StandardUniformContextOptions", here="Context Windows, `uniform`",
     but="near: windows begin at other frames from step 2 on")  # fmt: skip
part("ADE_LoopedUniformContextOptions", "ADE_AnimateDiffUniformContextOptions", here="Context Windows, `looped`",
     but="near with a `context_stride` above 1, for a clip whose length the graph does not say, and, with "
         "`closed_loop` off, for some lengths, which then become `uniform`")  # fmt: skip
part("ADE_BatchedContextOptions", here="Context Windows, `batched`",
     but="near where a last window of one frame is left over")  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Options:
    """One node's options, as numbers."""

    length: int
    overlap: int
    stride: int
    fuse: str
    on_equal_length: bool
    closed: bool

    @classmethod
    def read(cls, work: Work, node: Node) -> _Options:
        """Read a node."""
        whole = {
            name: int(work.number(node, f"context_{name}", default))
            for name, default in (("length", 16), ("overlap", 4), ("stride", 1))
        }
        return cls(
            **whole,
            fuse=str(work.read(node, "fuse_method", _DEFAULT_FUSE.get(node.kind, "pyramid"))),
            on_equal_length=work.read(node, "use_on_equal_length", False) is True,
            closed=work.read(node, "closed_loop", False) is True,
        )


def put_contexts(work: Work, node: Node, model: Any) -> Any:
    """Put the context options that a node takes on a model.

    Args:
        work: graph that is changed.
        node: node that takes the options, or has them itself.
        model: link to the model.

    Returns:
        A link to the model with them.
    """
    if node.kind == "ADE_AnimateDiffLoaderV1Advanced":
        return _put(work, node, node, model) if work.number(node, "context_length", 16) else model
    chain: list[Node] = []
    context = work.part(node, "context_options")
    while context is not None and context not in chain:
        chain.append(context)
        context = work.part(context, "prev_context", "context_opts")
    options: list[Node] = []
    for each in chain[::-1]:
        if each.kind in NOT_HERE and not each.kind.startswith("ADE_Views"):
            _say_extras(work, work.take(each))
        else:
            options.append(each)
    options.sort(key=lambda each: work.number(each, "start_percent", 0.0))
    for later in options[1:]:
        work.say(work.take(later), "not possible", "other windows from some step on are not here; the first ones hold "
                 "throughout. Instead: two KSampler (Advanced), each with windows of its own.")  # fmt: skip
    return _put(work, node, options[0], model) if options else model


def _say_extras(work: Work, node: Node) -> None:
    """Say that a node's extras are lost, each of them."""
    for name in ("context_extras", "prev_extras"):
        extra = work.part(node, name)
        if extra is not None:
            _say_extras(work, work.take(extra))
    if node.kind != "ADE_ContextExtras_Set":
        work.say(node, "not possible", NOT_HERE[node.kind])


def _put(work: Work, node: Node, context: Node, model: Any) -> Any:
    work.take(context)
    views = work.part(context, "view_opts", "view_opts_req")
    if views is not None:
        model = _put_views(work, views, model)
    if context.kind == "ADE_ViewsOnlyContextOptions":
        work.say(context, "near", "Free Noise's windows within the module")
        return model
    options, frames = _Options.read(work, context), work.frames(node)
    schedule, lost = _schedule(context.kind, options, frames)
    if schedule == "none":
        work.say(context, "exact", f"left out; the clip has {frames} frames, which one window holds")
        return model
    weights = options.fuse if options.fuse in WEIGHTS else "pyramid"
    if weights != options.fuse:
        lost.append(f"frames are weighed by pyramid in place of {options.fuse}")
    elif weights == "overlap-linear":
        lost.append("its weights at an overlap's ends are 0 and 1, and ours a step within")
    overlap = min(options.overlap, options.length - 1)
    if overlap != options.overlap and schedule != "batched":
        lost.append(
            f"overlap {options.overlap} is no less than the window's length; ComfyUI would refuse it here"
        )
    is_batched = schedule == "batched"
    made = work.new(
        CONTEXT,
        context,
        model=model,
        length=work.pass_on(context, "context_length", options.length),
        overlap=0
        if is_batched
        else work.pass_on(context, "context_overlap", overlap)
        if overlap == options.overlap
        else overlap,
        schedule=schedule,
        stride=1
        if schedule in ("static", "batched")
        else work.pass_on(context, "context_stride", 1)
        if options.stride <= 8
        else 8,
        weights="flat" if is_batched else weights,
        frames=frames,
    )
    made.mode = node.mode
    work.say(context, "near" if lost else "exact", "; ".join([work.title(made), *lost]))
    return Link(made.id, 0)


def _schedule(kind: str, options: _Options, frames: int | None) -> tuple[str, list[str]]:
    """Return our schedule for some options, ``none`` where one window holds the clip, and what is lost."""
    if (
        frames is not None
        and frames <= options.length
        and not (frames == options.length and options.on_equal_length)
    ):
        return "none", []
    if kind == "ADE_StandardStaticContextOptions":
        return "static", []
    if kind == "ADE_BatchedContextOptions":
        if frames is None or frames % options.length != 1:
            return "batched", []
        return "batched", ["a last window of one frame is moved back, since nothing moves in one frame"]
    if kind not in LOOPED:
        return "uniform", ["from step 2 on, windows begin at other frames than there"]
    lost: list[str] = []
    if options.stride > 1:
        lost.append("windows of frames that lie apart begin elsewhere")
    if frames is None:
        lost.append("the graph does not say how long the clip is; one no longer than a window is looped here")
    elif frames == options.length:
        lost.append("a clip as long as a window is one window here, and two there")
    if options.closed or _is_closed_anyway(options, frames):
        return "looped", lost
    return "uniform", [*lost, f"windows begin at other frames: {_WRAPS}"]


def _is_closed_anyway(options: _Options, frames: int | None) -> bool:
    """Tell whether windows that do not close the loop are those that do, since these have none more."""
    if frames is None or options.overlap >= options.length:
        return False
    advance = options.length - options.overlap
    return ceil((frames - options.overlap) / advance) == ceil(frames / advance)


def _put_views(work: Work, views: Node, model: Any) -> Any:
    length = int(work.number(views, "view_length", 16))
    stride = divisor(length, length - int(work.number(views, "view_overlap", 4)))
    made = work.new(
        FREE_NOISE,
        work.take(views),
        model=model,
        window_length=length,
        stride=stride,
        reshuffle=False,
        fuse=True,
    )
    work.say(
        views,
        "near",
        f"{work.title(made)}: windows within the module every {stride} frames, weighed by pyramid",
    )
    return Link(made.id, 0)


def divisor(length: int, most: int) -> int:
    """Return the largest divisor of a length that is no more than a number, which Free Noise takes as its stride."""
    return max(
        (each for each in range(1, max(length, 1) + 1) if length % each == 0 and each <= most), default=1
    )
