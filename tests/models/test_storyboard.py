"""The storyboard's format: what it holds, how boxes move, and what a wrong one is told."""

from __future__ import annotations

import copy
import faulthandler
import json
from pathlib import Path

import pytest
import torch
from frameloom.models.storyboard.scenes import MAX_CHARACTERS, BoxKey, Entity, PointsKey, parse_storyboard

CHEF = {
    "id": "chef",
    "text": "a chef in green",
    "image": None,
    "track": [{"f": 0, "box": [0, 0, 0.5, 0.5]}, {"f": 8, "box": [0.5, 0.25, 1, 1]}],
    "keypoints": [{"f": 0, "points": {"nose": [0.2, 0.1]}}],
}
KITCHEN = {"id": 1, "prompt": "a chef cooks", "background": "kitchen", "frames": 16, "entities": [CHEF]}
GOOD = {
    "version": 1,
    "fps": 8,
    "size": [512, 256],
    "scenes": [KITCHEN, {"id": 2, "frames": 1}],
    "groups": {"chef": [1, 2]},
}
TRACK = ("scenes", 0, "entities", 0, "track")
# Boxes frame by frame, worked out by hand. The editor's boxes are held to the same numbers (tests/web).
TABLE = json.loads((Path(__file__).parents[1] / "golden" / "interpolation.json").read_text("utf-8"))


def changed(path, value):
    """A copy with one value changed, or taken out where the value is ``KeyError``."""
    board = copy.deepcopy(GOOD)
    place = board
    for part in path[:-1]:
        place = place[part]
    if value is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(board)


def test_json_round_trips():
    board = parse_storyboard(json.dumps(GOOD))
    assert parse_storyboard(board.to_json()) == board
    assert json.loads(board.to_json())["scenes"][0]["entities"][0]["track"] == CHEF["track"]
    assert board.scenes[1].entities == ()


WRONG = {
    "version": (("version",), 2, r"\$.version: got 2; expected 1"),
    "no scenes": (("scenes",), [], r"\$.scenes: got \[\]; expected at least 1 item"),
    "scenes missing": (("scenes",), KeyError, r"\$.scenes: got nothing; expected a value"),
    "fps zero": (("fps",), 0, r"\$.fps: got 0; expected greater than 0"),
    "fps text": (("fps",), "fast", r'\$.fps: got "fast"; expected a valid number'),
    "size of one": (("size",), [512], r"\$.size\[1\]: got nothing"),
    "size too small": (("size",), [4, 512], r"\$.size\[0\]: got 4; expected greater than or equal to 8"),
    "box outside": ((*TRACK, 0, "box"), [0, 0, 1.5, 1], r"track\[0\].box\[2\]: got 1.5; expected less than"),
    "box without area": ((*TRACK, 0, "box"), [0.5, 0, 0.5, 1], r"track\[0\].box: .*expected a box with left"),
    "box upside down": ((*TRACK, 1, "box"), [0, 0.9, 1, 0.1], r"track\[1\].box: .*top < bottom"),
    "frame negative": ((*TRACK, 0, "f"), -1, r"track\[0\].f: got -1; expected greater than or equal to 0"),
    "frame repeated": ((*TRACK, 0, "f"), 8, r"entities\[0\].track: .*expected frames f that rise"),
    "key after the scene": (("scenes", 0, "frames"), 4, r"\$.scenes\[0\]: .*frames of 'chef' below 4.*found 8"),
    "scene of no frames": (("scenes", 0, "frames"), 0, r"\$.scenes\[0\].frames: got 0"),
    "two scenes of one id": (("scenes", 1, "id"), 1, r"\$: .*expected scenes with ids of their own"),
    "two entities of one id": (
        ("scenes", 0, "entities"),
        [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}],
        r"\$.scenes\[0\]: .*expected entities with ids of their own",
    ),
    "group of no scene": (("groups", "chef"), [7], r"\$: .*group 'chef' .*no scene 7"),
    "unknown field": (("director",), "me", r'\$.director: got "me"; expected only the fields of the format'),
    "entity without text": (("scenes", 0, "entities", 0, "text"), " ", r"\[0\].text: got \" \"; expected at least 1"),
    "keypoint outside": (
        ("scenes", 0, "entities", 0, "keypoints", 0, "points", "nose"),
        [0, 2],
        r"keypoints\[0\].points.nose\[1\]: got 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", WRONG)
def test_a_fault_is_named_by_path_value_and_expectation(fault):
    path, value, message = WRONG[fault]
    with pytest.raises(ValueError, match=rf"^storyboard .*{message}.*; correct it there") as caught:
        parse_storyboard(changed(path, value))
    assert "\n" not in str(caught.value)


def test_very_many_faults_are_counted_without_comparing_each_with_each():
    faulthandler.dump_traceback_later(300, exit=True)  # what compared them took hours
    with pytest.raises(ValueError, match=r"\$.scenes\[0\]: got 1; expected an object; .*\(59999 more\)"):
        parse_storyboard(json.dumps(GOOD | {"scenes": [1] * 60_000, "groups": {}}))
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("key", ["a\nb", "\u202e", "a b", "k" * 5000])
def test_a_key_of_any_kind_is_shown_on_one_short_line(key):
    for board in (GOOD | {key: 1}, GOOD | {"groups": {key: [7]}}):
        with pytest.raises(ValueError, match=r"^storyboard \$") as caught:
            parse_storyboard(json.dumps(board))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400


def test_a_long_value_is_cut():
    with pytest.raises(ValueError, match=r"got \"x{56}\.\.\.; expected") as caught:
        parse_storyboard(changed(("fps",), "x" * 5000))
    assert len(str(caught.value)) < 200


NO_STORYBOARDS = {
    "nothing": ("", r"^storyboard: not JSON .*begins ''.*paste the whole JSON"),
    "an open bracket": ("{", r"^storyboard: not JSON .*begins '\{'"),
    "words around it": ("Here is the plan: {}", r"^storyboard: not JSON .*begins 'Here is the plan"),
    "deep nesting": ("[" * 100_000, r"^storyboard: not JSON \(recursion limit"),
    "a text too long": ("[" * (MAX_CHARACTERS + 1), r"got 2,000,001 characters; expected at most 2,000,000"),
    "a list": ("[]", r"storyboard \$: got .*; expected an object"),
    "a word": ('"plan"', r"storyboard \$: got .*; expected an object"),
    "an infinite number": (changed(("fps",), float("inf")), r"\$.fps: got .*; expected a finite number"),
    "an unknown planner": (changed(("provenance",), {"planner": "me"}), r"planner: got \"me\"; expected 'r"),
}


@pytest.mark.parametrize("text", NO_STORYBOARDS)
def test_what_is_no_storyboard_is_named(text):
    text, message = NO_STORYBOARDS[text]
    with pytest.raises(ValueError, match=message):
        parse_storyboard(text)


def entity(hold=False):
    keys = (BoxKey(f=2, box=(0, 0, 0.2, 0.4)), BoxKey(f=6, box=(0.4, 0.2, 0.8, 0.4)))
    return Entity(id="a", text="a ball", track=keys, hold=hold)


def test_boxes_move_in_a_straight_line_between_keys():
    boxes, present = entity().boxes_at(8)
    torch.testing.assert_close(boxes[4], torch.tensor([0.2, 0.1, 0.5, 0.4]))
    torch.testing.assert_close(boxes[[2, 6]], torch.tensor([[0, 0, 0.2, 0.4], [0.4, 0.2, 0.8, 0.4]]))
    assert present.tolist() == [False, False, True, True, True, True, True, False]
    assert not boxes[~present].any()


def test_hold_stands_still_outside_the_keys():
    boxes, present = entity(hold=True).boxes_at(8)
    assert present.all()
    assert torch.equal(boxes[0], boxes[2])
    assert torch.equal(boxes[7], boxes[6])


def test_boxes_at_given_frames_are_those_of_the_whole():
    whole, _ = entity().boxes_at(8)
    some, present = entity().boxes_at([6, 3])
    assert torch.equal(some, whole[[6, 3]])
    assert present.tolist() == [True, True]


@pytest.mark.parametrize("hold", [False, True])
def test_an_entity_without_a_track_is_absent(hold):
    boxes, present = Entity(id="a", text="a ball", hold=hold).boxes_at(3)
    assert boxes.shape == (3, 4)
    assert not present.any()


def test_one_key_is_one_frame_or_with_hold_all():
    keys = (BoxKey(f=1, box=(0, 0, 1, 1)),)
    assert Entity(id="a", text="x", track=keys).boxes_at(3)[1].tolist() == [False, True, False]
    assert Entity(id="a", text="x", track=keys, hold=True).boxes_at(3)[1].all()


def test_a_key_without_a_box_ends_an_entity_until_the_next():
    keys = (
        BoxKey(f=0, box=(0, 0, 0.2, 0.2)),
        BoxKey(f=3, box=None),
        BoxKey(f=5, box=(0.5, 0, 0.7, 0.2)),
        BoxKey(f=7, box=None),
    )
    boxes, present = Entity(id="a", text="x", track=keys, hold=True).boxes_at(9)
    assert present.tolist() == [True, True, True, False, False, True, True, False, False]
    assert torch.equal(boxes[2], boxes[0])  # it stands still before it goes
    assert torch.equal(boxes[6], boxes[5])


def test_keypoints_move_in_a_line_where_both_keys_have_them():
    keys = (
        PointsKey(f=0, points={"nose": (0, 0), "neck": (0.1, 0.1)}),
        PointsKey(f=4, points={"nose": (0.4, 0.8)}),
    )
    person = Entity(id="a", text="x", keypoints=keys)
    assert person.points_at(1) == {"nose": (0.1, 0.2)}
    assert person.points_at(0).keys() == {"nose", "neck"}
    assert person.points_at(4) == {"nose": (0.4, 0.8)}
    assert person.points_at(5) == {}
    assert Entity(id="a", text="x").points_at(0) == {}


def test_a_scene_of_its_own_keeps_its_groups():
    board = parse_storyboard(json.dumps(GOOD))
    first = board.select_scene(1)
    assert first.only_scene() == board.scenes[0]
    assert first.groups == {"chef": (1,)}
    assert first.size == board.size
    with pytest.raises(ValueError, match=r"scene=9 .*expected one of \[1, 2\]"):
        board.select_scene(9)
    with pytest.raises(ValueError, match=r"got 2 scenes, \[1, 2\]; expected one; put Select Scene"):
        board.only_scene()


@pytest.mark.parametrize("case", TABLE, ids=[case["says"] for case in TABLE])
def test_boxes_are_those_of_the_table_that_the_editor_is_held_to(case):
    boxes, present = Entity.model_validate(case["entity"]).boxes_at(len(case["boxes"]))
    assert present.tolist() == [box is not None for box in case["boxes"]]
    torch.testing.assert_close(boxes, torch.tensor([box or [0.0] * 4 for box in case["boxes"]]))
