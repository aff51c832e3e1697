"""Measure what the demo model does, with controls, and write docs/evidence.md.

usage: python -m frameloom.tools.evidence [--samples N] [--only SECTION ...] [--device NAME] [--workers N]

Runs headless, on the shipped weights; on the CPU, unless another device is named, which a section then says. Every
prompt, start noise and order comes from fixed seeds, so the set is published by this folder. Rows live in
docs/evidence.json, keyed by the hash of the files that their section measures: what was measured on these very weights
is not measured again, and what was measured on others is not shown.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from frameloom.tools.evidence import summary
from frameloom.tools.evidence.rows import judge, show_number
from frameloom.tools.evidence.studio import CFG, CPU, ROOT, SAMPLER, SCHEDULER, STEPS, Section, Studio

ROWS = ROOT / "docs" / "evidence.json"
REPORT = ROOT / "docs" / "evidence.md"
PARTS = ("keys", "samples", "devices", "sections")  # of what is stored, each by section


def _load() -> dict:
    return json.loads(ROWS.read_text()) if ROWS.exists() else {part: {} for part in PARTS}


def find_sections() -> dict[str, Section]:
    """Return the sections of every file of this folder: those that are stored in their order, then new ones."""
    files = sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
    found: dict[str, Section] = {}
    for name in files:
        if not name.startswith("__"):
            found |= getattr(import_module(f".{name}", __package__), "SECTIONS", {})
    stored = [name for name in _load()["sections"] if name in found]
    return {name: found[name] for name in dict.fromkeys([*stored, *found])}


SECTIONS = find_sections()


def read_rows() -> dict:
    """Return what is stored of the sections whose files are as they were, in their order."""
    stored = _load()
    current = [name for name, section in SECTIONS.items() if stored["keys"].get(name) == section.key]
    return {part: {name: stored[part][name] for name in current} for part in PARTS}


def store(section: str, rows: list[dict], samples: int, device: str) -> None:
    """Put a section's rows, what ``--samples`` was, and where it ran beside what another process may have stored."""
    stored = _load()
    for part, value in zip(PARTS, (SECTIONS[section].key, samples, device, rows), strict=True):
        stored[part][section] = value
    ROWS.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def write_report(stored: dict) -> None:
    """Render docs/evidence.md from the stored rows."""
    lines = [
        "# Evidence",
        "",
        "Written by `make evidence`; every row is measured on the bundled demo model, headless, on a CPU unless a "
        f"section says otherwise: {STEPS} steps of {SAMPLER}, {SCHEDULER} schedule, guidance {CFG}. Prompts and start "
        "noise are fixed by `tools/evidence/`. Intervals are 95 % bootstrap over independent samples; a target stands "
        "beside the row it is for, and is met (yes) when the whole interval meets it.",
        "",
        "The claims in short, each with its technique and without it; what else was measured stands below.",
        "",
        *summary.lines(stored["sections"]),
    ]
    for section, rows in stored["sections"].items():
        lines += [
            "",
            f"## {section[0].upper() + section[1:]}",
            "",
            *([note, ""] if (note := SECTIONS[section].note) else []),
            *([] if (device := stored["devices"][section]) == CPU else [f"Measured on {device}.", ""]),
            "| claim | arm | mean | 95 % interval | n | target | met |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [show(entry) for entry in rows]
    REPORT.write_text("\n".join(lines) + "\n", encoding="utf-8")


def show(entry: dict) -> str:
    """Render a row."""
    value, low, high = (show_number(entry[name], entry) for name in ("value", "low", "high"))
    cells = [entry["claim"], entry["arm"], value, f"{low} .. {high}"]
    return f"| {' | '.join([*cells, str(entry['count']), entry['target'], judge(entry)])} |"


def main() -> int:
    """Measure what is missing and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--device", default="cpu", help="by torch's name")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that share the prompts of long video"
    )
    arguments = parser.parse_args()
    studio = Studio(arguments.device, arguments.workers)
    for section in arguments.only:
        if read_rows()["samples"].get(section, 0) >= arguments.samples:
            print(f"{section}: measured already")
        else:
            start = time.time()
            rows = [asdict(entry) for entry in SECTIONS[section].rows(studio, arguments.samples)]
            print(f"{section}: {time.time() - start:.0f} s", flush=True)
            store(section, rows, arguments.samples, studio.device)
        write_report(read_rows())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
