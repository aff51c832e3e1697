"""The form of question that one server accepts: its way to enforce a schema, and its names for settings.

A dialect begins with the profile, and learns from each refusal of the server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from .profiles import Profile, Setting

# Ways to hold an answer to its schema: the server's grammar, Ollama's own, any JSON, or the prompt alone.
Level = Literal["json_schema", "ollama format", "json_object", "no format"]
LEVELS: tuple[Level, ...] = get_args(Level)
_FORMAT = "response_format"
# Other servers' names for a setting. A refusal that contains one of them says which name to use.
_OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "max_tokens": ("max_completion_tokens", "max_output_tokens", "max_new_tokens")
}
MOST_NAMED = 3  # a refusal that names more settings only repeats the question
_SPOKEN = {"stream": r"stream(?:ing)?"}  # other words that a refusal may use for a setting


@dataclass(frozen=True)
class Dialect:
    """The dialect of one server.

    Attributes:
        level: way in which an answer is held to its schema.
        left_out: settings that are not sent.
        renamed: server's name for a setting, by our name.
    """

    level: Level = LEVELS[0]
    left_out: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, profile: Profile) -> Dialect:
        """Return the dialect to begin with, by the profile alone."""
        level = LEVELS[-1] if _FORMAT in profile.omit else LEVELS[0]
        # OpenAI's newer models refuse the name that others know.
        openai = urlsplit(profile.base_url).hostname == "api.openai.com"
        renamed = {"max_tokens": "max_completion_tokens"} if openai else {}
        return cls(level, frozenset(profile.omit), renamed | dict(profile.rename))

    def question(
        self, model: str, turns: Sequence[Mapping[str, str]], schema: Mapping[str, Any], **settings: Any
    ) -> dict[str, Any]:
        """Return the body of a question to ``/chat/completions``. A setting of None is not sent."""
        if self.level == "json_schema":
            form = {"name": "answer", "strict": True, "schema": schema}
            settings[_FORMAT] = {"type": self.level, "json_schema": form}
        elif self.level == "json_object":
            settings[_FORMAT] = {"type": self.level}
        sent = {
            self.renamed.get(name, name): value
            for name, value in settings.items()
            if value is not None and name not in self.left_out
        }
        return {"model": model, "messages": list(turns), **sent}

    def ollama_question(
        self,
        model: str,
        turns: Sequence[Mapping[str, str]],
        schema: Mapping[str, Any],
        *,
        max_tokens: int | None,
        stream: bool,
        **settings: Any,
    ) -> dict[str, Any]:
        """Return the body of a question to Ollama's own ``/api/chat``; see ``question``."""
        options = {name: value for name, value in settings.items() if name not in self.left_out}
        if "max_tokens" not in self.left_out:
            options["num_predict"] = max_tokens or -1
        body = {"model": model, "messages": list(turns), "stream": stream and "stream" not in self.left_out}
        return body | {"format": schema, "options": options}

    def below(self) -> list[Dialect]:
        """Return this dialect, then those that enforce the schema less and less."""
        return [replace(self, level=level) for level in LEVELS[LEVELS.index(self.level) :]]

    def without(self, sent: Mapping[str, Any], refusal: str) -> tuple[Dialect, str] | None:
        """Return a dialect without the refused setting, or with another name for it, and the change in words.

        Args:
            sent: the question's body.
            refusal: server's reply.

        Examples:
            >>> dialect, change = Dialect().without({"max_tokens": 9}, "use 'max_completion_tokens' instead")
            >>> dict(dialect.renamed), change
            ({'max_tokens': 'max_completion_tokens'}, 'max_tokens as max_completion_tokens')
            >>> Dialect().without({"seed": 9}, "'seed' is not supported")[1]
            'no seed'
        """
        places: dict[int, str] = {}
        for setting in set(get_args(Setting)) - {_FORMAT}:  # a lower level leaves it out
            name = self.renamed.get(setting, setting)
            place = _find(refusal, _SPOKEN.get(name, re.escape(name))) if name in sent else None
            others = [each for each in _OTHER_NAMES.get(setting, ()) if _find(refusal, each) is not None]
            if name in sent and setting not in self.renamed and others:
                renamed = {**self.renamed, setting: others[0]}
                return replace(self, renamed=renamed), f"{setting} as {others[0]}"
            if place is not None:
                places[place] = setting
        if not places or len(places) > MOST_NAMED:
            return None
        setting = places[min(places)]
        return replace(self, left_out=self.left_out | {setting}), f"no {setting}"


def _find(text: str, pattern: str) -> int | None:
    """Return the place of a word in a text. A word that is named as the fault comes before all others."""
    fault = re.search(rf'"(?:param|loc)"\s*:[^}}\]]{{0,99}}"{pattern}"', text, re.IGNORECASE)
    word = fault or re.search(rf"(?<![\w-]){pattern}(?![\w-])", text, re.IGNORECASE)
    return None if word is None else word.start() - len(text) * bool(fault)
