"""Masks of boxes: areas in closed form, and pixels against Pillow's rasteriser."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from frameloom.models.storyboard.masks import box_masks, ellipse_masks, feather_masks, scene_masks
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene
from PIL import Image, ImageDraw

BOXES = torch.tensor(
    [[0.1, 0.2, 0.63, 0.9], [0.0, 0.0, 1.0, 1.0], [0.3, 0.41, 0.35, 0.44], [0.5, 0.0, 1.0, 0.25]]
)
ALL = torch.ones(len(BOXES), dtype=torch.bool)
SIZES = [(1, 1), (16, 16), (37, 64), (200, 128)]
DRAW = {"box": box_masks, "ellipse": ellipse_masks}
OVER = 16  # Pillow's pixels in one of ours, each way


def drawn_by_pillow(shape: str, height: int, width: int) -> torch.Tensor:
    """Return the boxes' masks, drawn at ``OVER`` times the size and averaged."""
    masks = []
    for box in BOXES.tolist():
        picture = Image.new("L", (width * OVER, height * OVER))
        corners = [side * length * OVER for side, length in zip(box, (width, height) * 2, strict=True)]
        # Pillow's right and bottom ends are the last pixel drawn.
        place = (corners[0], corners[1], corners[2] - 1, corners[3] - 1)
        pen = ImageDraw.Draw(picture)
        (pen.rectangle if shape == "box" else pen.ellipse)(place, fill=255)
        cells = torch.from_numpy(numpy.array(picture)).float().view(height, OVER, width, OVER) / 255
        masks.append(cells.mean(dim=(1, 3)))
    return torch.stack(masks)


@pytest.mark.parametrize(("shape", "share"), [("box", 1.0), ("ellipse", math.pi / 4)])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_mask_sums_up_to_its_area(shape, share, height, width):
    masks = DRAW[shape](BOXES, ALL, height, width)
    areas = (BOXES[:, 2] - BOXES[:, 0]) * (BOXES[:, 3] - BOXES[:, 1]) * height * width * share
    assert masks.dtype == torch.float32
    # Boxes are float32: a side is known to 1e-7 of the picture, the smallest box is 3 % of it.
    torch.testing.assert_close(masks.sum(dim=(1, 2)), areas, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", ["box", "ellipse"])
@pytest.mark.parametrize(("height", "width"), SIZES[1:])
def test_masks_are_those_of_pillow(shape, height, width):
    masks, drawn = DRAW[shape](BOXES, ALL, height, width), drawn_by_pillow(shape, height, width)
    # Pillow rounds an edge to one of its pixels, so one is off by at most 2 / OVER at an edge, 4 / OVER in a corner.
    assert float((masks - drawn).abs().max()) < 4 / OVER
    assert float((masks - drawn).abs().mean()) < 0.004


@pytest.mark.parametrize("draw", DRAW.values())
def test_absent_is_an_empty_mask(draw):
    masks = draw(BOXES, torch.tensor([True, False, True, False]), 8, 8)
    assert masks.amax(dim=(1, 2)).gt(0).tolist() == [True, False, True, False]


@pytest.mark.parametrize("draw", DRAW.values())
def test_what_reaches_over_the_edge_is_cut_off(draw):
    whole = draw(torch.tensor([[0.25, 0.25, 0.75, 0.75]]), ALL[:1], 16, 16)
    shifted = draw(torch.tensor([[-0.25, -0.25, 0.25, 0.25]]), ALL[:1], 16, 16)
    torch.testing.assert_close(shifted[:, :4, :4], whole[:, 8:12, 8:12])


@pytest.fixture
def scene():
    fox = Entity(
        id="fox", text="a fox", track=(BoxKey(f=0, box=(0, 0, 0.5, 0.5)), BoxKey(f=1, box=(0.5, 0, 1, 0.5)))
    )
    ball = Entity(id="ball", text="a ball", hold=True, track=(BoxKey(f=0, box=(0.25, 0.5, 0.75, 1)),))
    return Scene(id=3, frames=3, entities=(fox, ball, Entity(id="tree", text="a tree")))


def test_one_entity_or_all_of_them(scene):
    fox, ball = scene_masks(scene, "fox", 4, 4), scene_masks(scene, "ball", 4, 4)
    assert fox[:, 0].tolist() == [[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert ball[:, 3].tolist() == [[0, 1, 1, 0]] * 3
    assert torch.equal(scene_masks(scene, "", 4, 4), fox + ball)


def test_shape_is_the_box_or_the_ellipse_in_it(scene):
    ellipse = scene_masks(scene, "ball", 64, 64, "ellipse")
    assert float(ellipse.sum()) == pytest.approx(
        math.pi / 4 * float(scene_masks(scene, "ball", 64, 64).sum())
    )


@pytest.mark.parametrize("entity", ["wolf", "tree"])
def test_an_entity_without_boxes_is_named(scene, entity):
    with pytest.raises(ValueError, match=f"entity='{entity}' is not in scene 3.*'fox', 'ball'; choose one"):
        scene_masks(scene, entity, 4, 4)
    with pytest.raises(ValueError, match=r"expected one of: none"):
        scene_masks(Scene(id=3, frames=3), "", 4, 4)


def test_feather_softens_an_edge_over_its_width():
    mask = torch.zeros(1, 32, 64)
    mask[:, :, 32:] = 1
    soft = feather_masks(mask, 16)
    assert float(soft[0, 16, 32 + 8]) > 0.97
    assert float(soft[0, 16, 31 - 8]) < 0.03
    assert float(soft[0, 16, 31:33].mean()) == pytest.approx(0.5, abs=1e-5)
    # The mask goes on over the picture's edge, so nothing fades there.
    assert torch.allclose(soft[:, 0], soft[:, 16], atol=1e-6)
    assert float(soft[0, 16, 63]) == pytest.approx(1, abs=1e-5)


def test_feather_may_be_0_which_changes_nothing_or_wider_than_the_picture():
    masks = box_masks(BOXES, ALL, 8, 8)
    assert feather_masks(masks, 0) is masks
    assert feather_masks(masks, 100).shape == (4, 8, 8)
