"""Make the tables of docs/from-animatediff-evolved.md: the converter's own rules, and how graphs come out.

Without an option, the rules are written; ``--check`` says whether they are out of date. ``--count FOLDER...`` counts
graphs in folders, too, which are no part of the repository.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from frameloom.models.convert.convert import BadGraphError, convert
from frameloom.models.convert.report import Line
from frameloom.models.convert.rules import NOT_HERE, RULES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "from-animatediff-evolved.md"
BEGIN, END = "<!-- made by tools/conversion.py -->", "<!-- end -->"
COUNT_BEGIN, COUNT_END = "<!-- made by tools/conversion.py --count -->", "<!-- end of counts -->"
OUTCOMES = ("exact", "near", "not possible")
ANIMATEDIFF = ("(ADE_", "(AnimateDiff", "(CheckpointLoaderSimpleWithNoiseSelect", "(KSampler)")


def table() -> str:
    """Return the table, in Markdown."""
    rows = ["| node | here | what is not exact |", "|---|---|---|"]
    rows += [f"| {_names(rule.kinds)} | {rule.here} | {rule.but} |" for rule in RULES]
    reasons: dict[str, list[str]] = {}
    for kind, why in NOT_HERE.items():
        reasons.setdefault(why, []).append(kind)
    for why, kinds in reasons.items():
        lost, _, instead = why.rstrip(".").partition(" Instead: ")
        rows.append(f"| {_names(tuple(kinds))} | not possible: {lost.rstrip('.')} | instead: {instead} |")
    return "\n".join(rows)


def counts(folders: list[Path]) -> str:
    """Return how the graphs in folders come out, as a table in Markdown."""
    rows = ["| graphs | part | exact | near | not possible | exact or near |", "|---|---|---|---|---|---|"]
    for folder in folders:
        parts: dict[str, Counter[str]] = {
            "nodes of AnimateDiff": Counter(),
            "all that is converted": Counter(),
        }
        for path in sorted(folder.glob("*.json")):
            try:
                lines = convert(json.loads(path.read_text("utf-8"))).report.lines
            except BadGraphError:
                continue
            lines = [line for line in lines if line.verdict != "left"]
            of_animatediff = [line for line in lines if any(mark in line.what for mark in ANIMATEDIFF)]
            for name, found in zip(parts, (of_animatediff, lines), strict=True):
                parts[name] += Counter([_outcome(found)] if found else [])
        for name, found in parts.items():
            total = sum(found.values())
            share = (total - found["not possible"]) / max(total, 1)
            cells = " | ".join(str(found[each]) for each in OUTCOMES)
            rows.append(f"| {folder.name}: {total} | {name} | {cells} | {share:.2f} |")
    return "\n".join(rows)


def _outcome(lines: list[Line]) -> str:
    return max((line.verdict for line in lines), key=OUTCOMES.index)


def _names(kinds: tuple[str, ...]) -> str:
    return ", ".join(f"`{kind}`" for kind in kinds)


def page(text: str) -> str:
    """Return a page with the table as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--count", nargs="+", type=Path, metavar="FOLDER", help="count the graphs in folders")
    given, old = parser.parse_args(), PAGE.read_text("utf-8")
    check, new = given.check, page(old)
    if given.count:
        before, _, rest = new.partition(COUNT_BEGIN)
        after = rest.partition(COUNT_END)[2]
        new = f"{before}{COUNT_BEGIN}\n\n{counts(given.count)}\n\n{COUNT_END}{after}"
    if not check:
        PAGE.write_text(new, "utf-8")
    print("up to date" if new == old else "out of date" if check else "written")
    return int(check and new != old)


if __name__ == "__main__":
    raise SystemExit(main())
