"""Plans as data: what a node will do over a clip, for the editor to draw while its user still changes numbers.

A node that has a plan offers it as a class method ``plan``. Its arguments are inputs of the node, by their names: its
widgets' values, and sockets as in ``validate_inputs``, None with a link and ``early.UNLINKED`` without. An argument
``frames`` that is no input is the clip's length, as far as the editor knows it. ``before`` has the nodes that lead to
this one, in the order of the graph: a line for each, its id and its file's name. No model is needed, and no latents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...models.long_video.free_noise import NoiseShuffle, WindowFusion
from ...models.long_video.nuwa_tree import Tree
from ...models.long_video.prompt_text import Keys
from ...models.long_video.prompt_travel import Blend
from ...models.motion.few_steps import SCHEDULER, FewStepSettings, trailing
from ...models.video.factors import Factors
from ...models.video.windows import Window, WindowPlan

STEPS = 4  # of moving windows, that are shown
SHARES = tuple(number / 40 for number in range(41))  # of sampling, that a chart shows
_DIGITS = 4
_LETTERS = 80  # of a prompt


class Bar(NamedTuple):
    """Frames that belong together, a spacing apart; from the clip's end they run on to its start."""

    first: int
    spacing: int
    count: int
    weights: int  # which of the panel's lists of weights it has; a list of one is for all frames


@dataclass(frozen=True)
class Rows:
    """Bars over the clip's frames.

    Attributes:
        title: words above it.
        labels: name of each row.
        rows: bars of each row.
        weights: lists of what frames of a bar count, 0..1.
        marks: frames to mark, such as those that have a prompt.
    """

    title: str
    labels: Sequence[str]
    rows: Sequence[Sequence[Bar]]
    weights: Sequence[Sequence[float]]
    marks: Sequence[int] = ()


@dataclass(frozen=True)
class Chart:
    """Values at ``first``, ``first + step``, ...: a line, or dots where a value has nothing to do with the next."""

    title: str
    values: Sequence[float]
    first: float = 0
    step: float = 1
    dots: bool = False


@dataclass(frozen=True)
class Plan:
    """What a node will do: words that say it, the length of the clip, and pictures from top to bottom.

    Attributes:
        title: the words.
        frames: number of frames, or of what else lies side by side.
        panels: the pictures.
        unit: name of one of these.
    """

    title: str
    frames: int
    panels: Sequence[Rows | Chart] = ()
    unit: str = "frame"


def show_windows(plan: WindowPlan, frames: int) -> Plan:
    """Return the windows of the first steps; a schedule that is the same in every step is shown once."""
    steps = [plan.windows(frames, step) for step in range(STEPS if plan.is_moving else 1)]
    asked = sum(len(window) for windows in steps for window in windows) / len(steps) / frames
    title = (
        f"{frames} frames: {sum(map(len, steps)) / len(steps):g} windows of {len(steps[0][0])} in each step, a model "
        f"call each; a frame is sampled {asked:.2f} times"
    )
    names = [f"step {step}" for step in range(1, STEPS + 1)] if plan.is_moving else ["steps"]
    panels = [_windows(name, windows, frames, plan.weigh) for name, windows in zip(names, steps, strict=True)]
    return Plan(title, frames, panels)


def show_noise(noise: NoiseShuffle | None, fusion: WindowFusion | None, frames: int) -> Plan:
    """Return whose noise each frame starts from, and the windows in which a motion module attends."""
    part = noise or fusion
    if part is None or frames <= part.length:
        return Plan(f"{frames} frames: sampled as without this node", frames)
    panels: list[Rows | Chart] = []
    said: list[str] = []
    if noise is not None:
        said.append(f"noise of the first {noise.length}")
        panels.append(Chart("frame whose noise it is", noise.sources(range(frames)), dots=True))
    if fusion is not None:
        starts = fusion.starts(frames)
        said.append(f"{len(starts)} windows of attention")
        windows = [tuple(range(start, start + fusion.length)) for start in starts]
        pyramid = WindowPlan(fusion.length, 0, weights="pyramid").weigh
        panels.append(_windows("windows of attention", windows, frames, pyramid))
    return Plan(f"{frames} frames, {', '.join(said)}", frames, panels)


def show_tree(tree: Tree, prompts: Iterable[int]) -> Plan:
    """Return a NUWA-XL tree: a row a level with its jobs side by side, and marks at frames that have a prompt."""
    levels = range(1, tree.depth + 1)
    counts = [(tree.length - 1) ** (level - 1) for level in levels]
    rows = [
        [
            Bar(job.frame_ids[0], job.frame_ids[1] - job.frame_ids[0], tree.length, job.index % 2)
            for job in (tree.job(level, index) for index in range(count))
        ]
        for level, count in zip(levels, counts, strict=True)
    ]
    labels = [f"level {level}: {count:,}" for level, count in zip(levels, counts, strict=True)]
    heights = [[1.0], [0.7]]  # by which neighbours are told apart
    panel = Rows("jobs by level, and prompts", labels, rows, heights, sorted(prompts))
    title = f"{tree.frames:,} frames: {tree.local_jobs + 1:,} jobs of {tree.length}"
    return Plan(title, tree.frames, [panel])


def show_travel(keys: Keys, blends: Sequence[Blend]) -> Plan:
    """Return what each prompt counts in each frame, a row for each prompt that frames are drawn from."""
    counts: dict[int, dict[int, float]] = {}
    for frame, blend in enumerate(blends):
        counts.setdefault(blend.before, {})[frame] = round(1 - blend.part, _DIGITS)
        if blend.after != blend.before:
            counts.setdefault(blend.after, {})[frame] = round(blend.part, _DIGITS)
    counts = dict(sorted(counts.items()))
    panel = Rows(
        "weights of prompts",
        [f"{key}: {' '.join(keys[key].split()) or '(empty)'}"[:_LETTERS] for key in counts],
        [[Bar(min(frames), 1, len(frames), place)] for place, frames in enumerate(counts.values())],
        [[*frames.values()] for frames in counts.values()],
        [key for key in keys if key < len(blends)],
    )
    unused = len(keys) - len(counts)
    title = f"{len(blends):,} frames, {len(counts)} prompts" + f"; {unused} not used" * bool(unused)
    return Plan(title, len(blends), [panel])


def show_factors(factors: Factors) -> Plan:
    """Return factors by frame, and by share of sampling."""
    by_frame = [round(value, _DIGITS) for value in factors.by_frame.tolist()]
    by_step = [round(value, _DIGITS) for value in factors.at_steps(SHARES)]
    low, high = min(by_frame), max(by_frame)
    span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return Plan(
        f"{len(by_frame):,} frames, factor {span}",
        len(by_frame),
        [Chart("factor by frame", by_frame), Chart("factor by share of sampling", by_step, 0, SHARES[1])],
    )


def show_few_steps(name: str, settings: FewStepSettings, taken: int) -> Plan:
    """Return the settings that a file is to be sampled with, and where the steps begin that are taken."""
    of = "" if taken == settings.steps else f"{taken} of "
    title = f"{name}: {settings.sampler}, {SCHEDULER}, {of}{settings.steps} steps, cfg 1"
    begins = trailing(settings.steps).tolist()[settings.steps - taken :]
    return Plan(title, taken, [Chart("timestep", begins)] if taken else (), "step")


def _windows(
    title: str, windows: Sequence[Window], frames: int, weigh: Callable[[Window, int], list[float]]
) -> Rows:
    """Return a row for each window; the heaviest of its frames counts 1."""
    kinds: dict[tuple[int, bool, bool], int] = {}  # windows with the same weights
    lists: list[list[float]] = []
    bars: list[list[Bar]] = []
    for window in windows:
        kind = len(window), window[0] == 0, window[-1] == frames - 1
        if kind not in kinds:
            weights = weigh(window, frames)
            kinds[kind] = len(lists)
            lists.append([weight / max(weights) for weight in weights])
        spacing = (window[1] - window[0]) % frames if window[1:] else 1
        bars.append([Bar(window[0], spacing, len(window), kinds[kind])])
    return Rows(title, [f"window {number}" for number in range(1, len(windows) + 1)], bars, lists)
