"""What a planner asks of a language model, wherever it runs: what a FRAMELOOM_LLM socket carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Watch = Callable[[int], None]  # told how many characters have come; raises what stops the work
Tell = Callable[[str], None]  # told what is to be known of how something was read


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


class LanguageModel(Protocol):
    """A chat model that was chosen and set up. Immutable; holds no key."""

    @property
    def label(self) -> str:
        """The name its user gave it: a profile's or a file's, never an address."""
        ...

    @property
    def identity(self) -> str:
        """What tells its answers from another model's, for a cache: label, model, settings; no key, no address."""
        ...

    def complete(
        self, messages: Sequence[Message], schema: Mapping[str, Any], *, seed: int, watch: Watch
    ) -> str:
        """Return the model's answer, as it came: who asks, checks it.

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
