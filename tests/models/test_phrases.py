from __future__ import annotations

import pytest
from frameloom.models.phrases import find_asked, find_phrase, join_places

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
    with pytest.raises(
        ValueError, match=r"phrase='blue hat' is not in the prompt 'a red hat'; expected words .* copy"
    ):
        find_asked(WORDS, ["blue", "hat"], "blue hat", "a red hat")
