"""Scenes to train a layout prior on: drawn ones are what their captions say; anybody's are shown and split fairly."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene
from frameloom.tools.detector import measure
from frameloom.training import shapes
from frameloom.training.layout.scenes import (
    FEWEST,
    GRID,
    HELD_OUT,
    at_keyframes,
    content_of,
    draw_keyframes,
    draw_scenes,
    is_still,
    split_scenes,
)
from frameloom.training.loop import step_generator


@pytest.fixture(scope="module")
def scenes():
    return draw_scenes(400, step_generator(0, 0))


def things(scenes):
    """Of every thing what the caption says of it, and its box's middle in the first and the last frame."""
    for scene in scenes:
        for entity in scene.entities:
            boxes, _ = entity.boxes_at((0, shapes.FRAMES - 1))
            said = scene.prompt.split(entity.text, 1)[1].split(" and a ")[0].split(" on a ")[0]
            yield said, (boxes[:, :2] + boxes[:, 2:]) / 2


def test_there_are_scenes_of_one_two_and_three_things_with_a_box_in_every_frame(scenes):
    counts = [len(scene.entities) for scene in scenes]
    assert {1, 2, 3} == set(counts)
    assert counts.count(1) > counts.count(2) > counts.count(3) > 0
    for scene in scenes:
        for entity in scene.entities:
            assert [key.f for key in entity.track] == list(range(shapes.FRAMES))
            assert bool(entity.boxes_at(shapes.FRAMES)[1].all())


def test_every_thing_goes_where_the_caption_says(scenes):
    moving = 0
    for said, (start, end) in things(scenes):
        direction = next((name for name in shapes.DIRECTIONS if f"moving {name}" in said), "still")
        wanted, moved = torch.tensor(shapes.DIRECTIONS[direction]), end - start
        moving += direction != "still"
        assert moved @ wanted > 0.3 if direction != "still" else moved.abs().max() < 1e-6
        assert (moved - (moved @ wanted) * wanted).abs().max() < 0.05
    assert moving > 100


def test_a_thing_at_a_place_is_there(scenes):
    placed = 0
    for said, (start, _) in things(scenes):
        if " at the " in said:
            place = said.split(" at the ")[1].split()
            column, row = (
                next((cell for cell, name in enumerate(names) if name in place), 1)
                for names in (shapes.COLUMNS, shapes.ROWS)
            )
            wanted = torch.tensor([shapes.CELL_CENTERS[column], shapes.CELL_CENTERS[row]])
            assert ((start - wanted).abs() < torch.tensor([0.07, 0.1]) + 1 / GRID).all()
            placed += 1
    assert placed > 30


def test_boxes_are_of_the_shapes_as_they_are_drawn():
    clips = shapes.sample_images(32, step_generator(1, 0))
    found = measure(shapes.render(clips)[:, 0])
    for mask, box in zip(found.mask, shapes.bounds(clips)[:, 0], strict=True):
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        drawn = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / mask.shape[-1]
        assert (drawn - box).abs().max() < 0.03


def test_things_of_a_scene_never_touch_and_never_look_alike(scenes):
    for scene in scenes:
        looks = [tuple(entity.text.split()[-2:]) for entity in scene.entities]
        assert len(set(looks)) == len(looks)
        for one, other in itertools.combinations(scene.entities, 2):
            a, b = one.boxes_at(shapes.FRAMES)[0], other.boxes_at(shapes.FRAMES)[0]
            shared = torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])
            assert not (shared > 0).all(1).any()


def test_a_scene_of_one_shape_has_a_caption_of_the_demo_models(scenes):
    for scene in scenes:
        if len(scene.entities) == 1:
            words = re.sub("small |big ", "", scene.prompt).split(" on a ")
            look, color, shape = words[0].split(",")[0].split()[:3]
            assert (look, color in shapes.COLORS, shape in shapes.SHAPES) == ("a", True, True)


def test_a_generator_decides():
    one, same, other = (draw_scenes(40, step_generator(seed, 0)) for seed in (0, 0, 1))
    assert one == same
    assert one != other


BOX, OTHER = (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)


def made(*tracks, frames=9, hold=False, prompt="", text="a"):
    entities = tuple(
        Entity(id=str(i), text=text, hold=hold, track=tuple(BoxKey(f=f, box=box) for f, box in track))
        for i, track in enumerate(tracks)
    )
    return Scene(id=1, prompt=prompt, frames=frames, entities=entities)


def test_a_scene_at_keyframes_has_the_boxes_of_those_frames():
    shown = at_keyframes(made([(0, BOX), (8, OTHER)]), [0, 4, 8])
    assert [(key.f, key.box) for key in shown.entities[0].track] == [
        (0, BOX),
        (4, (0.25, 0.25, 0.75, 0.75)),
        (8, OTHER),
    ]
    assert not shown.entities[0].hold


def test_what_is_absent_is_shown_so_and_what_is_never_there_left_out():
    late, never = [(4, BOX), (8, OTHER)], [(3, BOX)]
    shown = at_keyframes(made(late, never), [0, 4, 8])
    assert [key.box for entity in shown.entities for key in entity.track] == [None, BOX, OTHER]


def test_one_keyframe_makes_it_stand_still():
    (entity,) = at_keyframes(made([(3, BOX)], hold=True), [0]).entities
    assert (entity.hold, [(key.f, key.box) for key in entity.track]) == (True, [(0, BOX)])


def test_keyframes_are_the_first_the_last_and_some_between():
    moving = made([(0, BOX), (8, OTHER)])
    drawn = [draw_keyframes(moving, 4, step_generator(0, step)) for step in range(300)]
    assert {len(frames) for frames in drawn} == {2, 3, 4}
    assert all(frames == sorted({*frames}) and (frames[0], frames[-1]) == (0, 8) for frames in drawn)
    assert {frame for frames in drawn for frame in frames[1:-1]} == set(range(1, 8))


@pytest.mark.parametrize(
    ("scene", "most", "counts"),
    [
        (made([(3, BOX)], hold=True), 3, {1, 2, 3}),
        (made([(0, BOX), (8, OTHER)]), 1, {2}),
        (made([(0, BOX)], frames=1), 4, {1}),
        (made([(0, BOX), (1, OTHER)], frames=2), 4, {2}),
    ],
)
def test_one_keyframe_is_for_what_stands_still(scene, most, counts):
    assert {len(draw_keyframes(scene, most, step_generator(1, step))) for step in range(100)} == counts


def test_what_leaves_or_moves_is_not_still():
    assert is_still(made([(2, BOX), (5, BOX)], hold=True))
    assert is_still(made([(0, BOX), (8, BOX)]))
    assert not is_still(made([(2, BOX), (5, BOX)]))
    assert not is_still(made([(0, BOX), (4, None)]))
    assert not is_still(made([(0, BOX), (8, OTHER)]))


def test_what_is_held_out_says_nothing_that_is_trained_on(scenes):
    twice = [*scenes, *scenes]
    training, held_out = split_scenes(twice)
    assert len(training) + len(held_out) == len(twice)
    contents = [{content_of(scene) for scene in each} for each in (training, held_out)]
    assert not contents[0] & contents[1]
    assert len(contents[1]) == round(HELD_OUT * len(contents[0] | contents[1]))


def test_what_is_held_out_does_not_depend_on_the_order(scenes):
    forth, back = split_scenes(scenes), split_scenes(scenes[::-1])
    assert {content_of(scene) for scene in forth[1]} == {content_of(scene) for scene in back[1]}


def test_too_few_contents_are_refused():
    few = [made([(0, BOX)], prompt=str(number % 15)) for number in range(40)]
    with pytest.raises(ValueError, match=rf"layouts: got 15 scenes .* expected {FEWEST} at least"):
        split_scenes(few)
    training, held_out = split_scenes([*few, made([(0, BOX)], prompt="15")])
    assert len({content_of(scene) for scene in held_out}) == FEWEST // 2
    assert training
