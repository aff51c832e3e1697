"""Our own storyboards as JSON. An error names the line of the fault."""

from __future__ import annotations

from ...models.storyboard.scenes import Storyboard, StoryboardError, parse_storyboard
from .literal import Value, parse_literal
from .source import Source, TextError
from .tracks import Settings


def read_frameloom_json(source: Source, settings: Settings) -> Storyboard:
    """Read a storyboard, with its provenance. The format says everything itself, so settings are not used."""
    value = parse_literal(source)
    try:
        return parse_storyboard(source.text)
    except StoryboardError as error:
        for part in error.path:
            value = _step(value, part)
        line = source.text.count("\n", 0, value.at) + 1
        why = f"line {line}: {error}"
        raise TextError(f"{source.name} {why}", value.at, why) from error


def _step(value: Value, part: int | str) -> Value:
    """Return the value at a key or place, or the outer value if there is none."""
    within = value.data
    if isinstance(within, dict) and isinstance(part, str):
        return within.get(part, value)
    if isinstance(within, list) and isinstance(part, int):
        return (within[part : part + 1] or [value])[0]
    return value
