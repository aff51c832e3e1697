"""Make the table of docs/from-animatediff-evolved.md from the converter's own rules.

python tools/conversion.py            write it
python tools/conversion.py --check    say whether it is out of date
"""

from __future__ import annotations

import argparse
from pathlib import Path

import frameloom.models.convert.convert  # noqa: F401  # adds the rules
from frameloom.models.convert.rules import NOT_HERE, RULES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "from-animatediff-evolved.md"
BEGIN, END = "<!-- made by tools/conversion.py -->", "<!-- end -->"


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
    check, old = parser.parse_args().check, PAGE.read_text("utf-8")
    new = page(old)
    if not check:
        PAGE.write_text(new, "utf-8")
    print("up to date" if new == old else "out of date" if check else "written")
    return int(check and new != old)


if __name__ == "__main__":
    raise SystemExit(main())
