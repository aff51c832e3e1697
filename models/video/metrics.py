"""Figures of a video that need no learned model: similarity, flicker, motion, drift, each beside two controls.

With x_f frame f of F, and u_f(b) how far a block b of it has moved in frame f + 1:

    similarity    mean SSIM(x_f, x_(f+1))
    flicker       mean |x_(f+1) - 2 x_f + x_(f-1)|
    motion        mean |u_f(b)| over the fastest twentieth of all blocks
    drift         1 - SSIM(x_1, x_F)

No figure means anything alone: a frozen picture is perfectly consistent, and shuffled frames move most of all. So
``measure`` returns the same figures for the first frame held still and for the frames in random order.

Source of SSIM: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from kornia.geometry.transform import resize
from kornia.metrics import ssim
from torch import Tensor
from torch.nn import functional

from .shapes import Clip, Images

_SSIM_WINDOW = 11
# The authors of SSIM advise to measure at about this size.
_SSIM_SIDE = 256
# Motion is searched on a picture of at most this many pixels a side, in steps of one of its pixels.
_MOTION_SIDE = 64
_MOTION_REACH = 6
_BLOCK = 8
# A farther match must have an error below this share of the nearer one's.
_BETTER = 0.65
# Frames, or pairs of them, that are worked on at once: memory beside the video doesn't grow with their number.
_CHUNK = 4


@dataclass(frozen=True)
class Figures:
    """One video's figures.

    Attributes:
        similarity: mean structural similarity of neighbouring frames; 1: equal.
        flicker: mean |x(f+1) - 2 x(f) + x(f-1)|, in units of the pixel range; 0: every pixel changes steadily.
        motion: mean displacement a frame of the fastest twentieth of the picture, in percent of its longer side.
        drift: 1 - structural similarity of the first and the last frame; 0: equal.
        similarity_by_frame: [F-1] similarity of frames f and f+1.
        motion_by_frame: [F-1] motion from frame f to f+1.
    """

    similarity: float
    flicker: float
    motion: float
    drift: float
    similarity_by_frame: Tensor
    motion_by_frame: Tensor


@dataclass(frozen=True)
class Report:
    """A video's figures and its controls'. ``frozen``: the first frame throughout; ``shuffled``: a random order."""

    video: Figures
    frozen: Figures
    shuffled: Figures


@dataclass(frozen=True)
class Comparison:
    """Another video of the same frames. ``difference_by_frame``: [F] mean |a - b| of both videos' frames."""

    other: Figures
    difference_by_frame: Tensor


def measure(images: Images, seed: int = 0) -> Report:
    """Measure a video, its first frame held, and its frames in an order that the seed gives.

    Raises:
        ValueError: there are fewer than 3 frames, or the shape is another.
    """
    if images.dim() != 4 or images.shape[-1] != 3 or images.shape[0] < 3:
        raise ValueError(
            f"images is {tuple(images.shape)}; expected at least 3 frames as [frames, height, width, 3]; give the "
            "frames of one video as a batch."
        )
    sizes = _in_sizes(images)
    order = [
        int(place) for place in torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    ]
    return Report(*(_measure_one(*sizes, ids) for ids in (range(len(images)), (0, 0, 0), order)))


def compare_videos(images: Images, other: Images) -> Comparison:
    """Measure another video, and how far its frames are from the first one's.

    Raises:
        ValueError: it has another number or size of frames.
    """
    if images.shape != other.shape:
        (frames, height, width), (got, *size) = images.shape[:3], other.shape[:3]
        raise ValueError(
            f"compare has {got} frames of {size[1]} x {size[0]}; expected {frames} frames of {width} x {height}, as "
            "images has; take as many frames of both, and scale one of them."
        )
    pairs = zip(torch.split(images.float(), _CHUNK), torch.split(other.float(), _CHUNK), strict=True)
    difference = torch.cat([(a - b).abs().mean((1, 2, 3)) for a, b in pairs])
    return Comparison(_measure_one(*_in_sizes(other), range(len(other))), difference)


def _in_sizes(images: Images) -> tuple[Clip, Clip, Clip]:
    """Return a clip as it is, and in the sizes in which similarity and motion are measured."""
    frames = rearrange(images.float(), "f h w c -> f c h w")
    return frames, _reduce(frames, _SSIM_SIDE), _reduce(frames, _MOTION_SIDE)


def _measure_one(frames: Clip, similar: Clip, moving: Clip, ids: Sequence[int]) -> Figures:
    """Return the figures of some frames in some order, of the clip in three sizes: as it is, for SSIM, for motion."""
    pairs = [list(ids[start : start + _CHUNK + 1]) for start in range(0, len(ids) - 1, _CHUNK)]
    triples = [list(ids[start : start + _CHUNK + 2]) for start in range(0, len(ids) - 2, _CHUNK)]
    similarity = torch.cat([frame_similarity(similar[pair[:-1]], similar[pair[1:]]) for pair in pairs])
    motion = torch.cat([displacement(moving[pair]) for pair in pairs])
    return Figures(
        similarity=float(similarity.mean()),
        flicker=float(torch.cat([_flicker(frames[triple]) for triple in triples]).mean()),
        motion=float(motion.mean()),
        drift=1 - float(frame_similarity(similar[[ids[0]]], similar[[ids[-1]]])[0]),
        similarity_by_frame=similarity,
        motion_by_frame=motion,
    )


def _flicker(x: Clip) -> Tensor:
    """Return how far each frame but the first and the last is from its neighbours' mean, twice: [F-2]."""
    return (x[2:] - 2 * x[1:-1] + x[:-2]).abs().mean((1, 2, 3))


def frame_similarity(first: Clip, second: Clip) -> Tensor:
    """Return the structural similarity of pairs of frames, [F], at 256 pixels a side at most; 1: they are equal."""
    first, second = (_reduce(frames, _SSIM_SIDE) for frames in (first, second))
    return ssim(first, second, _SSIM_WINDOW, padding="same").mean((1, 2, 3))


def displacement(frames: Clip) -> Tensor:
    """Return how far the fastest part of the picture moves between neighbours, [F-1], in percent of its longer side.

    Blocks of a reduced picture are matched within a small reach. A farther match counts only where it is clearly
    better, so that flat areas and noise stand still. The fastest twentieth of the blocks is averaged: a small thing
    that moves on a still background is motion.
    """
    frames = _reduce(frames, _MOTION_SIDE)
    before, after = frames[:-1], frames[1:]
    height, width = before.shape[-2:]
    padded = functional.pad(after, (_MOTION_REACH,) * 4, mode="replicate")
    reach = range(-_MOTION_REACH, _MOTION_REACH + 1)
    nearest_first = sorted(((dy, dx) for dy in reach for dx in reach), key=lambda u: u[0] ** 2 + u[1] ** 2)
    best: Tensor | None = None
    distance = before.new_zeros(())
    for dy, dx in nearest_first:
        top, left = dy + _MOTION_REACH, dx + _MOTION_REACH
        error = (before - padded[..., top : top + height, left : left + width]).abs().mean(1, keepdim=True)
        cost = functional.avg_pool2d(error, _BLOCK, stride=_BLOCK // 2)
        if best is None:
            best, distance = cost, torch.zeros_like(cost)
            continue
        length = cost.new_full((), (dy * dy + dx * dx) ** 0.5)
        better = cost < _BETTER * best - 1e-4
        best, distance = torch.where(better, cost, best), torch.where(better, length, distance)
    fastest = max(1, distance[0].numel() // 20)
    return distance.flatten(1).topk(fastest).values.mean(1) * (100 / max(height, width))


def _reduce(frames: Clip, side: int) -> Clip:
    """Shrink frames whose longer side is above ``side``; at least a block remains."""
    scale = side / max(frames.shape[-2:])
    if scale >= 1:
        return frames
    height, width = (max(_BLOCK, round(length * scale)) for length in frames.shape[-2:])
    reduced = frames.new_empty(*frames.shape[:2], height, width)
    for part, whole in zip(torch.split(reduced, _CHUNK), torch.split(frames, _CHUNK), strict=True):
        part.copy_(resize(whole, (height, width), antialias=True))
    return reduced


def describe(report: Report, fps: float, comparison: Comparison | None = None) -> str:
    """Return the figures as a text table, with motion in percent a second, too."""
    rows = [
        ("similarity of neighbouring frames (SSIM, 1 = equal)", "similarity", 1.0, ".4f"),
        ("flicker (mean second difference, 0 = steady)", "flicker", 1.0, ".4f"),
        ("motion (percent of the longer side, each frame)", "motion", 1.0, ".2f"),
        ("motion (percent of the longer side, each second)", "motion", fps, ".1f"),
        ("drift, first to last frame (1 - SSIM)", "drift", 1.0, ".4f"),
    ]
    columns = {"video": report.video, "frozen": report.frozen, "shuffled": report.shuffled}
    if comparison is not None:
        columns["compare"] = comparison.other
    lines = [f"{'':52}" + "".join(f"{name:>10}" for name in columns)]
    for title, name, factor, form in rows:
        values = [getattr(figures, name) * factor for figures in columns.values()]
        lines.append(f"{title:52}" + "".join(f"{value:>10{form}}" for value in values))
    if comparison is not None:
        most, frame = comparison.difference_by_frame.max(0)
        lines.append(
            f"difference of compare from video (mean |a - b|, 0 = equal): {comparison.difference_by_frame.mean():.4f}, "
            f"most {most:.4f} in frame {int(frame)}"
        )
    return "\n".join(lines)
