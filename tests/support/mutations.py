"""Texts that went wrong: seeded random damage to a good text, and what every reader must make of it."""

from __future__ import annotations

import re

from frameloom.language.formats.detect import AUTO, WRITERS, read_layout
from frameloom.language.formats.source import TextError
from frameloom.language.formats.tracks import Settings
from frameloom.models.storyboard.scenes import parse_storyboard

PIECES = [
    *"[](){}'\",:;#\\-. \n\t0159eE",
    *("\x00", "\r", "\ufeff", "\u200b", "\u0663", "\u00e9", "\U0001f98a", "\ud800", "\udfff"),
    *("\\ud800", "\\u0000", "\\x4", "null", "None", "true", "NaN", "nan", "Infinity", "-inf", "-1", "1e999", "1e-999"),
    *("0.5", "513", "9" * 50, "0x1", "1_0", "Frame 1:", "Frame_2:", "Scene 1:", "Background keyword:", "Reasoning:"),
    *("caption:", "\n\n", "```", " - ", "# ", "[CLS]", "[SEP]", " ##", "xmin", "ymax", "m0", " a ", "box; ", "mask; "),
    *("key point; ", " ; ", "; {", "keypoint; ", "'id': 0", "'box'", '"scenes"', '"version"', '"track"', '"frames"'),
    *('"bboxes_person"', "'objects'", "__import__('os')"),
]  # fmt: skip
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def mutate(rng, text, others):
    """The text with one to five pieces of damage.

    Args:
        rng: a ``random.Random``.
        text: a good one.
        others: texts of other formats, to cross with.
    """
    for _ in range(rng.randint(1, 5)):
        start = rng.randint(0, len(text))
        stop = min(start + rng.choice([1, 1, 2, 5, 20, 200]), len(text))
        kind = rng.randrange(11)
        if kind == 0:
            text = text[:start] + text[stop:]
        elif kind == 1:
            text = text[:stop] + text[start:stop] * rng.choice([1, 1, 2, 50]) + text[stop:]
        elif kind == 2:
            text = text[:start] + rng.choice(PIECES) + text[stop:]
        elif kind == 3:
            text = text[:start] + rng.choice(PIECES) + text[start:]
        elif kind == 4:
            text = text[:start] if rng.random() < 0.5 else text[start:]
        elif kind == 5:
            depth = rng.choice([1, 2, 70, 1000])
            text = (
                text[:start]
                + rng.choice(["[", "{'a':", "("]) * depth
                + text[start:stop]
                + "]" * depth
                + text[stop:]
            )
        elif kind == 6:
            text = (
                text[:start] + chr(rng.choice([rng.randrange(128), rng.randrange(0x110000)])) + text[start:]
            )
        elif kind == 7:
            lines = text.split("\n")
            rng.shuffle(lines)
            text = "\n".join(lines)
        elif kind == 8:
            other = rng.choice(others)
            cut = rng.randint(0, len(other))
            text = text[:start] + other[cut : cut + 300] + text[stop:]
        elif numbers := list(NUMBER.finditer(text)):
            match = rng.choice(numbers)
            changed = rng.choice(
                [rng.choice(PIECES), str(rng.randrange(-10, 600)), f"{rng.uniform(-0.2, 1.2):.3f}"]
            )
            text = text[: match.start()] + changed + text[match.end() :]
    return text


def read_or_refuse(text, name):
    """Whether a text is read; what is read is a storyboard that can be written, what is refused is told where.

    Raises:
        AssertionError: neither.
    """
    try:
        storyboard = read_layout(text, name, Settings())
    except TextError as error:
        check_refusal(error, text, name)
        return False
    assert parse_storyboard(storyboard.to_json()) == storyboard
    for write in WRITERS.values():
        assert read_layout(write(storyboard), AUTO, Settings(size=storyboard.size))
    return True


def check_refusal(error, text, name):
    """The message has a line of the text, what was expected, and is one line that anything can print."""
    message = str(error)
    heads = [
        rf"{name} line (\d+): ",
        r"text line (\d+): ",
        r"text is of no format\. Nearest: [\w ]+ line (\d+): ",
    ]
    match = re.match("|".join(heads), message)
    assert match, message
    assert 1 <= int(match[match.lastindex]) <= text.count("\n") + 1
    assert "; expected " in message
    assert len(message) < (2500 if name == AUTO else 600), message
    assert message.isprintable(), message
    assert 0 <= error.at <= len(text)
