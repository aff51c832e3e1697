"""Make the pictures that ComfyUI's template browser shows beside our workflows.

python tools/thumbnail.py NAME FILE    four moments of a picture or video that workflow NAME made
python tools/thumbnail.py NAME            the graph itself, where a workflow needs weights that are not bundled
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from frameloom.tools.templates import file_name
from PIL import Image, ImageDraw, ImageFont, ImageSequence

WORKFLOWS = Path(__file__).resolve().parent.parent / "workflows"
SIDE = 384
MOMENTS = 4
BACKGROUND, BOX, EDGE, TEXT = (32, 32, 36), (58, 60, 68), (120, 150, 200), (225, 225, 230)


def moments(path: Path) -> Image.Image:
    """Return four frames at equal distances as a square, or the one picture there is."""
    with Image.open(path) as file:
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(file)]
    if len(frames) < MOMENTS:
        return frames[0].resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    square, half = Image.new("RGB", (SIDE, SIDE), BACKGROUND), SIDE // 2
    for place in range(MOMENTS):
        frame = frames[place * (len(frames) - 1) // (MOMENTS - 1)]
        small = frame.resize((half - 2, half - 2), Image.Resampling.LANCZOS)
        square.paste(small, (place % 2 * half + 1, place // 2 * half + 1))
    return square


def drawing(name: str) -> Image.Image:
    """Draw the editor's graph: boxes with titles, and links."""
    graph = json.loads((WORKFLOWS / f"{file_name(name)}.json").read_text("utf-8"))
    nodes = {node["id"]: node for node in graph["nodes"] if node["type"] != "MarkdownNote"}
    right = max(node["pos"][0] + node["size"][0] for node in nodes.values())
    bottom = max(node["pos"][1] + node["size"][1] for node in nodes.values())
    scale = (2 * SIDE - 40) / max(right, bottom)
    top = (2 * SIDE - bottom * scale) / 2

    def place(x: float, y: float) -> tuple[float, float]:
        return 20 + x * scale, top + y * scale

    picture = Image.new("RGB", (2 * SIDE, 2 * SIDE), BACKGROUND)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)
    for _, origin, _, target, slot, _ in graph["links"]:
        start, end = nodes[origin], nodes[target]
        pen.line(
            [
                place(start["pos"][0] + start["size"][0], start["pos"][1] + 20),
                place(end["pos"][0], end["pos"][1] + 20 + 20 * slot),
            ],
            fill=EDGE,
            width=2,
        )
    for node in nodes.values():
        x, y = place(*node["pos"])
        width, height = (side * scale for side in node["size"])
        pen.rounded_rectangle((x, y, x + width, y + height), 5, fill=BOX, outline=EDGE)
        for row, line in enumerate(_lines(node["title"])):
            pen.text((x + 4, y + 3 + 15 * row), line, fill=TEXT, font=font)
    return picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _lines(title: str) -> Iterator[str]:
    yield from title.split(" ")


def main() -> None:
    """Write one thumbnail."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="of the workflow, without .json")
    parser.add_argument("file", nargs="?", type=Path, help="what it made")
    options = parser.parse_args()
    picture = moments(options.file) if options.file else drawing(options.name)
    picture.save(WORKFLOWS / f"{file_name(options.name)}.jpg", quality=88)


if __name__ == "__main__":
    main()
