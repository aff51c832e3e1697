"""A language model that answers from a list, and keeps what it was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from frameloom.language.model import Message, Watch

SCENES = {
    "scenes": [
        {
            "prompt": "a red ball in a park",
            "background": "a park",
            "entities": [{"id": "ball", "text": "a red ball"}],
        }
    ]
}
KEYS = [{"t": 0, "x": 5, "y": 50, "w": 30, "h": 30}, {"t": 100, "x": 60, "y": 50, "w": 30, "h": 30}]
BOXES = {"entities": [{"id": "ball", "keys": KEYS}]}
RIGHT = (json.dumps(SCENES), json.dumps(BOXES))


class ScriptedModel:
    """Gives the next answer of a list; an exception in it is raised."""

    label = "scripted"

    def __init__(self, *answers: str | Exception, identity: str = "scripted 1") -> None:
        self.answers = list(answers)
        self.identity = identity
        self.asked: list[list[Message]] = []
        self.schemas: list[Mapping[str, Any]] = []

    def complete(
        self, messages: Sequence[Message], schema: Mapping[str, Any], *, seed: int, watch: Watch
    ) -> str:
        """Return the next answer."""
        self.asked.append(list(messages))
        self.schemas.append(schema)
        watch(1)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer
