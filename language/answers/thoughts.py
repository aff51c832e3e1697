"""Marks that language models write around their thoughts and their answers, of all families that we know.

This file knows the marks, and what each means for the text before and behind it. ``reading`` finds the objects.
"""

from __future__ import annotations

import re

_THOUGHT = (
    "think|thinking|thoughts?|reason|reasoning|reflection|analysis|scratchpad|longcat_think|antthinking"
)
_ANSWER = "answer|final_answer|final|solution|response|output|box"

# The kinds of marks, as many families spell them: <think>, [THINK], <|begin_of_thought|>, harmony's channels, ...
_KINDS = {
    "opens": rf"""
        <(?:\w+:)?(?:{_THOUGHT})(?:\s[^<>{{}}]*)?> | \[(?:{_THOUGHT})\] | ◁(?:{_THOUGHT})▷ | <unused94>
        | <[|｜](?:begin|start)(?:[_▁\s]of)?[_▁\s](?:{_THOUGHT})[|｜]> | <[|｜](?:{_THOUGHT})(?:_(?:begin|start))?[|｜]>
        | (?-i:\A\s*analysis(?=[A-Z{{"]))""",  # a channel's name that lost its marks
    "channel": r"<\|channel\|?>\s*(?!final)\w+(?:[^<>]{0,80}<\|message\|>)?",
    "closes": rf"""
        </(?:\w+:)?(?:{_THOUGHT})\s*> | \[/(?:{_THOUGHT})\] | ◁/(?:{_THOUGHT})▷ | <unused95>
        | <[|｜]end(?:[_▁\s]of)?[_▁\s](?:{_THOUGHT})[|｜]> | <[|｜](?:/(?:{_THOUGHT})|(?:{_THOUGHT})_end)[|｜]>""",
    "answers": rf"""
        <(?:{_ANSWER})> | \[BEGIN\ FINAL\ RESPONSE\] | <\|channel\|?>\s*final(?:[^<>]{{0,80}}<\|message\|>)?
        | <[|｜](?:(?:begin|start)(?:[_▁\s]of)?[_▁\s])?(?:{_ANSWER})[|｜]> | (?-i:assistantfinal)""",
    "answered": rf"""
        </(?:{_ANSWER})> | \[END\ FINAL\ RESPONSE\] | <[|｜]end(?:[_▁\s]of)?[_▁\s](?:{_ANSWER})[|｜]>""",
    "ends": r"<\|(?:end|return|call|start)\|> | <channel\|>",  # ends a channel, if one is open
}
MARK = "|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _KINDS.items())
_WORD = re.compile(r"\S")
_FRAME = re.compile(rf"{MARK} | ```\w* | <[|｜]\w+[|｜]> | </?s>", re.IGNORECASE | re.VERBOSE)


class Aside:
    """Follows the marks of a text from left to right, and tells the answer from what stands aside of it."""

    def __init__(self) -> None:
        self.is_open = False
        self._channel = self._closed = False
        self.since = 0  # place where the text that is not aside begins

    def meet(self, mark: re.Match[str]) -> int | None:
        """Read a mark. If it shows that text before it was aside after all, return where that text begins.

        A closing mark without an opening one ends thoughts that were opened in the prompt, or by a mark around them.
        The text between the mark before and this one is then aside. A last closing mark behind an answer means nothing.
        """
        kind, since = mark.lastgroup, self.since
        if kind in ("opens", "channel"):
            self._channel = kind == "channel" if not self.is_open else self._channel
            self.is_open = True
            return None
        if kind == "ends" and not (self.is_open and self._channel):
            return None
        stray = (
            kind == "closes"
            and not self.is_open
            and (not self._closed or _WORD.search(mark.string, mark.end()) is not None)
        )
        self._closed |= kind == "closes"
        self.is_open, self._channel = kind == "answered", False
        self.since = mark.end()
        return since if stray or kind == "answers" else None


def is_frame(text: str) -> bool:
    """Tell whether a text holds only marks, fences and blanks.

    Examples:
        >>> is_frame(" </think> ```json"), is_frame("<think> hm")
        (True, False)
    """
    return not _FRAME.sub("", text).strip()
