"""Draw every workflow, and write all pictures and docs/gallery.md: see ``make gallery``."""

from __future__ import annotations

import argparse
from fnmatch import fnmatch
from pathlib import Path

from frameloom.tools.gallery import page, pictures
from frameloom.tools.gallery.demo import NAMES, WORKFLOWS, drawing_of
from frameloom.tools.gallery.draw import Studio

STRIP, STRIP_FRAMES, STRIP_FPS, STRIP_BYTES = page.DOCS / "demo.webp", 32, 8.0, 500_000
# The README's strip: a caption, a workflow, and values that show its family well.
FAMILIES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Motion modules", "animatediff_demo", ()),
    ("Zero-shot video", "zero_shot_demo", ()),
    ("Layouts", "layout_video_demo", ()),
    ("Long video", "prompt_travel_demo", ()),
)


def main() -> None:
    """Draw what has changed, and write every picture and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="*", metavar="PATTERN", help="names of workflows: 'nuwa_*'")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path.home() / ".cache" / "frameloom" / "gallery",
        help="folder of what was drawn before; only what has changed is drawn again",
    )
    options = parser.parse_args()
    studio = Studio(options.cache)
    for name in NAMES:
        if not fnmatch(name, options.only):
            continue
        drawing = drawing_of(name)
        panels = studio.draw(name, drawing.graph)
        pictures.save_animated(pictures.animated(panels), drawing.fps, page.PICTURES / f"{name}.webp")
        pictures.thumbnail(panels).save(WORKFLOWS / f"{name}.jpg", quality=88)
    if options.only == "*":
        clips = [studio.draw(name, drawing_of(name, *values).graph)[-1] for _, name, values in FAMILIES]
        clip = pictures.strip(clips, [caption for caption, _, _ in FAMILIES], STRIP_FRAMES)
        pictures.save_animated(clip, STRIP_FPS, STRIP, STRIP_BYTES)
        page.PAGE.write_text(page.text(), "utf-8")


if __name__ == "__main__":
    main()
