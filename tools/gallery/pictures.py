"""Files of what was drawn: animated pictures, thumbnails for ComfyUI's template browser, and the README's strip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

Clip = list[Image.Image]

ALONE, BESIDE, GAP = 192, 128, 4  # heights of a panel that is alone, and of one that has another beside it
THUMBNAIL = 384
MOST_FRAMES, FASTEST, SHORTEST = 48, 10.0, 1.5  # frames, frames a second, seconds
MOST_BYTES = 150_000
QUALITIES = (85, 75, 65, 50)
STRIP_HEIGHT, STRIP_FRAMES, NAME = 160, 16, 30
PAPER, INK = (255, 255, 255), (60, 60, 70)


def side_by_side(panels: Sequence[Clip], height: int, most_frames: int = MOST_FRAMES) -> Clip:
    """Return one clip of several, each stretched to the same time: a shorter one shows its frames longer.

    Args:
        panels: clips, from left to right; a still picture is a clip of one frame.
        height: height of the clip in pixels.
        most_frames: frames at most; of a longer clip, frames at equal distances are shown.
    """
    count = min(most_frames, max(map(len, panels)))
    return [
        _row([_fitted(panel[frame * len(panel) // count], height) for panel in panels])
        for frame in range(count)
    ]


def animated(panels: Sequence[Clip]) -> Clip:
    """Return the animated picture of a workflow's panels."""
    return side_by_side(panels, ALONE if len(panels) == 1 else BESIDE)


def thumbnail(panels: Sequence[Clip]) -> Image.Image:
    """Return a square with four moments of one panel, or two of each of two; a still picture fills it."""
    rows, columns = 2, 2 // len(panels)
    if len(panels) == len(panels[0]) == 1:
        rows = columns = 1
    clip = side_by_side(panels, (THUMBNAIL - GAP) // rows)
    last = max(1, rows * columns - 1)
    shown = [clip[place * (len(clip) - 1) // last] for place in range(rows * columns)]
    lines = [_row(shown[row * columns : (row + 1) * columns]) for row in range(rows)]
    square = Image.new("RGB", (max(line.width for line in lines), THUMBNAIL), PAPER)
    for row, line in enumerate(lines):
        square.paste(line, (0, row * (line.height + GAP)))
    return ImageOps.pad(square, (THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS, PAPER)


def strip(families: Mapping[str, Sequence[Clip]]) -> Clip:
    """Return families side by side, each as panels over its name."""
    groups = [side_by_side(panels, STRIP_HEIGHT, STRIP_FRAMES) for panels in families.values()]
    count = max(map(len, groups))
    shown = [[group[frame * len(group) // count] for group in groups] for frame in range(count)]
    return [_row([_named(*pair) for pair in zip(row, families, strict=True)], 4 * GAP) for row in shown]


def save_animated(clip: Clip, fps: float, path: Path, most_bytes: int = MOST_BYTES) -> None:
    """Write a WebP that plays for ever, as well as the bytes allow.

    Raises:
        ValueError: the lowest quality is still too large.
    """
    speed = min(fps, FASTEST, len(clip) / SHORTEST)
    timing = {"duration": round(1000 / speed), "loop": 0, "method": 6}
    for quality in QUALITIES:
        file = BytesIO()
        clip[0].save(file, "WEBP", save_all=True, append_images=clip[1:], quality=quality, **timing)
        if file.tell() <= most_bytes:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(file.getvalue())
            return
    raise ValueError(
        f"{path.name}: got {file.tell()} bytes at quality {QUALITIES[-1]}; expected at most {most_bytes}; "
        "show fewer frames."
    )


def _fitted(frame: Image.Image, height: int) -> Image.Image:
    """Return a frame at a height; of a tall sheet the top is shown, and a wide one gets paper above and below."""
    if frame.height > frame.width:
        frame = frame.crop((0, 0, frame.width, frame.width))
    widest = 2 * height
    small = ImageOps.contain(frame, (widest, height), Image.Resampling.LANCZOS)
    return ImageOps.pad(small, (small.width, height), color=PAPER)


def _row(pictures: Sequence[Image.Image], gap: int = GAP) -> Image.Image:
    width = sum(picture.width + gap for picture in pictures) - gap
    row, left = Image.new("RGB", (width, pictures[0].height), PAPER), 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + gap
    return row


def _named(picture: Image.Image, name: str) -> Image.Image:
    whole = ImageOps.expand(picture, (0, 0, 0, NAME), PAPER)
    place = picture.width / 2, picture.height + NAME / 2 + 2
    font = ImageFont.load_default(size=16)
    ImageDraw.Draw(whole).text(place, name, fill=INK, font=font, anchor="mm")
    return whole
