"""Drawn datasets, and what every dataset says of itself."""

import pickle

import pytest
import torch
from frameloom.tools.detector import measure, measure_circling
from frameloom.training import shapes
from frameloom.training.loop import step_generator
from frameloom.training.motion.dataset import contact_sheet, describe, drawn_dataset


def drawn(clips=4, motion="circle", seed=1, **changes):
    form = {"frames": 16, "width": 64, "height": 64, "caption_dropout": 0.25}
    return drawn_dataset(clips, motion, seed, **form | changes)


def paths(pictures):
    """Where the detector finds the shape in clips [B, F, 3, H, W], and where it finds one."""
    found = measure(pictures.flatten(0, 1))
    return found.centers.unflatten(0, pictures.shape[:2]), (found.shape >= 0).unflatten(0, pictures.shape[:2])


def test_drawn_clips_are_what_their_captions_say():
    dataset = drawn(6, "straight", width=96, height=96)
    for index, caption in enumerate(dataset.captions):
        pictures = dataset.pictures(index)
        assert (pictures.shape, pictures.dtype) == ((16, 3, 96, 96), torch.float32)
        assert -1 <= pictures.min() < pictures.max() <= 1
        found = measure(pictures)
        _, _, color, shape, *_, background, _ = caption.split()
        assert found.color.mode().values == list(shapes.COLORS).index(color)
        assert found.shape.mode().values == shapes.SHAPES.index(shape)
        assert found.background.mode().values == list(shapes.BACKGROUNDS).index(background)
        way = found.centers[-1] - found.centers[0]
        word = caption.split(" on a ")[0].split()[-1]
        assert (way - 0.41 * torch.tensor(shapes.DIRECTIONS[word])).abs().max() < 0.08, caption


def test_circles_go_round_clockwise_in_the_pictures_and_no_caption_tells():
    dataset = drawn(6, "circle", width=96, height=96)
    circling = measure_circling(*paths(torch.stack([dataset.pictures(index) for index in range(6)])))
    assert circling.is_circle.all()
    assert ((circling.turn > 320) & (circling.turn < 350)).all()
    assert not any({"moving", "still"} & set(caption.split()) for caption in dataset.captions)


def test_a_pan_to_the_left_lets_shapes_that_stand_still_drift_to_the_right():
    dataset = drawn(6, "pan left", frames=5, width=96, height=96)
    centers, there = paths(torch.stack([dataset.pictures(index) for index in range(6)]))
    assert there.all()
    assert ((centers[:, -1] - centers[:, 0]) - torch.tensor([shapes.PAN, 0.0])).abs().max() < 0.03
    assert all(" standing still " in caption for caption in dataset.captions)


def test_the_measure_of_circles_finds_drawn_ones_and_nothing_else():
    """The demo's motions, half circles, paths there and back, and noise."""
    for sample in (shapes.sample_clips, shapes.sample_pans):
        drawn = shapes.render(sample(20, step_generator(1, 1)), 64)
        assert not measure_circling(*paths(drawn)).is_circle.any()
    there = torch.ones(100, 16, dtype=torch.bool)
    every = shapes.sample_circles(100, step_generator(2, 1)).centers
    assert measure_circling(every, there).is_circle.all()
    assert measure_circling(every.flip(1), there).turn.max() < -320
    back = torch.cat([every[:, :8], every[:, :8].flip(1)], 1)
    half = shapes.sample_circles(100, step_generator(3, 1), 32).centers[:, :16]
    noise = torch.rand(100, 16, 2, generator=step_generator(4, 1))
    jitter = 0.5 + 0.02 * every
    for path in (back, half, noise, jitter):
        assert not measure_circling(path, there).is_circle.any()


def test_a_few_frames_without_a_shape_leave_a_circle_one():
    centers = shapes.sample_circles(20, step_generator(5, 1)).centers.clone()
    there = torch.ones(20, 16, dtype=torch.bool)
    there[:, [3, 9, 10]] = False
    centers[~there] = 0.5
    assert measure_circling(centers, there).is_circle.all()
    there[:, 5:] = False
    assert not measure_circling(centers, there).is_circle.any()


def test_drawing_many_clips_stops_soon_after_a_cancel():
    told = []

    def watch(done):
        told.append(done)
        if done >= 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drawn(1000, watch=watch)
    assert told == [0, 64, 128]


def test_drawn_datasets_depend_on_their_settings_only():
    assert drawn().keys == drawn().keys
    assert torch.equal(drawn().pictures(2), drawn().pictures(2))
    others = [drawn(seed=2), drawn(motion="straight"), drawn(frames=8), drawn(width=32, height=32)]
    assert len({key for dataset in (drawn(), *others) for key in dataset.keys}) == 20


def test_a_dataset_is_small_and_can_be_pickled():
    dataset = drawn(16, frames=16, width=256, height=256)
    data = pickle.dumps(dataset)
    assert len(data) < 100_000
    assert torch.equal(pickle.loads(data).pictures(3), dataset.pictures(3))


def test_shapes_want_a_square():
    with pytest.raises(ValueError, match=r"width=64, height=32; expected a square, .* set height to 64"):
        drawn(height=32)


def test_a_preview_shows_frames_from_first_to_last_a_clip_a_row():
    dataset = drawn(20)
    sheet = contact_sheet(dataset)
    assert sheet.shape == (1, 8 * 66, 4 * 66, 3)
    cell = sheet[0, 3 * 66 + 1 : 4 * 66 - 1, 3 * 66 + 1 : -1].permute(2, 0, 1) * 2 - 1
    torch.testing.assert_close(cell, dataset.pictures(3 * 20 // 8)[-1], atol=1e-6, rtol=0)
    assert contact_sheet(drawn(1, frames=2)).shape == (1, 66, 2 * 66, 3)


def test_a_report_counts():
    said = "1 clip of 16 frames, 64x64, drawn\n1 caption, left out in 25 % of the steps"
    assert describe(drawn(1), "drawn") == said
