"""The editor's way to the converter.

``POST /frameloom/convert`` takes a workflow as JSON, and gives ``{"graph", "verdict", "report"}``, or ``{"error"}``
with what was got and what was expected.
"""

from __future__ import annotations

from typing import Any

from ...models.files.json_text import BadJSONError, read_json
from .json_route import JsonRoute


def _answer(body: bytes) -> dict[str, Any]:
    """Return what the editor gets for a workflow; ValueError says what was got in its place."""
    from ...models.convert.convert import convert  # only here: ComfyUI's start need not wait for it

    try:
        made = convert(read_json(body))
    except BadJSONError as error:
        raise ValueError(str(error)) from error
    lines = [{"verdict": each.verdict, "text": str(each)} for each in made.report.lines]
    return {"graph": made.graph, "verdict": made.report.verdict, "report": lines}


ROUTE = JsonRoute(
    "/frameloom/convert",
    _answer,
    expected="a workflow of the editor as JSON",
    most_bytes=16 * 1024 * 1024,
    instead="use the command frameloom convert",
)
