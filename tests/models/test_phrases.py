from __future__ import annotations

import pytest
from frameloom.models.storyboard.phrases import check_found, find_phrase, join_places, with_phrases

WORDS = list(enumerate("a red hat and a red red hat".split(), start=1))


@pytest.mark.parametrize(
    ("phrase", "wanted"),
    [
        ("red hat", [(2, 4), (7, 9)]),
        ("red", [(2, 3), (6, 7), (7, 8)]),
        ("red red", [(6, 8)]),
        ("a red hat and a red red hat", [(1, 9)]),
        ("hat red", []),
        ("a red hat and a red red hat twice", []),
        ("", []),
    ],
)
def test_every_occurrence_in_order(phrase, wanted):
    assert find_phrase(WORDS, phrase.split()) == wanted


def test_occurrences_do_not_overlap():
    assert find_phrase(list(enumerate("xxxxx")), ["x", "x"]) == [(0, 2), (2, 4)]


def test_what_has_no_token_number_is_never_found():
    assert find_phrase([(1, None), (2, 5)], [None, 5]) == []


def test_places_join_where_they_follow_each_other():
    assert join_places([]) == []
    assert join_places([1, 2, 3, 7, 9, 10]) == [(1, 4), (7, 8), (9, 11)]


def test_a_missing_phrase_says_what_was_asked_of_which_prompt():
    with pytest.raises(ValueError, match=r"phrase='blue hat' is not in the prompt 'a red hat'; .* copy"):
        check_found({"red": [(2, 3)], "blue hat": []}, ["red", "blue hat"], "a red hat")


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("A ball rolls. ", "A ball rolls, a red hat"),
        ("A ball rolls,", "A ball rolls, a red hat"),
        ("...", "a red hat"),
        ("A red hat.", "A red hat."),
    ],
)
def test_what_a_sentence_lacks_is_added_in_place_of_its_full_stop(prompt, wanted):
    assert with_phrases(prompt, ["a red hat", ""]) == wanted


@pytest.mark.parametrize(
    "prompt",
    [
        "a red  ball in a park",
        "in a park, A Red\n ball",
        "(a red ball:1.2) in a park",
        "a (red:1.2) ((ball)), a park",
        "a red ball2",  # two tokens of CLIP's, ball and 2
        "a red ball\\(s\\)",
    ],
)
def test_what_clip_reads_as_the_phrase_is_not_said_twice(prompt):
    assert with_phrases(prompt, ["a red ball"]) == prompt


@pytest.mark.parametrize("prompt", ["a red balloon", "a redball", "a ball, red", "a red (small) ball"])
def test_what_clip_reads_as_something_else_is_no_phrase(prompt):
    assert with_phrases(prompt, ["a red ball"]) == f"{prompt}, a red ball"


def test_accents_are_the_same_in_one_character_and_in_two():
    assert with_phrases("a cafe\u0301 in Paris", ["a caf\u00e9"]) == "a cafe\u0301 in Paris"


def test_a_phrase_that_ends_in_a_full_stop_still_stands_literally():
    assert with_phrases("On 5th Ave.", ["5th Ave.", "a hat"]) == "On 5th Ave, 5th Ave., a hat"
