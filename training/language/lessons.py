"""Questions and answers as rows of tokens: several in one row, none of which sees another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

UNASKED = -100  # target of a token that is given, as torch's cross-entropy has it


@dataclass(frozen=True, slots=True)
class Lesson:
    """A question and its answer.

    Attributes:
        question: tokens that are given.
        answer: tokens that are to be learned, with the one that ends an answer.
    """

    question: Sequence[int]
    answer: Sequence[int]

    def __len__(self) -> int:
        return len(self.question) + len(self.answer)


@dataclass(frozen=True, slots=True)
class Row:
    """Lessons side by side, L tokens in all.

    Attributes:
        tokens: [L] tokens.
        targets: [L] the token after each, where that is part of an answer, and else ``UNASKED``.
        positions: [L] place of each token in its own lesson.
        lessons: [L] number of each token's lesson.
    """

    tokens: Tensor
    targets: Tensor
    positions: Tensor
    lessons: Tensor

    def mask(self, dtype: torch.dtype) -> Tensor:
        """Return what is added to attention's logits, [1, 1, L, L]: a token sees those before it in its own lesson."""
        count = len(self.tokens)
        seen = (self.lessons[:, None] == self.lessons) & torch.ones(count, count, dtype=torch.bool).tril()
        return torch.zeros(count, count, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)[None, None]


def pack(lessons: Sequence[Lesson]) -> Row:
    """Return lessons side by side in one row."""
    tokens, targets, positions, numbers = [], [], [], []
    for number, lesson in enumerate(lessons):
        whole = [*lesson.question, *lesson.answer]
        tokens += whole
        targets += [UNASKED] * (len(lesson.question) - 1) + [*lesson.answer, UNASKED]
        positions += range(len(whole))
        numbers += [number] * len(whole)
    return Row(*map(torch.tensor, (tokens, targets, positions, numbers)))


def fill(draw: Callable[[], Lesson], length: int) -> Row:
    """Return a row of as many lessons as ``length`` tokens have room for.

    Args:
        draw: function that returns the next lesson.
        length: most tokens of the row.

    Raises:
        ValueError: one lesson alone is longer.
    """
    lessons, room = [draw()], length
    while (room := room - len(lessons[-1])) >= 0:
        lessons.append(draw())
    if len(lessons) == 1:
        raise ValueError(
            f"tokens={length}: got a script and its storyboard of {len(lessons[0])} tokens; expected room for them in "
            "one row; raise tokens, or shorten what is learned from."
        )
    return pack(lessons[:-1])
