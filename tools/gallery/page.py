"""``docs/gallery.md``: every workflow by its family, with its picture, its title and one line.

Families and lines are those of ``docs/workflows.md``, so that each is written once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from frameloom.tools.gallery.demo import NAMES, SIDE, drawing_of, needs_weights
from frameloom.tools.templates import template_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, LIST, PICTURES = DOCS / "gallery.md", DOCS / "workflows.md", DOCS / "gallery"
COLUMNS = 3
HEAD = f"""# Gallery

What every workflow makes. The bundled demo model drew all of it on a CPU. That model has 4 million parameters and
{SIDE} pixels a side, and knows colored shapes and no more. So the pictures show what a technique *does*, and not how
good a picture can be.

Workflows whose names end in `_sd15` or `_sdxl` are made for Stable Diffusion 1.5 and SDXL, whose files are not part of
this repository. Here the same graph runs on the demo model, with the demo's motion module, prompts, size and guidance.
Nodes whose weights it has none for are left out; the line in italics says which. With those files you will see other
pictures.

Trainings and some long clips are shortened, which the line in italics says, too.

`make gallery` makes this page and its pictures. [workflows.md](workflows.md) is the same list without pictures.
"""


def families() -> dict[str, dict[str, str]]:
    """Return the one line of each workflow by its family, in the order of the list.

    Raises:
        ValueError: a workflow is not in the list.
    """
    found: dict[str, dict[str, str]] = {}
    for heading, name, line in re.findall(
        r"^## (.+)$|^\| `(\w+)` \| [^|]+ \| (.+) \|$", LIST.read_text("utf-8"), re.M
    ):
        if heading:
            found[heading] = {}
        else:
            found[list(found)[-1]][name] = line
    missing = set(NAMES) - {name for lines in found.values() for name in lines}
    if missing:
        raise ValueError(
            f"docs/{LIST.name}: got no row for {', '.join(sorted(missing))}; expected one for every workflow; add it."
        )
    return found


def text() -> str:
    """Return the page."""
    parts = [HEAD]
    for family, lines in families().items():
        cells = list(_cells(lines))
        cells += [""] * (-len(cells) % COLUMNS)
        rows = [cells[place : place + COLUMNS] for place in range(0, len(cells), COLUMNS)]
        table = [["" for _ in range(COLUMNS)], ["---" for _ in range(COLUMNS)], *rows]
        parts.append(f"## {family}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in table))
    return "\n".join(parts)


def _cells(lines: dict[str, str]) -> Iterator[str]:
    for name, line in lines.items():
        cell = f"![{name}]({PICTURES.name}/{name}.webp) <br> **{template_of(name).title}** <br> {line} <br> `{name}`"
        changed = list(drawing_of(name).changed)
        if needs_weights(name):
            changed.insert(0, "on the demo model")
        yield cell + (f" <br> *Drawn {', '.join(changed)}*" if changed else "")
