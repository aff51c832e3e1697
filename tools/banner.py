"""Make ``docs/demo.webp``, the README's picture: a clip of each of the four families, side by side.

    python tools/banner.py FILE.webp ...

Run it by hand after the demo model or one of the four workflows has changed. A clip of fewer frames shows some of them
longer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageSequence

TARGET = Path(__file__).resolve().parent.parent / "docs" / "demo.webp"
FRAMES, MILLISECONDS, SIDE, GAP = 16, 125, 128, 4
BACKGROUND = (255, 255, 255)


def frames_of(path: Path) -> list[Image.Image]:
    """Return all frames of an animated picture."""
    with Image.open(path) as file:
        return [frame.convert("RGB") for frame in ImageSequence.Iterator(file)]


def side_by_side(clips: list[list[Image.Image]]) -> list[Image.Image]:
    """Return ``FRAMES`` pictures with one frame of each clip; every clip is stretched to the same time."""
    width = len(clips) * (SIDE + GAP) - GAP
    pictures = [Image.new("RGB", (width, SIDE), BACKGROUND) for _ in range(FRAMES)]
    for column, clip in enumerate(clips):
        for number, picture in enumerate(pictures):
            frame = clip[number * len(clip) // FRAMES].resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            picture.paste(frame, (column * (SIDE + GAP), 0))
    return pictures


def main() -> None:
    """Write the picture from the files that the command names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, help="animated pictures, from left to right")
    first, *rest = side_by_side([frames_of(path) for path in parser.parse_args().files])
    first.save(TARGET, save_all=True, append_images=rest, duration=MILLISECONDS, loop=0, quality=85, method=6)
    print(f"{TARGET}: {TARGET.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
