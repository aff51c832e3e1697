"""Storyboards as pictures: what a preview shows and where, and masks and hints of the asked-for size."""

from __future__ import annotations

import itertools

import pytest
import torch
from frameloom.models.storyboard.hints import draw_control
from frameloom.models.storyboard.masks import box_masks, scene_masks
from frameloom.models.storyboard.scenes import (
    BoxKey,
    Entity,
    PointsKey,
    Provenance,
    Scene,
    Storyboard,
    parse_storyboard,
)
from PIL import Image, ImageChops


def entity(name, *boxes, **rest):
    return Entity(
        id=name, text=f"a {name}", track=[BoxKey(f=frame, box=box) for frame, box in enumerate(boxes)], **rest
    )


FOX = entity("fox", (0.1, 0.1, 0.4, 0.5), (0.2, 0.1, 0.5, 0.5), (0.3, 0.1, 0.6, 0.5))
BALL = entity("ball", (0.6, 0.6, 0.9, 0.9), hold=True)
POSE = {"neck": (0.5, 0.3), "nose": (0.5, 0.2)}


def build(*scenes, **rest):
    return Storyboard(**({"size": (192, 128), "scenes": scenes} | rest))


def scene(number, *entities, frames=3, **rest):
    return Scene(id=number, frames=frames, entities=entities, **rest)


@pytest.fixture
def preview(run):
    settings = {"longer_side": 384, "columns": 3}
    return lambda board, **given: run("LayoutPreview", storyboard=board, **(settings | given))


def test_every_frame_of_every_scene_is_drawn_in_order(preview):
    frames, sheet = preview(build(scene(1, FOX), scene(2, BALL, frames=2)))
    assert frames.shape == (5, 256, 384, 3)
    assert sheet.shape[0] == 1
    fox = box_masks(*FOX.boxes_at(3), 256, 384) > 0.5
    for number in range(3):
        inside, outside = frames[number][fox[number]], frames[number][~fox[number]]
        assert float(inside.std(dim=0).max()) > 0
        assert float((inside.mean(dim=0) - outside.mean(dim=0)).abs().max()) > 0.1
    assert torch.equal(frames[3, :80, 80:300], frames[4, :80, 80:300])
    assert not torch.equal(frames[3], frames[4])  # their numbers differ


def test_an_entity_has_one_colour_in_all_scenes_and_another_than_others(preview):
    frames, _ = preview(build(scene(1, FOX, BALL), scene(2, BALL, FOX)))
    # The middle of the left edge, an eighth of a pixel's doubt included: lines are 2 pixels wide.
    fox, ball = [(88, 39), (192, 231)]
    assert torch.allclose(frames[0][fox], frames[3][fox], atol=0.02)
    assert torch.allclose(frames[0][ball], frames[3][ball], atol=0.02)
    assert float((frames[0][fox] - frames[0][ball]).abs().max()) > 0.3


def test_absent_entities_are_not_in_the_picture(preview):
    gone = FOX.model_copy(update={"track": (FOX.track[0], BoxKey(f=1, box=None))})
    frames, empty = (preview(build(each))[0] for each in (scene(1, gone), scene(1)))
    assert not torch.equal(frames[0], empty[0])
    assert torch.equal(frames[1:], empty[1:])


def test_keypoints_are_drawn(preview):
    posed = FOX.model_copy(update={"keypoints": (PointsKey(f=0, points=POSE),)})
    with_points, without = (preview(build(scene(1, each)))[0] for each in (posed, FOX))
    changed = (with_points[0] - without[0]).abs().amax(dim=-1) > 0.05
    rows, columns = (changed.any(dim=axis).nonzero().flatten() for axis in (1, 0))
    # From the nose at 51 down to the neck at 77, in the column 192, and a few pixels around.
    assert 44 <= int(rows[0]) <= 51
    assert 77 <= int(rows[-1]) <= 84
    assert 185 <= int(columns[0]) <= 192 <= int(columns[-1]) <= 199
    assert torch.equal(with_points[1], without[1])


def test_the_sheet_shows_every_caption_groups_and_where_the_storyboard_is_from(preview):
    plain = scene(1, FOX, prompt="a wood", background="hills")
    changes = (
        {},
        {"prompt": "a wood at night"},
        {"background": "a wood"},
        {"entities": (FOX.model_copy(update={"text": "a vixen"}),)},
    )
    boards = [build(plain.model_copy(update=change), scene(2, FOX)) for change in changes]
    boards += [
        boards[0].model_copy(update=change)
        for change in (
            {"groups": {"fox": (1, 2)}},
            {"provenance": Provenance(planner="rules")},
            {"provenance": Provenance(planner="language model", model="qwen", seed=3)},
        )
    ]
    sheets = [preview(board, longer_side=64)[1] for board in boards]
    for one, other in itertools.combinations(sheets, 2):
        assert one.shape != other.shape or not torch.equal(one, other)


def test_the_sheet_has_a_row_for_each_scene_up_to_the_most(preview, monkeypatch):
    from frameloom.nodes.drawing import storyboard_sheet

    monkeypatch.setattr(storyboard_sheet, "SHEET_SCENES", 3)
    boards = [build(*(scene(number, FOX) for number in range(count))) for count in (1, 2, 3, 5)]
    one, two, three, five = (preview(board, columns=1, longer_side=64)[1].shape[1] for board in boards)
    assert two - one == three - two > 100
    assert five == three


def test_the_node_shows_the_sheet_and_hands_the_storyboard_to_the_editor(nodes, tmp_path):
    board = build(scene(1, FOX))
    output = nodes["LayoutPreview"].execute(board, 64, 3)
    assert [parse_storyboard(text) for text in output.ui["frameloom_storyboard"]] == [board]
    (saved,) = output.ui["images"]
    (path,) = tmp_path.rglob(saved["filename"])
    sheet = (output.args[1][0] * 255).round().byte().numpy()
    with Image.open(path) as picture:
        assert ImageChops.difference(picture.convert("RGB"), Image.fromarray(sheet)).getbbox() is None


@pytest.mark.parametrize(
    "board",
    [
        build(scene(1, frames=1)),
        build(scene(0, entity("x" * 500, (0.0, 0.0, 0.001, 0.001)), prompt="word " * 3000)),
        build(scene(1, *(entity(f"a\nb {n}", (0.4, 0.4, 0.6, 0.6)) for n in range(30)))),
        build(
            scene(1, FOX, prompt="\u4e00\u4e8c \u0440\u0443\u0441 \U0001f98a" + "y" * 4000), size=(8, 4096)
        ),
        build(scene(1, FOX), size=(4096, 8)),
    ],
    ids=["empty", "long texts", "crowded", "other letters, upright", "flat"],
)
@pytest.mark.parametrize("columns", [1, 12])
def test_any_storyboard_can_be_drawn(preview, board, columns):
    frames, sheet = preview(board, columns=columns, longer_side=128)
    assert len(frames) == board.scenes[0].frames
    assert sheet.shape[1] < 4000
    assert torch.isfinite(sheet).all()


@pytest.fixture
def masks(run):
    return lambda board, **given: run("LayoutToMasks", storyboard=board, **given)[0]


def test_masks_have_the_storyboards_size_or_the_one_asked_for(masks):
    board = build(scene(1, FOX, BALL))
    assert masks(board).shape == (3, 128, 192)
    assert masks(board, width=16).shape == (3, 128, 16)
    small = masks(board, width=24, height=16, entity=" fox ", shape="ellipse")
    assert torch.equal(small, scene_masks(board.scenes[0], "fox", 16, 24, "ellipse"))


def test_inverted_is_everything_else(masks):
    board = build(scene(1, FOX, BALL))
    assert torch.allclose(masks(board, invert=True) + masks(board), torch.ones(()))


def test_feather_is_in_pixels_of_the_mask(masks):
    board = build(scene(1, entity("half", (0.0, 0.0, 0.5, 1.0))))
    row = masks(board, feather=40.0)[0, 64]
    assert (float(row[75]), float(row[116])) == (pytest.approx(0.98, abs=0.01), pytest.approx(0.02, abs=0.01))


def test_control_hints_are_drawn_from_the_scene(run):
    board = build(scene(1, FOX, BALL))
    (images,) = run("LayoutToControl", storyboard=board, kind="scribble", width=64, line_width=2, seed=5)
    assert torch.equal(images, draw_control(board.scenes[0], "scribble", 128, 64, line_width=2, seed=5))


@pytest.mark.parametrize("name", ["LayoutToMasks", "LayoutToControl"])
def test_several_scenes_are_one_too_many(run, name):
    with pytest.raises(ValueError, match=r"got 2 scenes.*Select Scene or Scene List"):
        run(name, storyboard=build(scene(1, FOX), scene(2, FOX)))
