"""The workflows in API form that ship."""

from __future__ import annotations

import json
from pathlib import Path

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows" / "api"


def read_graph(name: str) -> dict:
    """Return one by its name."""
    return json.loads((WORKFLOWS / f"{name}.json").read_text("utf-8"))
