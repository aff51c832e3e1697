"""Storyboard20K both ways: what is read, what is written, and that the way there and back costs a pixel at most."""

from __future__ import annotations

import ast
import json
import random

import pytest
from frameloom.language.formats.detect import WRITERS, read_layout
from frameloom.language.formats.tracks import Settings
from frameloom.models.storyboard.keypoints import BODY_POINTS
from frameloom.models.storyboard.scenes import BoxKey, Entity, PointsKey, Scene, Storyboard
from frameloom.tests.support.layouts import boxes, ids, sample

JSON, LINES = "Storyboard20K JSON", "Storyboard20K lines"
KEYS = ("main characters", "objects")


def shown(text):
    """What the lines of a text show, read by Python: per line, list and shot, sorted (name, integers)."""

    def read(shot):
        return sorted((name, *map(int, word.split())) for d in shot for name, word in d.items())

    dicts = [ast.literal_eval(line[line.index("; {") + 2 :]) for line in text.splitlines()]
    return [[[read(shot) for shot in line[key]] for key in KEYS] for line in dicts]


def annotated(text):
    """The same of annotations, on the canvas of 512: boxes, and for each body the 17 points whose score is seen."""

    def read_boxes(shot):
        return sorted((name, *(512 * edge for edge in box[:4])) for d in shot for name, box in d.items())

    def read_bodies(shot):
        bodies = sorted((item for d in shot for item in d.items()), key=lambda item: item[0])
        return [
            (name, *((512 * x, 512 * y) if score >= 0.6 else (0, 0) for x, y, score in points[:17]))
            for name, points in bodies
        ]

    found = []
    for board in json.loads(text):
        found.append([read_boxes(shot) for key in ("bboxes_person", "bboxes_object") for shot in board[key]])
        found.append([read_bodies(shot) for shot in board["keypoints"]])
    return found


def assert_within_a_pixel(first, second):
    if isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_within_a_pixel(one, other)
    elif isinstance(first, str):
        assert first == second
    else:
        assert abs(first - second) <= 1


def random_board(seed, size):
    """Characters with and without points, objects, absences; every box four pixels at least."""
    rng = random.Random(seed)

    def box():
        left, top = rng.uniform(0, 0.9), rng.uniform(0, 0.9)
        return left, top, min(left + rng.uniform(0.05, 0.5), 1), min(top + rng.uniform(0.05, 0.5), 1)

    def points():
        seen = [name for name in BODY_POINTS if rng.random() < 0.7]
        return {name: (rng.uniform(0.01, 1), rng.uniform(0.01, 1)) for name in seen}

    entities = []
    for number in range(rng.randrange(1, 7)):
        track = [BoxKey(f=f, box=box() if rng.random() < 0.8 else None) for f in range(4)]
        keys = tuple(PointsKey(f=key.f, points=points() if key.box else {}) for key in track)
        body = rng.choice([None, (), keys])
        name = rng.choice(["Ann", "dog's bowl", "chair", 'a "sign"', "Zoë"])
        entities.append(Entity(id=str(number), text=name, track=track, keypoints=body))
    floor = [BoxKey(f=f, box=(0, 0.5, 1, 1)) for f in range(4)]
    entities.append(Entity(id="floor", text="floor", track=floor))
    return Storyboard(size=size, scenes=[Scene(id=1, prompt="it; is", frames=4, entities=entities)])


def test_annotations_are_scaled_cut_and_joined():
    storyboard = read_layout(sample("storyboard20k.json"), JSON, Settings())
    (scene,) = storyboard.scenes
    assert storyboard.size == (480, 200)
    assert (scene.prompt, scene.background, scene.frames) == (
        "Anna waits at the station; a stranger gives her a letter.",
        "station hall",
        3,
    )
    assert ids(scene) == ["anna", "clock", "bench", "bench_2", "stranger", "letter"]
    # x is a share of the longer side already, y is times 480 / 200; above the picture is cut.
    assert boxes(scene, "anna") == [(0.1, 0.048, 0.45, 0.96), (0.15, 0.0, 0.5, 0.984), None]
    assert boxes(scene, "clock")[1:] == [None, (0.8, 0.048, 0.9, 0.288)]
    anna, stranger = scene.entities[0], scene.entities[4]
    legs = {"left_knee", "right_knee", "left_ankle", "right_ankle"}
    assert set(anna.points_at(0)) == set(BODY_POINTS) - legs
    whole = json.loads(sample("storyboard20k.json"))[0]["keypoints"][0][0]["Anna"]
    x, y, _ = whole[9]  # COCO's left wrist
    assert anna.points_at(0)["left_wrist"] == pytest.approx((x, y * 480 / 200))
    assert anna.points_at(0)["neck"][0] == pytest.approx((whole[5][0] + whole[6][0]) / 2)
    arms = {"left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "neck"}
    assert set(stranger.points_at(1)) == arms
    assert stranger.points_at(2) == {}
    assert scene.entities[1].keypoints is None


def test_lines_are_read_with_4_38_and_190_integers():
    first, second = read_layout(sample("storyboard20k.txt"), LINES, Settings()).scenes
    assert (first.prompt, second.prompt) == ("Anna sits. Tom comes in.", "Tom feeds the dog.")
    assert boxes(first, "anna") == [(0.0781, 0.0195, 0.5859, 0.9766), None]
    words = shown(sample("storyboard20k.txt"))[0][0]
    ((_, *anna), (_, *tom)), ((_, *later),) = words
    assert [len(anna), len(tom), len(later)] == [190, 4, 38]
    by_id = {entity.id: entity for entity in first.entities}
    # The first of 93 points is COCO's 6th, the left shoulder, and not seen here; the second the right.
    assert "left_shoulder" not in by_id["anna"].points_at(0)
    assert by_id["anna"].points_at(0)["right_shoulder"] == (anna[2] / 512, anna[3] / 512)
    assert not {"nose", "left_eye"} & set(by_id["anna"].points_at(0))
    assert by_id["tom"].points_at(0) == {}
    assert by_id["tom"].points_at(1)["nose"] == (later[0] / 512, later[1] / 512)
    assert ids(second) == ["tom", "dog_s_bowl"]  # the same Tom, whatever the order
    assert {"chair", "chair_2", "cup"} <= set(ids(first))


def test_lines_of_a_wide_picture_measure_by_its_width():
    text = "box; x; {'main characters': [[]], 'objects': [[{'cup': '128 72 512 400'}]]}"
    (scene,) = read_layout(text, LINES, Settings(size=(512, 288))).scenes
    assert boxes(scene, "cup") == [(0.25, 0.25, 1.0, 1.0)]
    with_size = text.replace("]]}", "]], 'resolution': [288, 512]}")
    assert read_layout(with_size, LINES, Settings()).scenes == (scene,)


def test_a_box_that_was_cut_to_nothing_is_absence():
    # What their encoder makes of a box that its noise pushed off the canvas.
    text = line("[[{'A': '10 10 90 90'}], [{'A': '512 10 512 90'}]]", "[[], []]")
    (scene,) = read_layout(text, LINES, Settings()).scenes
    assert boxes(scene, "a")[1] is None
    (scene,) = read_layout(
        annotation(bboxes_person=[[{"A": [-0.3, 0, 0, 0.5]}]], summary=["a", "b"]), JSON, Settings()
    ).scenes
    assert scene.prompt == "a, b"
    assert scene.entities[0].track == ()


@pytest.mark.parametrize("prompt", ["{'a': 1}; and; {b}", "; ; {", "box; {'objects': []", "two\nlines", ""])
def test_a_prompt_that_looks_like_a_line_is_written_so_that_it_can_be_read(prompt):
    board = Storyboard(scenes=[Scene(id=1, prompt=prompt, frames=1)])
    (scene,) = read_layout(WRITERS[LINES](board), LINES, Settings()).scenes
    assert scene.prompt == " ".join(prompt.replace(";", ".").replace("{", "(").replace("}", ")").split())


def test_json_to_storyboard_to_json_is_within_a_pixel():
    original = json.loads(sample("storyboard20k.json"))
    original[0]["bboxes_person"][1][0]["Anna"][1] = 0.0  # what lies above the picture is cut, not kept
    text = json.dumps(original)
    written = WRITERS[JSON](read_layout(text, JSON, Settings()))
    assert_within_a_pixel(annotated(text), annotated(written))
    board = json.loads(written)[0]
    assert board["resolution"] == [200, 480]
    assert (board["scene"], board["summary"]) == (original[0]["scene"], original[0]["summary"])
    assert board["main characters"] == original[0]["main characters"]
    assert all(len(points) == 133 for shot in board["keypoints"] for d in shot for points in d.values())


def test_text_to_storyboard_to_text_is_within_a_pixel():
    text = sample("storyboard20k.txt")
    written = WRITERS[LINES](read_layout(text, LINES, Settings()))
    before, after = shown(text), shown(written)
    # 93 points come back as 17: those from shoulders to ankles, in their order, and none of the face.
    anna = before[0][0][0][0]
    before[0][0][0][0] = ("Anna", *[0] * 10, *anna[1:25], *anna[-4:])
    assert_within_a_pixel(before, after)
    assert [line.split(";")[0] for line in written.splitlines()] == ["keypoint", "box"]
    assert WRITERS[LINES](read_layout(written, LINES, Settings())) == written


@pytest.mark.parametrize("size", [(512, 512), (512, 288), (200, 480), (1920, 800)])
@pytest.mark.parametrize("seed", range(5))
def test_random_storyboards_come_back_within_a_pixel(seed, size):
    board = random_board(seed, size)
    settings = Settings(size=size)
    text = WRITERS[JSON](board)
    assert_within_a_pixel(annotated(text), annotated(WRITERS[JSON](read_layout(text, JSON, settings))))
    lines = WRITERS[LINES](board)
    again = read_layout(lines, LINES, settings)
    assert_within_a_pixel(shown(lines), shown(WRITERS[LINES](again)))
    bodies = [body for line in shown(lines) for kind in line for shot in kind for body in shot]
    assert {len(body) for body in bodies} <= {1 + 4, 1 + 38}
    # From one format into the other: the same boxes, to a pixel of rounding.
    via_json = read_layout(text, JSON, settings)
    assert_within_a_pixel(shown(lines), shown(WRITERS[LINES](via_json)))


def test_writing_takes_the_frames_at_which_something_has_a_key():
    track = [BoxKey(f=0, box=(0, 0, 0.5, 1)), BoxKey(f=8, box=(0.5, 0, 1, 1))]
    entity = Entity(id="a", text="a", track=track)
    other = Entity(id="b", text="b", track=[BoxKey(f=4, box=(0, 0, 1, 1))], hold=True)
    board = Storyboard(scenes=[Scene(id=1, frames=9, entities=[entity, other])])
    assert shown(WRITERS[LINES](board))[0][1] == [
        [("a", 0, 0, 256, 512), ("b", 0, 0, 512, 512)],
        [("a", 128, 0, 384, 512), ("b", 0, 0, 512, 512)],
        [("a", 256, 0, 512, 512), ("b", 0, 0, 512, 512)],
    ]


@pytest.mark.parametrize("size", [(512, 512), (512, 288), (16_384, 8)])
def test_a_box_thinner_than_a_pixel_is_written_as_one(size):
    for edge in (0.0, 0.4999, 0.99999):
        entity = Entity(id="a", text="a", track=[BoxKey(f=0, box=(edge, edge, edge + 1e-5, edge + 1e-5))])
        board = Storyboard(size=size, scenes=[Scene(id=1, frames=1, entities=[entity])])
        (again,) = read_layout(WRITERS[LINES](board), LINES, Settings(size=size)).scenes[0].entities
        assert again.track[0].box is not None


def test_a_storyboard_without_boxes_is_a_shot_of_nothing():
    board = Storyboard(scenes=[Scene(id=1, prompt="fog", frames=4, entities=[Entity(id="a", text="a")])])
    assert shown(WRITERS[LINES](board)) == [[[[]], [[]]]]
    assert read_layout(WRITERS[JSON](board), JSON, Settings()).scenes[0].entities == ()


def test_too_many_key_shots_are_refused():
    track = [BoxKey(f=f, box=(0, 0, 1, 1)) for f in range(1001)]
    board = Storyboard(scenes=[Scene(id=1, frames=1001, entities=[Entity(id="a", text="a", track=track)])])
    for name in (JSON, LINES):
        with pytest.raises(ValueError, match=rf"^{name} scene 1: got 1001 key shots; .* at most 1000; use"):
            WRITERS[name](board)


def annotation(**changes):
    board = {"bboxes_person": [[{"A": [0, 0, 0.5, 0.5]}]], "bboxes_object": [[]], "keypoints": [[]]} | changes
    return "[\n" + json.dumps({key: value for key, value in board.items() if value is not KeyError}) + "]"


def line(characters="[[]]", objects="[[]]", prefix="box"):
    return f"\n{prefix}; x; {{'main characters': {characters}, 'objects': {objects}}}"


WRONG = {
    "pixels": (JSON, annotation(bboxes_person=[[{"A": [10, 10, 90, 90]}]]), "divided by the longer side"),
    "upside down": (JSON, annotation(bboxes_person=[[{"A": [0.5, 0, 0.4, 1]}]]), "x1 <= x2"),
    "three numbers": (JSON, annotation(bboxes_object=[[{"A": [0.5, 0, 0.4]}]]), "[x1, y1, x2, y2]"),
    "no list": (JSON, annotation(bboxes_object=KeyError), "a storyboard with bboxes_object"),
    "lengths": (JSON, annotation(bboxes_object=[[], []]), "(there are [1, 2, 1])"),
    "17 points": (JSON, annotation(keypoints=[[{"A": [[0, 0, 1]] * 17}]]), "133 points, each [x, y, score]"),
    "pairs": (JSON, annotation(keypoints=[[{"A": [[0, 0]] * 133}]]), "133 points, each [x, y, score]"),
    "resolution": (JSON, annotation(resolution=[0, 512]), "[height, width], 8 pixels or more"),
    "resolution fraction": (JSON, annotation(resolution=[100.5, 512]), "[height, width], 8 pixels or more"),
    "summary a dict": (JSON, annotation(summary={"a": 1}), "a text or a list of texts"),
    "no shots": (JSON, annotation(bboxes_person=[], bboxes_object=[], keypoints=[]), "1 to 1000 keyframes"),
    "none": (JSON, "\n[]", "one storyboard at least"),
    "no dict": (JSON, "\n[1]", "a storyboard with bboxes_person and bboxes_object"),
    "prefix": (LINES, line(prefix="mask"), "keypoint or box; instruction"),
    "no dict in line": (LINES, "\nbox; a; b", "keypoint or box; instruction"),
    "one key": (LINES, "\nbox; a; {'objects': [[]]}", "main characters and objects"),
    "shots": (LINES, line(objects="[[], []]"), "(there are 1 and 2)"),
    "five integers": (LINES, line("[[{'A': '1 2 3 4 5'}]]"), "one of 4, 38, 190 integers, each 0..512 (there are 5)"),
    "39 integers": (LINES, line("[[{'A': '" + "1 " * 39 + "'}]]"), "(there are 39)"),
    "negative": (LINES, line("[[{'A': '-1 2 3 4'}]]"), "each 0..512"),
    "513": (LINES, line("[[{'A': '1 2 513 4'}]]"), "each 0..512"),
    "right of right": (LINES, line("[[{'A': '6 2 5 4'}]]"), "x1 <= x2 and y1 <= y2 (it is 6 2 5 4)"),
    "numbers": (LINES, line("[[{'A': [1, 2, 3, 4]}]]"), "integers in quotes"),
    "words behind": (LINES, line() + " and", "nothing behind"),
}  # fmt: skip


@pytest.mark.parametrize("fault", WRONG)
def test_a_fault_is_told_with_its_line(fault):
    name, text, expected = WRONG[fault]
    with pytest.raises(ValueError, match=rf"^{name} line 2: got ") as caught:
        read_layout(text, name, Settings())
    assert expected in str(caught.value).partition("; expected ")[2]


def test_storyboards_of_several_resolutions_are_told_apart():
    board = json.loads(sample("storyboard20k.json"))[0]
    text = json.dumps([board, board | {"resolution": [512, 512]}])
    with pytest.raises(ValueError, match="one resolution for all storyboards"):
        read_layout(text, JSON, Settings())
    with pytest.raises(ValueError, match="one resolution in all lines"):
        read_layout(line() + line(objects="[[]], 'resolution': [288, 512]"), LINES, Settings())
