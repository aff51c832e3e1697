from dataclasses import replace

import torch
from frameloom.tools.detector import measure
from frameloom.training import shapes
from frameloom.training.loop import step_generator


def test_detector_reads_drawn_pictures_right():
    clips = shapes.sample_images(100, step_generator(0, 0))
    found = measure(shapes.render(clips)[:, 0])
    for name in ("shape", "color", "background"):
        assert (getattr(found, name) == getattr(clips, name)).float().mean() >= 0.99, name
    assert (found.centers - clips.centers[:, 0]).abs().max() < 0.02


def test_detector_ignores_the_trail():
    clips = shapes.sample_clips(16, step_generator(1, 0), frames=4)
    found = measure(shapes.render(clips).flatten(0, 1))
    assert (found.shape == clips.shape.repeat_interleave(4)).float().mean() >= 0.99
    assert (found.centers - clips.centers.reshape(-1, 2)).abs().max() < 0.02


def test_detector_is_at_chance_on_noise():
    noise = torch.rand(128, 3, 64, 64, generator=step_generator(2, 0)) * 2 - 1
    truth = shapes.sample_images(128, step_generator(2, 1))
    found = measure(noise)
    for name, chance in (("shape", 1 / 3), ("color", 1 / 8)):
        assert (getattr(found, name) == getattr(truth, name)).float().mean() < chance + 0.15, name


def test_an_empty_picture_has_no_shape():
    plain = shapes.BACKGROUND_VALUES[[0, 1, 2, 3]][..., None, None].expand(4, 3, 64, 64)
    found = measure(plain)
    assert found.color.tolist() == found.shape.tolist() == [-1] * 4
    assert found.background.tolist() == [0, 1, 2, 3]


def test_a_single_frame_tells_its_direction():
    clips = shapes.sample_clips(64, step_generator(4, 0), frames=2)
    frames = shapes.render(clips)[:, 0]
    still = replace(clips, direction=torch.full_like(clips.direction, shapes.STILL))
    trail = (frames - shapes.render(still)[:, 0]).abs().sum(1)
    grid = (torch.arange(128) + 0.5) / 128
    total = trail.sum((1, 2)).clamp(min=1e-6)
    middle = torch.stack([(trail.sum(1) * grid).sum(1) / total, (trail.sum(2) * grid).sum(1) / total], 1)
    behind = ((clips.centers[:, 0] - middle) * shapes.DIRECTION_VECTORS[clips.direction]).sum(1)
    moving = clips.direction != shapes.STILL
    assert (behind[moving] > 0.03).all()
    assert (trail[~moving] == 0).all()


def test_clips_stay_inside_the_picture_and_cross_the_stated_distance():
    clips = shapes.sample_clips(256, step_generator(5, 0))
    assert clips.centers.min() >= 0.19
    assert clips.centers.max() <= 0.81
    crossed = (clips.centers[:, -1] - clips.centers[:, 0]).norm(dim=1)
    moving = clips.direction != shapes.STILL
    assert crossed[moving].min() >= shapes.TRAVEL[0] - 1e-5
    assert crossed[moving].max() <= shapes.TRAVEL[1] + 1e-5
    assert (crossed[~moving] == 0).all()


def test_captions_name_what_is_drawn():
    names = {"shape": torch.tensor([2]), "color": torch.tensor([0]), "background": torch.tensor([3])}
    names |= {"size": torch.tensor([1]), "cell": torch.tensor([[0, 2]])}
    clips = replace(shapes.sample_images(1, step_generator(3, 0)), **names)
    assert shapes.caption(clips, 0) == "a big red cross on a brown background, top right"
    assert shapes.caption(clips, 0, with_size=False, with_place=False) == "a red cross on a brown background"
