"""Language models that answer from a list or by rule, and keep what they were asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from frameloom.language.llm.model import Message, Watch

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


class BetweenModel(ScriptedModel):
    """Answers every question for prompts between two: ``a 1 b`` is the first between ``a`` and ``b``."""

    @property
    def questions(self) -> list[dict[str, Any]]:
        """What was asked, first tries alone."""
        return [json.loads(talk[1].text.partition("\n")[2]) for talk in self.asked if len(talk) == 2]

    def complete(
        self, messages: Sequence[Message], schema: Mapping[str, Any], *, seed: int, watch: Watch
    ) -> str:
        """Return a right answer, or the next of the list while there is one."""
        right = write_between(json.loads(messages[1].text.partition("\n")[2]))
        self.answers = self.answers or [right]
        return super().complete(messages, schema, seed=seed, watch=watch)


def write_between(question: Mapping[str, Any]) -> str:
    """Return a right answer to a question for prompts between two."""
    numbers = range(1, question["count"] + 1)
    return json.dumps({"prompts": [f"{question['before']} {n} {question['after']}" for n in numbers]})
