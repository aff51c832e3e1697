"""Other people's layouts: each format's sample becomes the storyboard it says, each fault is told where it is."""

from __future__ import annotations

import json
import random

import pytest
from frameloom.language.formats.detect import AUTO, READERS, WRITERS, read_layout
from frameloom.language.formats.source import MAX_EXCERPT, TextError
from frameloom.language.formats.tracks import MAX_ENTITIES, MAX_KEYFRAMES, Settings
from frameloom.models.storyboard.scenes import MAX_CHARACTERS, Provenance, parse_storyboard
from frameloom.tests.support.layouts import FOLDER, SAMPLES, boxes, ids, sample
from frameloom.tests.support.mutations import check_refusal, mutate, read_or_refuse

LVD, PLAN, VISOR = "LVD frames", "VideoDirectorGPT plan", "VisorGPT sequence"


def read(name, **settings):
    return read_layout(sample(name), SAMPLES[name], Settings(**settings))


def lvd(*frames, background="Background keyword: room"):
    lines = [f"Frame {number}: {frame}" for number, frame in enumerate(frames, 1)]
    return "\n".join([*lines, background])


def ball(*box, thing=0, name="ball"):
    return f"{{'id': {thing!r}, 'name': {name!r}, 'box': {list(box)}}}"


def test_every_sample_has_a_format_and_every_format_a_sample():
    assert {path.name for path in FOLDER.iterdir()} == set(SAMPLES)
    assert set(SAMPLES.values()) == set(READERS)


def test_frameloom_json_keeps_everything():
    found = read("frameloom.json", frames=3, fps=1, size=(64, 64))
    assert found == parse_storyboard(sample("frameloom.json"))
    assert (found.provenance.planner, found.fps, found.size) == ("rules", 12, (512, 288))


def test_video_director_scenes_entities_boxes_and_groups():
    found = read("video_director.txt", frames=10, fps=4, size=(256, 128))
    first, second = found.scenes
    assert (found.fps, found.size, first.frames, second.frames) == (4, (256, 128), 10, 10)
    assert (first.prompt, first.background) == ("a gardener waters a rose", "greenhouse")
    assert (second.prompt, second.background) == ("two bees fly around the rose", "greenhouse")
    assert ids(first) == ["gardener", "rose", "watering_can"]
    # Four keyframes over ten frames are at 0, 3, 6 and 9.
    edges = [(0.05, 0.35), (0.15, 0.45), (0.3, 0.6), (0.3, 0.6)]
    assert boxes(first, "gardener", [0, 3, 6, 9]) == [(left, 0.2, right, 0.95) for left, right in edges]
    can = (0.55, 0.45, 0.7, 0.6)
    assert boxes(first, "watering_can") == [None] * 6 + [can] * 3 + [None]
    groups = {"gardener": (1,), "watering_can": (1,), "bee": (2,), "bee_2": (2,)}
    assert found.groups == groups | {"rose": (1, 2), "greenhouse": (1, 2)}
    assert boxes(second, "bee", [0]) == [(0.1, 0.1, 0.15, 0.15)]
    assert boxes(second, "bee_2", [0]) == [(0.8, 0.2, 0.85, 0.25)]


def test_video_director_as_dicts():
    (scene,) = read("video_director.json").scenes
    assert (scene.prompt, scene.background, scene.frames) == ("a ship leaves the harbour", "harbour", 3)
    assert boxes(scene, "ship")[2] == (0.5, 0.45, 0.7, 0.6)
    assert boxes(scene, "gull") == [None, (0.7, 0.1, 0.75, 0.15), None]
    (bare,) = read_layout('{"prompt": "fog", "frames": [[], []]}', PLAN, Settings()).scenes
    assert (bare.prompt, bare.background, ids(bare)) == ("fog", "", [])


def test_a_plan_of_any_number_of_frames_from_two_on_and_of_named_entities_without_boxes():
    frame = 'Frame_{}: [["cat", [0.1, 0.1, 0.3, 0.3]]]'
    for count in (2, 8, 9, 40):
        text = "\n".join(["Entities: cat, moon", *(frame.format(number) for number in range(1, count + 1))])
        (scene,) = read_layout(text, PLAN, Settings()).scenes
        assert scene.frames == count
        assert {entity.id: bool(entity.track) for entity in scene.entities} == {"cat": True, "moon": False}


def test_marks_around_labels_and_words_are_not_read():
    text = "**Scene 1:** **a cat**\n- Background: `*\x0b*`\n> Frame_1: []\n`Frame_2`: `[]`\n"
    (scene,) = read_layout(text, PLAN, Settings()).scenes
    assert (scene.prompt, scene.background, scene.frames) == ("a cat", "", 2)


def test_lvd_frames_as_its_tools_read_them():
    found = read("lvd.txt")
    assert found.provenance == Provenance(planner="text", format=LVD)
    (scene,) = found.scenes
    assert scene.prompt == "A kite rises over a beach while a dog runs by"
    assert (scene.background, scene.frames) == ("beach", 6)
    assert ids(scene) == ["kite", "brown_dog", "brown_dog_2"]
    x, y = 300 / 512, 300 / 512
    assert boxes(scene, "kite", [0]) == [tuple(round(e, 4) for e in (x, y, x + 60 / 512, y + 60 / 512))]
    dog = boxes(scene, "brown_dog")
    assert dog[0][:2] == (0.0, 0.7422)  # cut at the left edge: x = -20
    assert round(dog[0][2] * 512) == 80
    assert dog[3][2] == 1.0  # cut at the right edge
    assert dog[4:] == [None, None]  # wholly outside, then not listed
    assert boxes(scene, "brown_dog_2")[4:] == [None, (0.0, 0.7422, 0.1758, 0.8984)]


def test_lvd_boxes_without_area_and_frames_without_objects_are_absence():
    text = lvd(f"[{ball(0, 0, 64, 64)}]", f"[{ball(0, 0, 0, 64)}]", "[]", f"[{ball(0, 0, 64, 64)}]")
    (scene,) = read_layout(text, LVD, Settings()).scenes
    assert [box is not None for box in boxes(scene, "ball")] == [True, False, False, True]
    assert {key.f: key.box is None for key in scene.entities[0].track} == {0: False, 1: True, 3: False}


def test_keyframes_are_spread_over_the_frames():
    text = lvd(*(f"[{ball(number, 0, 64, 64)}]" for number in range(6)))
    for frames in (6, 7, 8, 13, 16, 24, 100):
        (scene,) = read_layout(text, LVD, Settings(frames=frames)).scenes
        expected = [round(number * (frames - 1) / 5) for number in range(6)]
        assert [key.f for key in scene.entities[0].track] == expected
        assert len(boxes(scene, "ball")) == scene.frames == frames
    with pytest.raises(
        ValueError, match=r"line 1: .* frames=5 keyframes \(it has 6\); set frames to 0, or 6"
    ):
        read_layout(text, LVD, Settings(frames=5))


def test_a_single_keyframe_stands_still():
    (scene,) = read_layout(lvd(f"[{ball(0, 0, 64, 64)}]"), LVD, Settings(frames=4)).scenes
    assert boxes(scene, "ball") == [(0, 0, 0.125, 0.125)] * 4


def test_visor_boxes_of_both_styles_and_masks():
    first, second, third = read("visor.txt", frames=3).scenes
    assert boxes(first, "person")[2] == (0.1172, 0.2148, 0.5859, 0.9766)
    assert (ids(first), ids(second)) == (["person", "frisbee"], ["potted_plant", "potted_plant_2"])
    assert boxes(second, "potted_plant_2")[0] == (0.75, 0.5, 1, 1)
    bottle = tuple(round(edge / 512, 4) for edge in (95, 110, 150, 310))
    assert boxes(third, "bottle")[0] == bottle


def test_visor_bodies_of_18_and_14_points():
    first, second = (scene.entities[0] for scene in read("visor_bodies.txt").scenes)
    points = first.points_at(0)
    assert points["nose"] == (250 / 512, 90 / 512)
    assert points["right_shoulder"] == (200 / 512, 150 / 512)
    assert "left_ear" not in points  # 0 0
    assert len(points) == 17
    assert first.track[0].box == (170 / 512, 80 / 512, 330 / 512, 480 / 512)
    points = second.points_at(0)
    assert points["left_shoulder"] == (300 / 512, 150 / 512)
    assert points["neck"] == (250 / 512, 140 / 512)
    lacking = {"nose", "right_eye", "left_eye", "right_ear", "left_ankle"}
    assert set(points) == set(first.points_at(0)) - lacking


def test_visor_neck_is_hidden_where_a_shoulder_is():
    text = sample("visor_bodies.txt").splitlines()[0].replace("c 200 150", "c 0 0")
    (scene,) = read_layout(text, VISOR, Settings()).scenes
    assert not {"neck", "right_shoulder"} & set(scene.entities[0].points_at(0))


def test_ids_are_slugs_of_their_own():
    names = ["Red Ball!", "red ball", "red_ball_2", "red ball", "Öl", "...", "猫"]
    text = lvd("[" + ", ".join(ball(0, 0, 9, 9, thing=i, name=name) for i, name in enumerate(names)) + "]")
    (scene,) = read_layout(text, LVD, Settings()).scenes
    assert ids(scene) == ["red_ball", "red_ball_2", "red_ball_2_2", "red_ball_3", "öl", "entity", "猫"]
    assert [entity.text for entity in scene.entities] == names


OWN = "Frameloom JSON"
CUP = "[ cup xmin 1 ymin 2 xmax 3 ymax 4 ]"
BOX = "box; multiple instances; large; 1; 0; "
WRONG = {
    "lvd: nothing": (LVD, "Reasoning: none", 1, "a line Frame 1"),
    "lvd: cut": (LVD, lvd("[]", "[]", background=""), 3, "a line Background keyword"),
    "lvd: order": (LVD, "Frame 1: []\nFrame 3: []", 2, "Frame 2"),
    "lvd: again": (LVD, "Frame 1: []\nFrame 1: []", 2, "Frame 2"),
    "lvd: words behind": (LVD, "Frame 1: [] and more\nBackground keyword: a", 1, "nothing behind"),
    "lvd: open": (LVD, "Frame 1: [{'id': 0,\nFrame 2: []", 2, "a list, a dict"),
    "lvd: no id": (LVD, lvd("[{'name': 'a', 'box': [0, 0, 9, 9]}]"), 1, "an object with id"),
    "lvd: id twice": (LVD, lvd(f"[{ball(0, 0, 9, 9)}, {ball(0, 0, 9, 9)}]"), 1, "the id '0' once"),
    "lvd: id blank": (LVD, lvd(f"[{ball(0, 0, 9, 9, thing=' ')}]"), 1, "an id"),
    "lvd: id a list": (LVD, lvd(f"[{ball(0, 0, 9, 9, thing=[1])}]"), 1, "an id"),
    "lvd: three": (LVD, lvd("[]", f"[{ball(0, 0, 9)}]"), 2, "[x, y, width, height]"),
    "lvd: negative": (LVD, lvd("[]", f"[{ball(0, 0, -9, 9)}]"), 2, "[x, y, width, height]"),
    "lvd: far": (LVD, lvd(f"[{ball(0, 0, 99999, 9)}]"), 1, "[x, y, width, height]"),
    "lvd: nan": (LVD, lvd("[{'id': 0, 'name': 'a', 'box': [0, NaN, 9, 9]}]"), 1, "a finite number"),
    "lvd: boolean": (LVD, lvd(f"[{ball(0, True, 9, 9)}]"), 1, "[x, y, width, height]"),
    "lvd: no name": (LVD, lvd(f"[{ball(0, 0, 9, 9, name=' ')}]"), 1, "a name"),
    "lvd: a dict": (LVD, lvd(ball(0, 0, 9, 9)), 1, "a list [{'id'"),
    "plan: pixels": (PLAN, 'Frame_1: [["a", [10, 10, 90, 90]]]', 1, "0..1"),
    "plan: upside down": (PLAN, 'Frame_1: [["a", [0.5, 0, 0.4, 1]]]', 1, "left < right"),
    "plan: slightly outside": (PLAN, 'Frame_1: [["a", [0.5, 0, 1.01, 1]]]', 1, "0..1"),
    "plan: one frame": (PLAN, "Scene 4: x\nFrame_1: []", 1, "two frames at least (it has 1)"),
    "plan: no frames": (PLAN, "\nScene 4: x\nScene 5: y", 2, "two frames at least (it has 0)"),
    "plan: a scene twice": (PLAN, "Scene 4: x\nFrame 1: []\nFrame 2: []\n" * 2, 4, "scene 4 once"),
    "plan: no prompt": (PLAN, '[\n{"frames": []}]', 2, "a scene with prompt and frames"),
    "visor: no type": (VISOR, "boxes; a; b; 1; 0; c", 1, "box, key point or mask"),
    "visor: 17 points": (VISOR, "key point; a; b; 1; 17; [ c a 1 1 ]", 1, "18 or 14 keypoints"),
    "visor: open": (VISOR, BOX + "[ cup xmin 1 ymin 2 xmax", 1, "[ ... ] around"),
    "visor: fewer": (VISOR, BOX.replace("1", "2") + CUP, 1, "2 brackets or [SEP] (there"),
    "visor: a name more": (
        VISOR,
        BOX + "cup, bowl; [ xmin 1 ymin 2 xmax 3 ymax 4 ]",
        1,
        "(there are 2 and 1)",
    ),
    "visor: no name": (VISOR, BOX + "[ xmin 1 ymin 2 xmax 3 ymax 4 ]", 1, "[ name xmin"),
    "visor: outside": (VISOR, BOX + "[ a xmin 1 ymin 2 xmax 513 ymax 4 ]", 1, "an integer 0..512"),
    "visor: no area": (VISOR, BOX + "[ a xmin 9 ymin 2 xmax 9 ymax 4 ]", 1, "xmin < xmax"),
    "visor: order": (VISOR, BOX + "[ a xmin 1 xmax 3 ymin 2 ymax 4 ]", 1, "xmin 1 ymin 2"),
    "visor: mask": (VISOR, BOX.replace("box", "mask") + "[ a m0 1 2 m2 3 4 ]", 1, "m0 x y m1 x y"),
    "visor: flat mask": (VISOR, BOX.replace("box", "mask") + "[ a m0 1 2 m1 3 2 ]", 1, "an area"),
    "visor: second line": (VISOR, BOX + CUP + "\n\nbox", 3, "box, key point"),
    "own: a field": (OWN, '{"version": 1,\n"scenes": [\n{"id": 1, "frames": 0}]}', 3, "$.scenes[0].frames"),
    "own: no JSON": (OWN, "{'version': 1}", 1, "not JSON"),
    "own: no scenes": (OWN, '\n{"version": 1}', 2, "$.scenes: got nothing"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_fault_is_told_with_line_excerpt_and_what_was_expected(fault):
    name, text, line, expected = WRONG[fault]
    with pytest.raises(TextError) as caught:
        read_layout(text, name, Settings())
    message = str(caught.value)
    assert message.startswith(f"{name} line {line}: ")
    assert expected in message.partition("; expected ")[2] or name == OWN
    assert expected in message
    assert len(message.partition("got ")[2].partition("; expected")[0]) <= MAX_EXCERPT
    assert "\n" not in message


def test_auto_says_why_for_each_format_and_most_of_the_one_that_read_furthest():
    text = sample("lvd.txt").replace("440, 380, 100, 80", "440, 380, 100")
    nearest = r"^text is of no format\. Nearest: LVD frames line 7: got '\[440.* Also"
    with pytest.raises(TextError, match=nearest) as caught:
        read_layout(text, AUTO, Settings())
    others = str(caught.value).partition("Also tried: ")[2]
    assert all(f"{name}, line " in others for name in READERS if name != LVD)
    assert "\n" not in str(caught.value)


def test_too_many_keyframes_or_entities_are_refused():
    item = '[["a", [0, 0, 1, 1]]]'
    frames = "\n".join(f"Frame_{number}: {item}" for number in range(1, MAX_KEYFRAMES + 2))
    with pytest.raises(ValueError, match=rf"1 to {MAX_KEYFRAMES} keyframes .* has {MAX_KEYFRAMES + 1}\)"):
        read_layout(frames, PLAN, Settings())
    crowd = ", ".join('["a", [0, 0, 1, 1]]' for _ in range(MAX_ENTITIES + 1))
    with pytest.raises(ValueError, match=f"at most {MAX_ENTITIES} entities"):
        read_layout(f"Frame_1: [{crowd}]\nFrame_2: []", PLAN, Settings())


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("export", WRITERS)
def test_whatever_is_written_is_read_again(name, export):
    board = read(name)
    written = WRITERS[export](board)
    again = read_layout(written, AUTO, Settings(size=board.size))
    assert len(again.scenes) == len(board.scenes)
    if export != "Storyboard20K lines":
        assert isinstance(json.loads(written), dict | list)


# Damaged texts: none crashes a reader or keeps it busy.

CASES = 60  # of a sample; half as its format, half as auto


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
        "Frame 1: []\n" * 20_000,
        "Scene 1: a\n" * 20_000,
        "box; a; b; 1; 0; " + "[ " * 100_000,
        "box; a; b; 1; 0; " + "] " * 100_000,
        "mask; a; b; 1; 0; [ a " + "m0 1 2 " * 100_000 + "]",
        "key point; a; b; 1; 18; [ " + "a 1 2 " * 100_000 + "]",
        "box; " * 100_000,
        "box;" + "; {" * 100_000,
        '{"version": 1, "scenes": [' + '{"id": 1, "frames": 1},' * 5_000,
        '[{"bboxes_person": [' + "[]," * 20_000 + '], "bboxes_object": []}]',
        " " * (MAX_CHARACTERS - 1),
        "\n" * (MAX_CHARACTERS - 1),
        "Frame 1:\n" * 20_000,
        "*" * (MAX_CHARACTERS - 1),
        "\ud800",
        "\ufeff",
        "",
    ],
    ids=lambda text: f"{text[:24]!a}",
)
def test_large_and_odd_texts_are_refused_by_every_reader(text):
    with pytest.raises(TextError) as caught:
        read_layout(text, AUTO, Settings())
    check_refusal(caught.value, text, AUTO)


@pytest.mark.parametrize("reader", [OWN, AUTO])
def test_ten_megabytes_of_a_character_are_refused(reader):
    with pytest.raises(TextError, match=r"got 10,000,000 characters"):
        read_layout("[" * 10_000_000, reader, Settings())
