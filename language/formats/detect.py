"""The formats by name, and the format of a text."""

from __future__ import annotations

from collections.abc import Callable

from ...models.storyboard.scenes import Storyboard
from .frameloom_json import read_frameloom_json
from .lvd import read_lvd
from .source import Source, TextError
from .storyboard20k_json import read_storyboard20k_json, write_storyboard20k_json
from .storyboard20k_lines import read_storyboard20k_lines, write_storyboard20k_lines
from .tracks import Settings
from .video_director import read_video_director
from .visor import read_visor

AUTO = "auto"
# Readers take a text, and the length, speed and size of a scene where their format does not say them.
# LVD comes before VideoDirectorGPT, since it needs one more line for frames that are all empty.
READERS: dict[str, Callable[[Source, Settings], Storyboard]] = {
    "Frameloom JSON": read_frameloom_json,
    "LVD frames": read_lvd,
    "VideoDirectorGPT plan": read_video_director,
    "VisorGPT sequence": read_visor,
    "Storyboard20K JSON": read_storyboard20k_json,
    "Storyboard20K lines": read_storyboard20k_lines,
}
WRITERS: dict[str, Callable[[Storyboard], str]] = {
    "Frameloom JSON": Storyboard.to_json,
    "Storyboard20K JSON": write_storyboard20k_json,
    "Storyboard20K lines": write_storyboard20k_lines,
}


def read_layout(text: str, name: str, settings: Settings) -> Storyboard:
    """Read a text as a storyboard; as ``find_layout``, without the format's name."""
    return find_layout(text, name, settings)[1]


def find_layout(text: str, name: str, settings: Settings) -> tuple[str, Storyboard]:
    """Find a text's format and read it as a storyboard.

    Args:
        text: text of a layout.
        name: name of a format in ``READERS``, or ``AUTO`` to try each.
        settings: length, speed and size, where the format does not say them.

    Returns:
        The format's name, and the storyboard.

    Raises:
        TextError: it is not of that format. Or it is of no format; says why for each, and in full for the format that
            read furthest.
    """
    if name != AUTO:
        return name, READERS[name](Source(text, name), settings)
    Source(text, "text")
    failures: dict[str, TextError] = {}
    for each, reader in READERS.items():
        try:
            return each, reader(Source(text, each), settings)
        except TextError as error:
            failures[each] = error
    nearest = max(failures, key=lambda each: failures[each].at)
    others = "; ".join(f"{each}, {error.why}" for each, error in failures.items() if each != nearest)
    message = f"text is of no format. Nearest: {failures[nearest]} Also tried: {others}."
    raise TextError(message, failures[nearest].at, failures[nearest].why)
