"""A dataset of captioned clips, from a folder of videos or of drawn shapes; a FRAMELOOM_DATASET socket carries one.

It is small and can be pickled. Clips are decoded or drawn one at a time, when they are asked for.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import pad

from ...models.errors import ClipError
from .. import shapes
from ..loop import step_generator
from ..video.captions import Skipped
from ..video.clip import VideoClip
from ..video.cut import Cut
from ..video.folder import Found

logger = logging.getLogger(__name__)

Motion = Literal["straight", "circle", "pan left"]
MOST_NAMED = 50  # skipped files that a report names
MOST_IN_ERROR = 5
SHEET_CLIPS, SHEET_FRAMES = 8, 4
WATCHED = 64  # drawn clips between two looks for a cancel
_FORMAT = "frameloom-shapes/1"  # version of keys; it must change when the drawing of shapes changes
_SAMPLERS = {
    "straight": shapes.sample_clips,
    "circle": shapes.sample_circles,
    "pan left": shapes.sample_pans,
}


@dataclass(frozen=True)
class Dataset:
    """Captioned clips of one length and size.

    Attributes:
        clips: clips, each of which decodes itself.
        frames: number of frames of each clip, F.
        width, height: size of the pictures in pixels.
        caption_dropout: share of training steps that see an empty caption, 0..1.
    """

    clips: tuple[VideoClip | DrawnClip, ...]
    frames: int
    width: int
    height: int
    caption_dropout: float

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clips)

    @property
    def captions(self) -> tuple[str, ...]:
        """Of each clip."""
        return tuple(clip.caption for clip in self.clips)

    @property
    def keys(self) -> tuple[str, ...]:
        """Hashes of content and cut of all clips. Two clips with equal keys have the same pictures."""
        return tuple(clip.key for clip in self.clips)

    def pictures(self, index: int) -> Tensor:
        """Decode or draw a clip.

        Returns:
            [F, 3, H, W] float32, -1..1, newly allocated.

        Raises:
            ClipError: the file is gone or damaged. The message names it.
        """
        clip = self.clips[index]
        try:
            return clip.pictures()
        except ClipError as error:
            raise ClipError(f"{clip.name}: {error}") from error


@dataclass(frozen=True)
class DrawnClip:
    """A clip that is drawn. ``drawn`` is one clip of shapes; ``VideoClip`` explains the other parts."""

    name: str
    caption: str
    key: str
    drawn: shapes.Clips
    width: int

    def pictures(self) -> Tensor:
        """Draw the clip, [F, 3, H, W] float32, -1..1."""
        return shapes.render(self.drawn, self.width)[0]


def check_cells(width: int, height: int) -> None:
    """Check that pictures are whole latents, of 8 x 8 pixels a cell.

    Raises:
        ValueError: a side is not a multiple of 8.
    """
    for name, side in (("width", width), ("height", height)):
        if side % 8:
            raise ValueError(
                f"{name}={side}: got a side that is not a multiple of 8; expected whole cells of latents, 8 x 8 pixels "
                f"each; set it to {max(32, side // 8 * 8)} or {side // 8 * 8 + 8}."
            )


def check_square(width: int, height: int) -> None:
    """Check that pictures for drawn shapes are square.

    Raises:
        ValueError: they are not.
    """
    if width != height:
        raise ValueError(
            f"width={width}, height={height}; expected a square, in which shapes are drawn; set height to {width}."
        )


def drawn_dataset(
    clips: int,
    motion: Motion,
    seed: int,
    *,
    frames: int,
    width: int,
    height: int,
    caption_dropout: float,
    watch: Callable[[int], None] = lambda _: None,
) -> Dataset:
    """Return a dataset of drawn shapes, one in each clip. It depends on the arguments alone.

    Args:
        clips: number of clips.
        motion: motion of the shapes. straight: the one that the demo's motion module was trained on, with
            captions that name the direction. circle: once round, clockwise, from the top; captions don't name
            it, see ``shapes.sample_circles``. pan left: the camera's; captions say that shapes stand still.
        seed: seed of looks and places.
        frames: number of frames of each clip, F.
        width: width in pixels.
        height: height in pixels; shapes are drawn in squares.
        caption_dropout: share of training steps that see an empty caption, 0..1.
        watch: callback that now and then gets the number of clips that are done; it raises to stop.

    Raises:
        ValueError: the picture is no square.
    """
    check_square(width, height)
    drawn = _SAMPLERS[motion](clips, step_generator(seed, 0), frames)
    made = []
    for index in range(clips):
        if index % WATCHED == 0:
            watch(index)
        one = drawn.select(torch.tensor([index]))
        caption = shapes.caption(one, 0, with_place=False)
        made.append(DrawnClip(f"shape {index}", caption, _key(one, width), one, width))
    return Dataset(tuple(made), frames, width, height, caption_dropout)


def folder_dataset(found: Found, name: str, cut: Cut, caption_dropout: float) -> Dataset:
    """Return the dataset of a folder.

    Args:
        found: clips and remarks of the folder.
        name: name of the folder, for messages.
        cut: settings by which the clips were cut.
        caption_dropout: share of training steps that see an empty caption, 0..1.

    Raises:
        ValueError: no clip can be used; says why, of the first files.
    """
    if not found.clips:
        reasons = "; ".join(f"{each.name} {each.reason}" for each in found.skipped[:MOST_IN_ERROR])
        raise ValueError(
            f"folder={name!r}: got {len(found.skipped)} files, none of which can be used ({reasons or 'it is empty'}); "
            f"expected videos of {cut.frames} frames or more with captions, such as clip.mp4 and clip.txt; see Video "
            "Dataset's help."
        )
    for each in found.skipped:
        logger.warning("%s: %s %s; it is skipped.", name, each.name, each.reason)
    for each in found.noted:
        logger.warning("%s: %s %s.", name, each.name, each.reason)
    return Dataset(found.clips, cut.frames, cut.width, cut.height, caption_dropout)


def describe(
    dataset: Dataset, origin: str, skipped: Sequence[Skipped] = (), noted: Sequence[Skipped] = ()
) -> str:
    r"""Describe a dataset: its clips, the skipped files with reasons, and remarks about other files.

    Examples:
        >>> dataset = drawn_dataset(3, "circle", 1, frames=16, width=64, height=64, caption_dropout=0.1)
        >>> print(describe(dataset, "drawn", [Skipped("a.mp4", "has no caption")]))
        3 clips of 16 frames, 64x64, drawn
        3 captions, left out in 10 % of the steps
        skipped: 1
          a.mp4 has no caption
    """
    captions, dropped = len(set(dataset.captions) - {""}), f"{100 * dataset.caption_dropout:.0f} %"
    lines = [
        f"{_count(len(dataset), 'clip')} of {dataset.frames} frames, {dataset.width}x{dataset.height}, {origin}",
        f"{_count(captions, 'caption')}, left out in {dropped} of the steps",
    ]
    if "" in dataset.captions:
        lines.append(f"without caption: {_count(dataset.captions.count(''), 'clip')}")
    for what, files in (("skipped", skipped), ("noted", noted)):
        if files:
            lines += [
                f"{what}: {len(files)}",
                *(f"  {each.name} {each.reason}" for each in files[:MOST_NAMED]),
            ]
        if len(files) > MOST_NAMED:
            lines.append(f"  and {len(files) - MOST_NAMED} more; the log names them")
    return "\n".join(lines)


def contact_sheet(dataset: Dataset) -> Tensor:
    """Return a sheet of some clips, a row for each, with frames from the first to the last.

    A clip that can't be decoded is left out, and the log names it.

    Returns:
        [1, rows * (H + 2), columns * (W + 2), 3] float32, 0..1; a white line around each frame.
    """
    rows = min(len(dataset), SHEET_CLIPS)
    columns = min(dataset.frames, SHEET_FRAMES)
    frames = [(dataset.frames - 1) * place // max(columns - 1, 1) for place in range(columns)]
    shown: list[Tensor] = []
    for row in range(rows):
        try:
            shown.append(dataset.pictures(row * len(dataset) // rows)[frames])
        except ClipError as error:
            logger.warning("%s; it is left out of the preview.", error)
    if not shown:
        return torch.zeros(1, dataset.height, dataset.width, 3)
    cells = pad(torch.stack(shown) / 2 + 0.5, (1, 1, 1, 1), value=1.0)
    return rearrange(cells, "r f c h w -> 1 (r h) (f w) c").clamp(0, 1)


def _key(drawn: shapes.Clips, width: int) -> str:
    facts = {field.name: getattr(drawn, field.name).tolist() for field in fields(drawn)}
    return hashlib.sha256(json.dumps([_FORMAT, width, facts]).encode()).hexdigest()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
