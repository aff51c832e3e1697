"""The language model as planners see it, wherever it runs; a FRAMELOOM_LLM socket carries one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

Watch = Callable[[int], None]  # gets the number of characters that have come; raises to stop the work
Tell = Callable[[str], None]  # gets a sentence for the user about how something was read


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


class LanguageModel(Protocol):
    """A chat model that was chosen and set up. It is immutable and holds no key."""

    @property
    def label(self) -> str:
        """The name that the user gave it: of a profile or a file, never an address."""
        ...

    @property
    def identity(self) -> str:
        """Text that differs between models, for a store of answers: label, model and settings; no key, no address."""
        ...

    def complete(
        self, messages: Sequence[Message], schema: Mapping[str, Any], *, seed: int, watch: Watch
    ) -> str:
        """Return the model's answer as it came. The caller checks it.

        Args:
            messages: the conversation.
            schema: JSON schema that the answer should follow; enforced where the model's server can.
            seed: seed of sampling, for models that take one.
            watch: callback that gets the number of characters again and again while the answer comes; it
                raises to stop the work.

        Raises:
            models.errors.LanguageModelError: there is no answer; says why and what to do, and holds no key.
        """
        ...


@runtime_checkable
class TunedModel(LanguageModel, Protocol):
    """A model in this process, which can be held to a grammar of its own."""

    @property
    def form(self) -> str:
        """The form in which it was tuned to write whole storyboards, see ``answers.compact``; empty: it was not."""
        ...

    def write(self, messages: Sequence[Message], grammar: str, *, seed: int, watch: Watch) -> str:
        """Return the model's answer, which follows a grammar in Lark's notation; the rest as in ``complete``."""
        ...
