"""The reader of literals: what JSON and Python read, it reads the same; what is more than data, it refuses."""

from __future__ import annotations

import ast
import json
import random

import pytest
from frameloom.language.formats import literal
from frameloom.language.formats.literal import MAX_DEPTH, parse_literal, read_literal
from frameloom.language.formats.source import MAX_EXCERPT, Source, TextError, excerpt


def plain(value):
    """What a value holds, without places."""
    if isinstance(value.data, list):
        return [plain(item) for item in value.data]
    if isinstance(value.data, dict):
        return {key: plain(item) for key, item in value.data.items()}
    return value.data


def read(text):
    return plain(parse_literal(Source(text, "text")))


def random_value(rng, depth=0):
    kind = rng.randrange(9 if depth < 5 else 6)
    if kind < 2:
        return rng.choice(
            [rng.randrange(-(10**9), 10**9), rng.uniform(-1e3, 1e3), rng.uniform(-1, 1) * 1e-12]
        )
    if kind < 4:
        return "".join(rng.choices("ab \t'\"\\/#[]{}:,é\u200b\x07\n\U0001f98a", k=rng.randrange(9)))
    if kind < 6:
        return rng.choice([None, True, False, "", -1, 0.0])
    items = [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return items if kind < 8 else {f"key {i}'\"": item for i, item in enumerate(items)}


def test_reads_what_json_and_python_write():
    for seed in range(200):
        value = random_value(random.Random(seed))
        assert read(repr(value)) == value
        assert read(json.dumps(value)) == value
        assert read(json.dumps(value, ensure_ascii=False, indent=2)) == value


@pytest.mark.parametrize(
    "text",
    [
        "(1, [2.], {'a': .5,},)",
        "[+1, -2e3, 1E-2, 007.5]",
        r"'\x41\u00e9\U0001f98a\n'",
        "[ # one\n 1, # two\n ]",
        "()",
    ],
)
def test_reads_python_as_python_does(text):
    expected = ast.literal_eval(text)
    got = read(text)
    assert json.dumps(got) == json.dumps(expected)  # a tuple is a list in both


WRONG = {
    "[1, 2": (1, "the end of the text", "a comma or ]"),
    "[1,\n2\n3]": (3, "'3]'", "a comma or ]"),
    "[1, 2)": (1, "')'", "a comma or ]"),
    "[1,, 2]": (1, "', 2]'", "a list, a dict"),
    "{'a': 1, 'a': 2}": (1, "\"'a': 2}\"", "the key 'a' once"),
    "{1: 2}": (1, "'1: 2}'", "a key in quotes"),
    "{'a' 2}": (1, "'2}'", "a colon"),
    "['a' 'b']": (1, "\"'b']\"", "a comma or ]"),
    "[1]\n[2]": (2, "'[2]'", "nothing behind"),
    "'abc\ndef'": (1, '"\'abc"', "closes on its line"),
    r"'\q'": (1, r"\\q", "an escape"),
    r"'\ud800'": (1, "ud800", "an escape"),
    r"'\ud800\u0041'": (1, "ud800", "an escape"),
    "'\\": (1, "'\\\\'", "an escape"),
    "[NaN]": (1, "'NaN]'", "a finite number"),
    "[1e999]": (1, "'1e999]'", "a number of at most"),
    "[" + "9" * 5000 + "]": (1, "'9999", "a number of at most"),
    "[1.2.3]": (1, "'1.2.3]'", "a finite number"),
    "[1_000]": (1, "'1_000]'", "a finite number"),
    "[٣]": (1, "'٣]'", "a finite number"),
    "[1 + 1]": (1, "'+ 1]'", "a comma or ]"),
    "__import__('os')": (1, '"__import__', "a list, a dict"),
    "": (1, "the end of the text", "a list, a dict"),
    "a\n\ud800": (2, r"'\ud800'", "Unicode"),
}


@pytest.mark.parametrize("text", WRONG)
def test_refuses_with_line_and_excerpt(text):
    line, got, expected = WRONG[text]
    with pytest.raises(TextError) as caught:
        read(text)
    message = str(caught.value)
    assert message.startswith(f"text line {line}: got ")
    assert got in message.partition("; expected ")[0]
    assert expected in message.partition("; expected ")[2]
    assert len(message) < 250


@pytest.mark.parametrize("bracket", ["[", "{'a':", "(", "[[{'a': "])
def test_deep_nesting_is_refused_and_not_followed(bracket):
    assert read("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for count in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(ValueError, match=f"at most {MAX_DEPTH} brackets"):
            read(bracket * count)


@pytest.mark.parametrize(
    "text", ["'" + "\\n" * 200_000, " " * 1_900_000, "#\n" * 200_000, "[" + "'a'," * 90_000]
)
def test_long_texts_without_an_end_take_their_time_once(text):
    with pytest.raises(ValueError, match=r"the end of the text|closes on its line"):
        read(text)


def test_very_many_values_are_refused(monkeypatch):
    monkeypatch.setattr(literal, "MAX_VALUES", 2000)
    assert len(read("[" + "1," * 1999 + "]")) == 1999
    with pytest.raises(ValueError, match="at most 2,000 values"):
        read("[" + "1," * 2000 + "]")


def test_a_value_may_stand_within_a_text():
    value, end = read_literal(Source("Frame 1: [{'id': 0}] and so on", "text"), 9)
    assert (plain(value), end) == ([{"id": 0}], 20)


@pytest.mark.parametrize("text", ["a" * 500, "\x00" * 500, "'\"" * 100, "\U0001f98a" * 200, "\n" * 90])
def test_an_excerpt_is_short_and_on_one_line(text):
    assert len(excerpt(text)) <= MAX_EXCERPT
    assert "\n" not in excerpt(text)
