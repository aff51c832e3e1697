"""The picture of Context Windows. What the node installs is in ``test_techniques``."""

from __future__ import annotations

import itertools

import pytest
import torch
from frameloom.models.video.windows import WindowPlan
from frameloom.nodes.drawing.plot import draw_windows

# Of the picture, in pixels: where bars begin, a bar with its gap, and the width that a clip takes.
LEFT, TOP, BAR, SPAN = 56, 28, 14, 568


def shade(picture, row, frame, frames):
    """How dark a frame's cell is in a row of the picture, 0 for white."""
    place = LEFT + int((frame + 0.5) * SPAN / frames)
    return 1 - float(picture[0, TOP + row * BAR + BAR // 2 - 2, place].mean())


@pytest.mark.parametrize("schedule", ["static", "uniform"])
def test_the_picture_has_a_bar_for_every_window_of_the_first_steps(run, model, schedule):
    frames, plan = 10, WindowPlan(4, 2, schedule)
    _, picture = run("ContextWindows", model=model, length=4, overlap=2, schedule=schedule, frames=frames)
    row = 0
    for step in range(4 if plan.is_moving else 1):
        for window in plan.windows(frames, step):
            shades = [shade(picture, row, frame, frames) for frame in range(frames)]
            assert {frame for frame, dark in enumerate(shades) if dark > 0} == set(window)
            weights = plan.weigh(window, frames)
            by_weight = [shades[frame] for _, frame in sorted(zip(weights, window, strict=True))]
            assert by_weight == sorted(by_weight)
            row += 1
        row += 1
    assert picture.shape == (1, TOP + row * BAR, 640, 3)


def test_a_picture_of_thousands_of_windows_stays_a_picture():
    for schedule, frames in itertools.product(("static", "looped"), (1, 2048)):
        picture = draw_windows(WindowPlan(2, 1, schedule), frames)
        assert picture.shape[1] <= 10_000
        assert torch.isfinite(picture).all()
