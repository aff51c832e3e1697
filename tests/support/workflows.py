"""The workflows in API form that ship."""

from __future__ import annotations

import json
from pathlib import Path

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows" / "api"

# Values of nuwa_demo that leave it 6 small jobs of one step.
_SMALL = "3.width=64 7.width=64 8.steps=1 12.steps=1 3.length=3 3.depth=3"
SHORT_NUWA = (*_SMALL.split(), "3.prompts=a red circle")


def read_graph(name: str) -> dict:
    """Return one by its name."""
    return json.loads((WORKFLOWS / f"{name}.json").read_text("utf-8"))
