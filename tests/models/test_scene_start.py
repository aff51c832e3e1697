"""How a scene starts: noise that goes with what recurs, and an anchor before the frames."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.storyboard.scene_start import SceneNoise, empty_latent, with_lead
from frameloom.models.storyboard.scenes import BoxKey, Entity, PointsKey, Scene, Storyboard

SIDE, FRAMES = 32, 4
UPPER, LOWER = (0.0, 0.0, 0.25, 0.25), (0.5, 0.75, 0.75, 1.0)
LATENT = {"samples": torch.zeros(FRAMES, 4, SIDE, SIDE)}


def thing(*boxes, name="ball"):
    return Entity(id=name, text=name, track=[BoxKey(f=f, box=box) for f, box in enumerate(boxes)], hold=True)


def scene(number, *entities, groups=None, background=""):
    """A storyboard of one scene, as Scene List makes it."""
    one = Scene(id=number, frames=FRAMES, entities=entities, background=background)
    return Storyboard(scenes=[one], groups=groups or {})


def noise(board, latent=LATENT, **settings):
    return SceneNoise(board, **({"seed": 1} | settings)).generate_noise(latent)


def cut(frames, box):
    left, top, right, bottom = (round(side * SIDE) for side in box)
    return frames[..., top:bottom, left:right]


def test_an_entity_of_a_group_has_the_same_noise_in_every_frame_and_scene_wherever_it_is():
    moving = noise(scene(1, thing(UPPER, LOWER), groups={"ball": (1,)}))
    still = noise(scene(2, thing(UPPER), groups={"ball": (2,)}))
    own = cut(moving[0], UPPER)
    for frame in moving[1:]:
        assert torch.equal(cut(frame, LOWER), own)
    for frame in still:
        assert torch.equal(cut(frame, UPPER), own)


def test_without_a_group_scenes_and_entities_are_apart():
    boards = [
        scene(1, thing(UPPER)),
        scene(2, thing(UPPER)),
        scene(2, thing(UPPER, name="cat")),
        scene(1, thing(UPPER), groups={"ball": (1,)}),
    ]
    drawn = torch.stack([cut(noise(board)[0], UPPER).flatten() for board in boards])
    assert (torch.corrcoef(drawn) - torch.eye(len(drawn))).abs().max() < 0.3


def test_outside_of_boxes_frames_have_noise_of_their_own_and_a_background_of_a_group_recurs():
    empty, filled = noise(scene(1)), noise(scene(1, thing(UPPER)))
    assert torch.equal(cut(empty, LOWER), cut(filled, LOWER))
    assert not torch.equal(empty[0], empty[1])
    first, second = (noise(scene(one, background="a park", groups={"a park": (one,)})) for one in (1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(empty, noise(scene(2)))


def test_an_entity_named_as_its_background_has_noise_of_its_own():
    """Else the frame would hold a piece of its background twice."""
    corner = (0.0, 0.0, 0.5, 0.5)
    board = scene(1, thing(corner, name="park"), background="park", groups={"park": (1,)})
    behind = noise(scene(1, background="park", groups={"park": (1,)}))[0]
    own = cut(noise(board)[0], corner)
    middle = cut(behind, (0.25, 0.25, 0.75, 0.75))
    assert abs(torch.corrcoef(torch.stack([own.flatten(), middle.flatten()]))[0, 1]) < 0.2


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_every_frame_is_white_and_standard_normal(share):
    """Also where boxes overlap; 5 standard errors of the mean, the variance and each neighbour's correlation."""
    cat = thing((0.3, 0.3, 1.0, 1.0), (0.0, 0.2, 0.7, 0.9), name="cat")
    board = scene(1, thing((0.1, 0.1, 0.9, 0.8)), cat)
    side = 128
    for frame in noise(board, {"samples": torch.zeros(FRAMES, 4, side, side)}, entity_share=share):
        error = frame.numel() ** -0.5
        assert abs(frame.mean()) < 5 * error
        assert abs(frame.var() - 1) < 5 * 2**0.5 * error
        for axis in (0, 1, 2):
            assert abs((frame * frame.roll(1, axis)).mean()) < 5 * error


def test_the_share_is_the_correlation_of_an_entitys_noise_between_frames():
    wide = {"samples": torch.zeros(2, 4, 256, 256)}
    first, second = noise(scene(1, thing((0.0, 0.0, 1.0, 1.0))), wide, entity_share=0.3)
    correlation = torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]
    assert float(correlation) == pytest.approx(0.3, abs=0.01)


def test_an_absent_entity_has_no_noise():
    gone = noise(scene(1, thing(None, UPPER)))
    assert torch.equal(gone[0], noise(scene(1))[0])
    assert not torch.equal(gone[1], noise(scene(1))[1])


def test_frames_of_a_batch_index_are_those_of_the_scene():
    board = scene(1, thing(UPPER, LOWER))
    part = {"samples": LATENT["samples"][:2], "batch_index": [3, 1]}
    assert torch.equal(noise(board, part), noise(board)[[3, 1]])


def test_a_frame_before_the_scene_leaves_the_frames_noise_as_it_is():
    board = scene(1, thing(UPPER, LOWER))
    longer = noise(board, {"samples": torch.zeros(1 + FRAMES, 4, SIDE, SIDE)}, lead=1)
    assert torch.equal(longer[1:], noise(board))
    assert float(longer[0].var()) == pytest.approx(1, abs=0.1)
    other = noise(scene(2, thing(LOWER)), {"samples": torch.zeros(1 + FRAMES, 4, SIDE, SIDE)}, lead=1)
    assert torch.equal(longer[0], other[0])


def test_with_a_lead_tracks_and_keypoints_are_a_frame_later_and_nobody_is_there_before():
    points = PointsKey(f=1, points={"nose": (0.5, 0.5)})
    entity = thing(UPPER, LOWER).model_copy(update={"keypoints": (points,)})
    board = scene(7, entity, thing(name="somewhere"), groups={"ball": (7,)})
    later = with_lead(board)
    assert Storyboard.model_validate_json(later.to_json()) == later
    assert later.groups == board.groups
    boxes, present = later.only_scene().entities[0].boxes_at(FRAMES + 1)
    assert present.tolist() == [False] + [True] * FRAMES
    assert torch.equal(boxes[1:], entity.boxes_at(FRAMES)[0])
    assert later.only_scene().entities[0].points_at(2) == {"nose": (0.5, 0.5)}
    assert later.only_scene().entities[1].track == ()


@pytest.mark.parametrize("hold", [True, False])
def test_behind_a_lead_an_entity_is_where_it_was_also_before_its_first_key(hold):
    track, points = [BoxKey(f=2, box=UPPER)], [PointsKey(f=2, points={"nose": (0.5, 0.5)})]
    late = Entity(id="ball", text="ball", hold=hold, track=track, keypoints=points)
    (led,) = with_lead(scene(1, late)).only_scene().entities
    for one, other in zip(late.boxes_at(FRAMES), led.boxes_at(range(1, 1 + FRAMES)), strict=True):
        assert torch.equal(one, other)
    assert [led.points_at(1 + frame) for frame in range(FRAMES)] == [late.points_at(f) for f in range(FRAMES)]
    assert not led.boxes_at(1)[1].any()
    assert led.points_at(0) == {}


def test_the_latent_keeps_the_anchor_and_nothing_else():
    anchor = torch.randn(1, 4, 8, 16)
    latent = empty_latent(3, (512, 512), anchor)
    assert torch.equal(latent["samples"][:1], anchor)
    assert not latent["samples"][1:].any()
    assert latent["noise_mask"].shape == (4, 1, 8, 16)
    assert latent["noise_mask"].flatten(1).amax(1).tolist() == [0, 1, 1, 1]
    assert empty_latent(3, (128, 64))["samples"].shape == (3, 4, 8, 16)
