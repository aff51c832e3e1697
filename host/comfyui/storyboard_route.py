"""The editor's way to the readers of Layout From Text, so that its boxes are those of a run.

``POST /frameloom/storyboard`` takes the node's text and what it says about it as JSON. It gives ``{"storyboard",
"format"}``, or for a text that is none ``{"error", "line"}``, with the line that the error speaks of.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .json_route import JsonRoute


class _Question(BaseModel):
    """The text, and the node's settings under the names of its inputs."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    text: str
    format: str = "auto"
    frames: int = Field(default=16, ge=0, le=100_000)
    fps: float = Field(default=8.0, gt=0, le=1000)
    width: int = Field(default=512, ge=8, le=16_384)
    height: int = Field(default=512, ge=8, le=16_384)


def _answer(body: bytes) -> dict[str, Any]:
    """Return a text's storyboard, or why it is none; ValueError says what was got in place of a question."""
    # Only here: ComfyUI's start need not wait for it.
    from ...language.formats.detect import AUTO, READERS, find_layout
    from ...language.formats.source import TextError
    from ...language.formats.tracks import Settings

    try:
        asked = _Question.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, fault['loc'])) or 'text'}: {fault['msg']}") from error
    if asked.format not in (AUTO, *READERS):
        raise ValueError(f"format {asked.format[:40]!r}")
    settings = Settings(asked.frames, asked.fps, (asked.width, asked.height))
    try:
        name, storyboard = find_layout(asked.text, asked.format, settings)
    except TextError as error:
        return {"error": str(error), "line": asked.text.count("\n", 0, error.at) + 1}
    return {"storyboard": storyboard.model_dump(mode="json"), "format": name}


ROUTE = JsonRoute(
    "/frameloom/storyboard",
    _answer,
    expected="text, format, frames, fps, width and height as JSON",
    most_bytes=9 * 1024 * 1024,  # of a text as long as a storyboard may be, in UTF-8
    instead="give fewer scenes at a time",
)
