"""Draw every workflow, and write all pictures and docs/gallery.md: see ``make gallery``."""

from __future__ import annotations

import argparse
from fnmatch import fnmatch
from pathlib import Path

from frameloom.tools.gallery import page, pictures
from frameloom.tools.gallery.demo import NAMES, WORKFLOWS, drawing_of
from frameloom.tools.gallery.draw import Studio
from frameloom.tools.templates import file_name

STRIP, STRIP_FPS, STRIP_BYTES = page.DOCS / "demo.webp", 8.0, 500_000
# The README's strip: of each family a workflow, and values that show it well.
FAMILIES: dict[str, tuple[str, ...]] = {
    "Motion modules": ("animatediff_demo",),
    "Zero-shot video": (
        "zero_shot_demo",
        "2.text=a big cyan circle on a black background",
        "5.move_right=0.35",
        "5.zoom=1.4",
        "7.seed=3",
    ),
    "Layouts": (
        "layout_video_demo",
        "2.script=A small yellow cross on a gray background moves from the top to the bottom.",
    ),
    "Long video": ("prompt_travel_demo",),
}


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
        pictures.thumbnail(panels).save(WORKFLOWS / f"{file_name(name)}.jpg", quality=88)
    if options.only == "*":
        shown = {
            family: studio.draw(workflow[0], drawing_of(*workflow).graph)
            for family, workflow in FAMILIES.items()
        }
        pictures.save_animated(pictures.strip(shown), STRIP_FPS, STRIP, STRIP_BYTES)
        page.PAGE.write_text(page.text(), "utf-8")


if __name__ == "__main__":
    main()
