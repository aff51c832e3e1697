"""Draw line charts, paths and plans as IMAGE: what a node shows of its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ...models.long_video.nuwa_tree import Job, Tree
from ...models.video.factors import Factors
from ...models.video.windows import WindowPlan
from .plan import SHARES, Rows, show_windows

WIDTH, PANEL_HEIGHT = 640, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 28, 28
_BAR = 14  # height of a window's bar with its gap
_TALLEST = 4000  # of a picture of windows; more of them are thinner
POINTS = 60  # of a loss curve
INK, GRID = (40, 40, 40), (215, 215, 215)
# Told apart by people who see few colours, too (Okabe and Ito).
COLOURS = ((0, 114, 178), (230, 159, 0), (0, 158, 115))


@dataclass(frozen=True)
class Panel:
    """One chart: lines by name over a common x axis that starts at ``first`` and goes on by ``step``."""

    title: str
    lines: Mapping[str, Sequence[float]]
    first: float
    step: float


def draw_panels(panels: Sequence[Panel]) -> Tensor:
    """Draw charts below each other.

    Returns:
        [1, H, W, 3] float32, 0..1.
    """
    picture = Image.new("RGB", (WIDTH, PANEL_HEIGHT * len(panels)), "white")
    draw = ImageDraw.Draw(picture)
    for index, panel in enumerate(panels):
        _draw_panel(draw, panel, index * PANEL_HEIGHT)
    return to_image(picture)


def draw_losses(losses: Sequence[float]) -> Tensor:
    """Draw means of neighbouring losses, in nats a token. Returns [1, H, W, 3] float32, 0..1."""
    size = max(1, -(-len(losses) // POINTS))
    means = [sum(part) / len(part) for i in range(0, len(losses), size) for part in [losses[i : i + size]]]
    panel = Panel("loss, nats a token, over steps (means of neighbours)", {"training": means}, size / 2, size)
    return draw_panels([panel])


def draw_factors(factors: Factors) -> Tensor:
    """Draw factors by frame, and by share of sampling. Returns [1, H, W, 3] float32, 0..1."""
    return draw_panels(
        [
            Panel("factor by frame", {"strength": factors.by_frame.tolist()}, 0, 1),
            Panel("factor by share of sampling", {"by_step": factors.at_steps(SHARES)}, 0, SHARES[1]),
        ]
    )


def _draw_panel(draw: ImageDraw.ImageDraw, panel: Panel, y: int) -> None:
    left, right, top, bottom = _LEFT, WIDTH - _RIGHT, y + _TOP, y + PANEL_HEIGHT - _BOTTOM
    values = [value for line in panel.lines.values() for value in line] or [0.0, 1.0]  # an empty grid
    low, high = min(values), max(values)
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    count = max(len(line) for line in panel.lines.values())
    draw.text((left, y + 8), panel.title, fill=INK)
    for part in range(5):
        level = bottom - (bottom - top) * part / 4
        draw.line((left, level, right, level), fill=GRID)
        draw.text((8, level - 6), f"{low + (high - low) * part / 4:.3g}", fill=INK)
    for part in range(0, count, max(1, -(-count // 8))):
        place = left + (right - left) * part / max(1, count - 1)
        label = f"{panel.first + panel.step * part:.3g}"
        draw.text((place - draw.textlength(label) / 2, bottom + 8), label, fill=INK)
    legend = right
    for (name, line), colour in zip(panel.lines.items(), COLOURS, strict=False):
        xs = [left + (right - left) * index / max(1, count - 1) for index in range(len(line))]
        ys = [bottom - (bottom - top) * (value - low) / (high - low) for value in line]
        draw.line([*zip(xs, ys, strict=True)], fill=colour, width=2)
        legend -= 12 + int(draw.textlength(name))
        draw.text((legend, y + 8), name, fill=colour)


def draw_path(corners: Tensor, width: int, height: int) -> Tensor:
    """Draw where a picture lies over time: its outline and its middle in each frame, from blue to red.

    Args:
        corners: [F, 4, 2] float. The outline's corners, right and down, as shares of the picture's sides.
        width: width of the picture, in pixels; only the shape counts.
        height: height of the picture, in pixels.

    Returns:
        [1, H, W, 3] float32, 0..1, with the first frame's outline in black.
    """
    shape = torch.tensor([width, height], dtype=corners.dtype) / max(width, height)
    points = torch.cat([corners, torch.tensor([[[0.0, 0], [1, 0], [1, 1], [0, 1]]]).to(corners)]) * shape
    low, high = points.amin((0, 1)), points.amax((0, 1))
    scale = (WIDTH - 2 * _RIGHT) / float((high - low).max())
    places = ((points - low) * scale + _RIGHT).tolist()
    size = ((high - low) * scale + 2 * _RIGHT).ceil().int().tolist()
    picture = Image.new("RGB", (size[0], size[1]), "white")
    draw = ImageDraw.Draw(picture)
    *outlines, frame = [[tuple(corner) for corner in outline] for outline in places]
    middles = [tuple(sum(axis) / 4 for axis in zip(*outline, strict=True)) for outline in outlines]
    for index in reversed(range(len(outlines))):
        part = index / max(1, len(outlines) - 1)
        colour = tuple(round(a + part * (b - a)) for a, b in zip(COLOURS[0], (213, 94, 0), strict=True))
        draw.polygon(outlines[index], outline=colour)
        x, y = middles[index]
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
    draw.line(middles, fill=INK)
    draw.polygon(frame, outline=INK, width=2)
    return to_image(picture)


def _titled(title: str, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((_RIGHT, 8), title, fill=INK)
    return picture, draw


def to_image(picture: Image.Image) -> Tensor:
    """Return an RGB picture as IMAGE, [1, H, W, 3] float32, 0..1."""
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return pixels.view(1, picture.height, picture.width, 3).float() / 255


def draw_windows(plan: WindowPlan, frames: int) -> Tensor:
    """Draw a plan of context windows: a bar for each window, fainter where its frames count less, in the first steps.

    Args:
        plan: windows to draw; a schedule that is the same in every step is drawn once.
        frames: length of the clip.

    Returns:
        [1, H, W, 3] float32, 0..1.
    """
    shown = show_windows(plan, frames)
    panels = [panel for panel in shown.panels if isinstance(panel, Rows)]
    rows = sum(len(panel.rows) + 1 for panel in panels)
    bar = max(1, min(_BAR, _TALLEST // rows))
    picture, draw = _titled(shown.title, _TOP + rows * bar)
    unit, y = (WIDTH - _LEFT - _RIGHT) / frames, _TOP
    for panel in panels:
        draw.text((_RIGHT, y), panel.title, fill=INK)
        for (window,) in panel.rows:
            for place, weight in enumerate(panel.weights[window.weights]):
                share = 0.25 + 0.75 * weight
                colour = tuple(round(255 + share * (part - 255)) for part in COLOURS[0])
                left = _LEFT + (window.first + place * window.spacing) % frames * unit
                draw.rectangle((left, y, left + max(unit - 1, 0), y + max(bar - 3, 0)), fill=colour)
            y += bar
        y += bar
    return to_image(picture)


def draw_tree(tree: Tree, written: Set[int] = frozenset()) -> Tensor:
    """Draw a NUWA-XL tree: a row a level with its jobs side by side, and where on each level prompts stand.

    Args:
        tree: tree to draw.
        written: frames whose prompts a language model wrote.

    Returns:
        [1, H, W, 3] float32, 0..1. A job's new frames are marks in it; where they are too close, it is filled.
    """
    title = f"{tree.frames:,} frames: {tree.local_jobs + 1:,} jobs of {tree.length}; prompts in orange"
    title += ", a language model's in green" * bool(written)
    picture, draw = _titled(title, _TOP + 10 + tree.depth * 3 * _BAR)
    left, unit = 2 * _LEFT, (WIDTH - 2 * _LEFT - _RIGHT) / (tree.frames - 1)
    for level in range(1, tree.depth + 1):
        y = _TOP + 10 + (level - 1) * 3 * _BAR
        count = (tree.length - 1) ** (level - 1)
        draw.text((_RIGHT, y), f"level {level}: {count:,}", fill=INK)
        for job in map(tree.job, [level] * count, range(count)):
            places = [left + frame * unit for frame in job.frame_ids]
            shade = tuple(round(255 - (0.35 if job.index % 2 else 0.2) * (255 - part)) for part in COLOURS[0])
            draw.rectangle((places[0], y, places[-1], y + 2 * _BAR), fill=shade)
            if places[1] - places[0] >= 2:
                for place in places:
                    draw.line((place, y + 4, place, y + 2 * _BAR - 4), fill=COLOURS[0])
        for frame in sorted(tree.prompts, key=written.__contains__, reverse=True):  # given ones on top
            if tree.level(frame) <= level:
                place, colour = left + frame * unit, COLOURS[2 if frame in written else 1]
                draw.rectangle((place - 1, y, place + 1, y + 2 * _BAR), fill=colour)
    return to_image(picture)


def draw_timeline(bars: Sequence[tuple[int, Job | None, float, float]], bound: float | None) -> Tensor:
    """Draw who did which job when: a row a worker, in a color for each level; what is white is time without work.

    Args:
        bars: each job's worker from 0, the job, and when it began and ended in seconds; without a job: the worker
            was started anew.
        bound: least time that the schedule takes, in seconds from the first begin.

    Returns:
        [1, H, W, 3] float32, 0..1.
    """
    workers = 1 + max(worker for worker, *_ in bars)
    begin, end = min(bar[2] for bar in bars), max(bar[3] for bar in bars)
    title = f"{len(bars)} jobs, {end - begin:.1f} s"
    picture, draw = _titled(title, _TOP + 10 + workers * 2 * _BAR + _BOTTOM)
    left, unit = 2 * _LEFT, (WIDTH - 2 * _LEFT - _RIGHT) / max(end - begin, bound or 0, 1e-6)
    levels = sorted({job.level for _, job, *_ in bars if job is not None})
    colours = {level: COLOURS[place % len(COLOURS)] for place, level in enumerate(levels)}
    for worker in range(workers):
        draw.text((_RIGHT, _TOP + 10 + worker * 2 * _BAR), f"worker {worker + 1}", fill=INK)
    for worker, job, since, until in bars:
        y = _TOP + 10 + worker * 2 * _BAR
        colour = GRID if job is None else colours[job.level]
        start, stop = left + (since - begin) * unit, left + (until - begin) * unit - 1
        draw.rectangle((start, y, max(start, stop), y + _BAR), fill=colour)
    legend = [(f"level {level}", colours[level]) for level in levels]
    if bound is not None:
        draw.line((left + bound * unit, _TOP, left + bound * unit, picture.height - _BOTTOM), fill=INK)
        legend.append((f"bound {bound:.1f} s", INK))
    for place, (text, colour) in enumerate(legend):
        draw.text((left + 80 * place, picture.height - _BOTTOM + 8), text, fill=colour)
    return to_image(picture)
