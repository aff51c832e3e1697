"""Damaged texts: each is read or refused with a line; none crashes a reader or keeps it busy."""

from __future__ import annotations

import faulthandler
import random

import pytest
from frameloom.language.formats.detect import AUTO, READERS, read_layout
from frameloom.language.formats.source import TextError
from frameloom.language.formats.tracks import Settings
from frameloom.models.storyboard.scenes import MAX_CHARACTERS
from frameloom.tests.support.layouts import SAMPLES, sample
from frameloom.tests.support.mutations import check_refusal, mutate, read_or_refuse

CASES = 500  # of a sample; half as its format, half as auto


@pytest.fixture(autouse=True)
def deadline():
    """End the run with a traceback where a text keeps a reader busy for ever."""
    faulthandler.dump_traceback_later(600, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("name", SAMPLES)
def test_damaged_samples_are_read_or_refused(name):
    text, others = sample(name), [sample(other) for other in SAMPLES if other != name]
    rng = random.Random(name)
    read = 0
    for number in range(CASES):
        damaged = mutate(rng, text, others)
        read += read_or_refuse(damaged, AUTO if number % 2 else SAMPLES[name])
    assert 0 < read < CASES  # the damage is neither all nor nothing


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{'a': " * 100_000,
        "Frame 1: " + "[" * 100_000,
        "Frame 1: []\n" * 100_000,
        "Scene 1: a\n" * 100_000,
        "box; a; b; 1; 0; " + "[ " * 100_000,
        "box; a; b; 1; 0; " + "] " * 100_000,
        "mask; a; b; 1; 0; [ a " + "m0 1 2 " * 100_000 + "]",
        "key point; a; b; 1; 18; [ " + "a 1 2 " * 100_000 + "]",
        "box; " * 100_000,
        "box;" + "; {" * 200_000,
        "keypoint; x; {'objects': [" + "[], " * 200_000 + "], 'main characters': []}",
        '{"version": 1, "scenes": [' + '{"id": 1, "frames": 1},' * 50_000,
        '{"version": 1, "scenes": [' + ", ".join('{"id": 1}' for _ in range(50_000)) + "]}",
        '[{"bboxes_person": [' + "[]," * 300_000 + '], "bboxes_object": []}]',
        '{"version": ' + "9" * 5000 + "}",
        "'" + "\\u0041" * 200_000,
        " " * (MAX_CHARACTERS - 1),
        "\n" * (MAX_CHARACTERS - 1),
        "Frame 1:\n" * (MAX_CHARACTERS // 9),
        "*" * (MAX_CHARACTERS - 1),
        "\ud800",
        "\ufeff",
        "\x00",
        "",
    ],
    ids=lambda text: f"{text[:24]!a}",
)
def test_large_and_odd_texts_are_refused_by_every_reader(text):
    with pytest.raises(TextError) as caught:
        read_layout(text, AUTO, Settings())
    check_refusal(caught.value, text, AUTO)


@pytest.mark.parametrize("reader", [next(iter(READERS)), AUTO])
def test_ten_megabytes_of_a_character_are_refused(reader):
    with pytest.raises(TextError, match=r"got 10,000,000 characters"):
        read_layout("[" * 10_000_000, reader, Settings())
