"""Hints for ControlNets: against Pillow's rasteriser, closed forms, and OpenPose's published colours."""

from __future__ import annotations

from typing import get_args

import numpy
import pytest
import torch
from frameloom.models.storyboard.hints import Kind, draw_control
from frameloom.models.storyboard.keypoints import BODY_POINTS
from frameloom.models.storyboard.masks import ellipse_masks
from frameloom.models.storyboard.scenes import BoxKey, Entity, PointsKey, Scene
from PIL import Image, ImageDraw

# OpenPose's documentation, COCO output: a point's colour as in its picture of the keypoints, by place.
OPENPOSE = [
    ("nose", 255, 0, 0), ("neck", 255, 85, 0), ("right_shoulder", 255, 170, 0), ("right_elbow", 255, 255, 0),
    ("right_wrist", 170, 255, 0), ("left_shoulder", 85, 255, 0), ("left_elbow", 0, 255, 0),
    ("left_wrist", 0, 255, 85), ("right_hip", 0, 255, 170), ("right_knee", 0, 255, 255),
    ("right_ankle", 0, 170, 255), ("left_hip", 0, 85, 255), ("left_knee", 0, 0, 255), ("left_ankle", 85, 0, 255),
    ("right_eye", 170, 0, 255), ("left_eye", 255, 0, 255), ("right_ear", 255, 0, 170), ("left_ear", 255, 0, 85),
]  # fmt: skip
# A limb's ends, and the place of its colour in the table.
LIMB_COLOURS = {
    ("neck", "right_shoulder"): 0, ("neck", "left_shoulder"): 1, ("right_shoulder", "right_elbow"): 2,
    ("right_elbow", "right_wrist"): 3, ("left_shoulder", "left_elbow"): 4, ("left_elbow", "left_wrist"): 5,
    ("neck", "right_hip"): 6, ("right_hip", "right_knee"): 7, ("right_knee", "right_ankle"): 8,
    ("neck", "left_hip"): 9, ("left_hip", "left_knee"): 10, ("left_knee", "left_ankle"): 11, ("neck", "nose"): 12,
    ("nose", "right_eye"): 13, ("right_eye", "right_ear"): 14, ("nose", "left_eye"): 15,
    ("left_eye", "left_ear"): 16,
}  # fmt: skip
HEIGHT, WIDTH = 96, 128
BOXED = [kind for kind in get_args(Kind) if kind != "openpose skeletons"]


def still(name, box, **rest):
    return Entity(id=name, text=f"a {name}", hold=True, track=(BoxKey(f=0, box=box),), **rest)


def draw(kind, *entities, frames=1, **settings):
    return draw_control(Scene(id=1, frames=frames, entities=entities), kind, HEIGHT, WIDTH, **settings)


def by_pillow(paint):
    picture = Image.new("L", (WIDTH, HEIGHT))
    paint(ImageDraw.Draw(picture))
    return torch.from_numpy(numpy.array(picture)).float() / 255


@pytest.mark.parametrize("line_width", [1, 3])
def test_outlines_are_those_of_pillow(line_width):
    hint = draw("box outlines", still("fox", (0.25, 0.25, 0.75, 0.5)), line_width=line_width)[0]
    drawn = by_pillow(lambda pen: pen.rectangle((32, 24, 95, 47), outline=255, width=line_width))
    for channel in hint.unbind(-1):
        torch.testing.assert_close(channel, drawn)


def test_an_outline_between_pixels_has_its_area():
    hint = draw("box outlines", still("fox", (0.111, 0.222, 0.777, 0.888)), line_width=2.5)
    width, height = 0.666 * WIDTH, 0.666 * HEIGHT
    area = width * height - (width - 5) * (height - 5)
    assert float(hint[..., 0].sum()) == pytest.approx(area, rel=1e-5)


def test_a_box_thinner_than_its_line_is_filled():
    hint = draw("box outlines", still("fox", (0.5, 0.0, 0.5 + 4 / WIDTH, 1.0)), line_width=3)
    assert float(hint[..., 0].sum()) == pytest.approx(4 * HEIGHT, rel=1e-5)


def test_labels_are_their_boxes_in_a_colour_for_each_id_whatever_the_company():
    fox, cat = still("fox", (0, 0, 0.5, 1)), still("cat", (0.5, 0, 1, 1))
    hint, alone = draw("filled labels", cat, fox)[0], draw("filled labels", fox)[0]
    assert len(hint.flatten(0, 1).unique(dim=0)) == 2
    assert torch.equal(hint[:, : WIDTH // 2], alone[:, : WIDTH // 2])
    assert not torch.equal(hint[0, 0], hint[0, -1])


@pytest.mark.parametrize("kind", BOXED)
def test_what_is_nearer_hides_what_is_behind(kind):
    near, far = still("near", (0.2, 0.3, 0.7, 1.0)), still("far", (0.3, 0.1, 0.6, 0.7))
    alone, both, turned = draw(kind, near), draw(kind, near, far), draw(kind, far, near)
    assert torch.equal(both, turned)
    # The middle of the near one is in the far one's box, and shows nothing of it.
    middle = (slice(None), slice(45, 80), slice(45, 70))
    assert torch.equal(both[middle], alone[middle])
    assert not torch.equal(both, alone)


def test_a_blob_fills_its_ellipse_and_bulges():
    hint = draw("blob depth", still("a", (0.25, 0.25, 0.75, 0.75)))[0, ..., 0]
    ellipse = ellipse_masks(torch.tensor([[0.25, 0.25, 0.75, 0.75]]), torch.tensor([True]), HEIGHT, WIDTH)[0]
    assert torch.equal(hint > 0, ellipse > 0)
    row = hint[HEIGHT // 2, WIDTH // 4 + 1 : WIDTH // 2]
    assert bool((row.diff() > 0).all())
    # The size of this box is its side, 0.5, and it ends at 0.75.
    assert float(hint.max()) == pytest.approx(0.25 + 0.75 * (0.75 + 0.5) / 2, abs=1e-3)


def test_a_scribble_is_a_closed_line_inside_its_box():
    hint = draw("scribble", still("fox", (0.25, 0.125, 0.75, 0.875)), line_width=2)[0, ..., 0]
    picture = Image.fromarray((hint * 255).byte().numpy()).copy()
    ImageDraw.floodfill(picture, (WIDTH // 2, HEIGHT // 2), 255, thresh=100)
    filled = torch.from_numpy(numpy.array(picture)) > 127
    assert not bool(hint[:12].any() or hint[84:].any() or hint[:, :32].any() or hint[:, 96:].any())
    assert not bool(filled[0, 0])
    # All of the ellipse but the wobble's share, and no more than it.
    assert 0.72 < float(filled.sum()) / (64 * 72 * torch.pi / 4) < 1


def test_a_scribble_is_steady_over_frames_and_moves_with_its_box():
    track = (BoxKey(f=0, box=(0.0, 0.25, 0.5, 0.75)), BoxKey(f=2, box=(0.5, 0.25, 1.0, 0.75)))
    hints = draw("scribble", Entity(id="fox", text="a fox", track=track), frames=3)
    torch.testing.assert_close(hints[0, :, :64], hints[2, :, 64:], atol=1e-4, rtol=0)
    torch.testing.assert_close(hints[0, :, :64], hints[1, :, 32:96], atol=1e-4, rtol=0)


def test_a_scribbles_hand_is_the_seeds_and_the_ids():
    def hand(name, seed):
        return draw("scribble", still(name, (0.2, 0.2, 0.8, 0.8)), seed=seed)

    assert torch.equal(hand("fox", 1), hand("fox", 1))
    assert float((hand("fox", 1) - hand("fox", 2)).abs().max()) > 0.5
    assert float((hand("fox", 1) - hand("cat", 1)).abs().max()) > 0.5


def person(points):
    return still("man", (0, 0, 1, 1), keypoints=(PointsKey(f=0, points=points),))


@pytest.fixture
def body():
    """Points on a grid, far from each other."""
    return person(
        {name: (0.1 + 0.16 * (i % 6), 0.15 + 0.35 * (i // 6)) for i, (name, *_) in enumerate(OPENPOSE)}
    )


def skeleton(*entities, size=512):
    return draw_control(Scene(id=1, frames=1, entities=entities), "openpose skeletons", size, size)[0]


def colour_at(hint, x, y):
    height, width, _ = hint.shape
    return (hint[int(y * height), int(x * width)] * 255).round().int().tolist()


def test_points_have_openposes_colours(body):
    hint, points = skeleton(body), body.points_at(0)
    found = [(name, *colour_at(hint, *points[name])) for name, *_ in OPENPOSE]
    assert found == OPENPOSE
    assert [name for name, *_ in OPENPOSE] == list(BODY_POINTS)


def test_limbs_have_openposes_colours_at_three_fifths():
    for ends, place in LIMB_COLOURS.items():
        hint = skeleton(person(dict(zip(ends, [(0.2, 0.3), (0.8, 0.6)], strict=True))), size=256)
        wanted = [value * 0.6 for value in OPENPOSE[place][1:]]
        assert colour_at(hint, 0.5, 0.45) == pytest.approx(wanted, abs=1), ends


def test_a_point_is_a_disc_of_four_pixels_at_512():
    hint = skeleton(person({"nose": (0.5, 0.5)}))
    # Edges fall off over a pixel, evenly to both sides.
    assert float(hint[..., 0].sum()) == pytest.approx(torch.pi * 4**2, rel=0.02)


def test_a_limb_needs_both_its_ends_and_an_entity_its_points(body):
    hint = skeleton(person({"neck": (0.2, 0.2), "right_elbow": (0.8, 0.8)}))
    assert colour_at(hint, 0.5, 0.5) == [0, 0, 0]
    assert torch.equal(skeleton(body, still("tree", (0, 0, 1, 1))), skeleton(body))


def test_points_at_the_pictures_edge_are_cut_off():
    hint = skeleton(person({"nose": (0.0, 0.0), "neck": (1.0, 1.0)}))
    assert colour_at(hint, 0, 0) == [255, 0, 0]


@pytest.mark.parametrize("kind", BOXED)
def test_absent_entities_are_not_drawn(kind):
    leaves = Entity(
        id="fox", text="a fox", track=(BoxKey(f=0, box=(0.1, 0.1, 0.9, 0.9)), BoxKey(f=1, box=None))
    )
    assert draw(kind, leaves, frames=3).amax(dim=(1, 2, 3)).gt(0).tolist() == [True, False, False]


@pytest.mark.parametrize("kind", get_args(Kind))
def test_pictures_are_as_large_as_asked_for_and_in_range(kind, body):
    hint = draw(kind, body, frames=2)
    assert hint.shape == (2, HEIGHT, WIDTH, 3)
    assert hint.dtype == torch.float32
    assert 0 <= float(hint.min()) < float(hint.max()) <= 1


def test_nothing_to_draw_is_said():
    for kind in BOXED:
        with pytest.raises(ValueError, match=f"kind='{kind}': no entity of scene 1 has boxes"):
            draw(kind, Entity(id="tree", text="a tree"))
    with pytest.raises(ValueError, match=r"openpose skeletons.*no entity of scene 1 has keypoints of a body"):
        skeleton(person({"tail": (0.5, 0.5)}))
