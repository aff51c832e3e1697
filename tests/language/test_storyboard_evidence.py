"""Evidence of storyboards: each figure is 1 for what the script says, 0 for its opposite and for no storyboard."""

from __future__ import annotations

import pytest
from frameloom.models.errors import LanguageModelError
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene, Storyboard
from frameloom.tools.evidence.scripts import HELD_OUT, IN_VIEW, Case, Want, goes, measure

CASE = Case(
    "A cat left of a box walks down.", (Want(("cat", "box"), {"cat": "down"}, (("cat", "left of", "box"),)),)
)
LEFT, RIGHT, BELOW = (0.0, 0.0, 0.3, 0.3), (0.6, 0.0, 0.9, 0.3), (0.0, 0.6, 0.3, 0.9)
LARGE, SMALL = (0.0, 0.0, 0.6, 0.6), (0.0, 0.0, 0.1, 0.1)


def thing(text, first, last):
    return Entity(id=text, text=f"a {text}", track=(BoxKey(f=0, box=first), BoxKey(f=4, box=last)))


def board(*things, scenes=1):
    return Storyboard(scenes=tuple(Scene(id=n, frames=5, entities=things) for n in range(scenes)))


def figures(source):
    score = measure(source, CASE)
    return score.valid, score.things, score.ways, score.relations


def test_what_the_script_says_counts_and_its_opposite_does_not():
    right = board(thing("black cat", LEFT, BELOW), thing("box", RIGHT, RIGHT))
    assert figures(lambda script: right) == (1, [1], [1], [1])
    wrong = board(thing("cat", RIGHT, LEFT), thing("box", LEFT, LEFT))
    assert figures(lambda script: wrong) == (1, [1], [0], [0])


def test_a_thing_too_many_or_a_scene_too_many_counts():
    extra = board(*(thing(name, LEFT, BELOW) for name in ("cat", "box", "dog")))
    assert figures(lambda script: extra)[1] == [0]
    twice = board(thing("cat", LEFT, BELOW), thing("box", RIGHT, RIGHT), scenes=2)
    assert figures(lambda script: twice)[0] == 0


@pytest.mark.parametrize("error", [ValueError("no"), LanguageModelError("down")])
def test_no_storyboard_fails_everything(error):
    def fail(script):
        raise error

    assert figures(fail) == (0, [0], [0], [0])


@pytest.mark.parametrize(
    ("last", "way"), [(RIGHT, "right"), (BELOW, "down"), (LEFT, "still"), (LARGE, "grow"), (SMALL, "shrink")]
)
def test_ways(last, way):
    mover = thing("cat", LEFT, last)
    every = ("left", "right", "up", "down", "still")
    assert goes(mover, way, 5, [])
    if way in every:
        assert [each for each in every if goes(mover, each, 5, [])] == [way]
    assert not goes(thing("cat", last, LEFT), way, 5, []) or way == "still"


def test_towards_is_nearer_at_the_end():
    goal = thing("tree", RIGHT, RIGHT)
    near = (0.3, 0.0, 0.6, 0.3)
    assert goes(thing("cat", LEFT, near), "towards tree", 5, [goal])
    assert not goes(thing("cat", near, LEFT), "towards tree", 5, [goal])


def test_there_are_twenty_and_twenty_scripts_and_all_differ():
    scripts = [case.script for case in (*IN_VIEW, *HELD_OUT)]
    assert (len(IN_VIEW), len(HELD_OUT), len(set(scripts))) == (20, 20, 40)
    assert {len(case.scenes) for case in IN_VIEW} == {1, 2, 3, 4}
