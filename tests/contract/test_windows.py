"""What context windows promise on every host."""

from __future__ import annotations

import itertools

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.layout import CIRCLE, CROSS, guide, lay_out, obey

LENGTH, FRAMES = 4, 10
PLANS = [
    WindowPlan(LENGTH, 2),
    WindowPlan(LENGTH, 1, "uniform", 2, "flat"),
    WindowPlan(LENGTH, 2, "looped", 2, "overlap-linear"),
    WindowPlan(LENGTH, 2, "batched"),  # its last window is of two frames
    WindowPlan(7, 6),
]


def windowed(port, model, plan):
    return port.install(model, Edit("test", windows=plan))


def apart(one, other):
    return float((one - other).norm() / other.norm())


@pytest.fixture(scope="module")
def whole(scene, demo):
    """A clip without windows, from a model that has nothing that mixes frames."""
    return scene.run(demo[0], frames=FRAMES)


@pytest.mark.parametrize("frames", [LENGTH, LENGTH - 1, 1])
def test_a_window_as_long_as_the_clip_changes_no_bit(port, scene, demo, motion, frames):
    moving = scene.moving(demo[0], motion)
    plain = scene.run(moving, frames=frames)
    assert torch.equal(scene.run(windowed(port, moving, WindowPlan(LENGTH, 2)), frames=frames), plain)


def test_a_clip_in_one_window_loops(port, scene, demo, motion):
    """Each step, it begins elsewhere: so its motion differs, and what has none is as it was."""
    loop = WindowPlan(LENGTH + 1, 1, "looped")
    plain = scene.run(demo[0], frames=LENGTH)
    assert apart(scene.run(windowed(port, demo[0], loop), frames=LENGTH), plain) <= 1e-5
    moving = scene.moving(demo[0], motion)
    assert (
        apart(scene.run(windowed(port, moving, loop), frames=LENGTH), scene.run(moving, frames=LENGTH)) > 1e-2
    )


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.schedule}-{plan.weights}-{plan.length}")
def test_a_model_that_does_not_mix_frames_is_as_without_windows(port, scene, demo, whole, plan):
    assert apart(scene.run(windowed(port, demo[0], plan), frames=FRAMES), whole) <= 1e-5


@pytest.mark.parametrize("order", [1, -1])
def test_a_motion_module_sees_a_window_at_a_time(port, scene, demo, motion, order):
    """One denoising step: the mean of what it makes of each window, by the plan's weights."""
    plan, noise = PLANS[0], scene.noise(FRAMES)
    steps = [
        lambda model: scene.moving(model, motion),
        lambda model: windowed(port, model, plan),
    ][::order]
    model = steps[1](steps[0](demo[0]))

    def predict(model, frames):
        return port.predict(model, scene.positive, {"samples": noise[list(frames)] * 20}, 5.0)

    total, shares = torch.zeros_like(noise), torch.zeros(FRAMES, 1, 1, 1)
    for window in plan.windows(FRAMES, 0):
        weights = torch.tensor(plan.weigh(window, FRAMES))[:, None, None, None]
        total[list(window)] += weights * predict(scene.moving(demo[0], motion), window)
        shares[list(window)] += weights
    expected = total / shares
    assert apart(predict(model, range(FRAMES)), expected) <= 1e-4
    assert apart(predict(scene.moving(demo[0], motion), range(FRAMES)), expected) > 1e-3


def test_a_clip_longer_than_a_motion_module_knows_runs(port, scene, demo, motion):
    frames = motion.weights.size.max_frames + 4
    moving = scene.moving(demo[0], motion)
    with pytest.raises(ValueError, match="frames"):
        scene.run(moving, frames=frames)
    model = windowed(port, moving, WindowPlan(motion.weights.size.max_frames, 8))
    assert torch.isfinite(scene.run(model, frames=frames)).all()


@pytest.mark.parametrize("masks", [1, 2, 5, FRAMES])
def test_what_a_condition_has_for_each_frame_follows_its_frame(port, scene, demo, masks):
    """Tokens for each frame, and masks for each, for several or for all, beside a second condition."""
    generator = torch.Generator().manual_seed(3)
    tokens, options = scene.positive[0]
    own = tokens + 0.3 * torch.randn(FRAMES, *tokens.shape[1:], generator=generator)
    drawn = torch.rand(masks, 16, 16, generator=generator).round()
    positive = [
        [own, {**options, "mask": drawn, "set_area_to_bounds": False, "mask_strength": 1.0}],
        [tokens, options],
    ]
    plain = scene.run(demo[0], frames=FRAMES, positive=positive)
    for plan in PLANS[:3]:
        got = scene.run(windowed(port, demo[0], plan), frames=FRAMES, positive=positive)
        assert apart(got, plain) <= 1e-5
    moved = [[own.roll(1, 0), positive[0][1]], positive[1]]
    assert apart(scene.run(demo[0], frames=FRAMES, positive=moved), plain) > 1e-2


LAYOUTS = {
    "bias": lambda port, model: obey(port, model, end_percent=1.0),
    "bias and gather": lambda port, model: obey(port, model, gather_percent=1.0),
    "energy": guide,
}


@pytest.mark.parametrize("way", list(LAYOUTS))
def test_layouts_follow_their_frames(port, scene, demo, way):
    laid_out = lay_out(port, demo[1], frames=FRAMES)
    model = LAYOUTS[way](port, demo[0])
    plain = scene.run(model, frames=FRAMES, positive=laid_out)
    for plan in PLANS[1:4]:
        got = scene.run(windowed(port, model, plan), frames=FRAMES, positive=laid_out)
        assert apart(got, plain) <= 1e-4, plan.schedule
    backwards = lay_out(port, demo[1], frames=FRAMES, boxes=(CIRCLE[::-1], CROSS[::-1]))
    assert apart(scene.run(model, frames=FRAMES, positive=backwards), plain) > 1e-3


@pytest.mark.parametrize("plan", [PLANS[0], WindowPlan(1, 0)], ids=lambda plan: f"length {plan.length}")
def test_all_windows_read_the_first_frame_of_the_clip(port, scene, demo, plan):
    """Cross-frame attention under windows: the anchor is the clip's, not each window's."""
    crossing = scene.crossing(demo[0])
    plain = scene.run(crossing, frames=FRAMES)
    assert apart(scene.run(windowed(port, crossing, plan), frames=FRAMES), plain) <= 1e-4


def test_the_last_plan_counts_and_the_model_stays_as_it_was(port, scene, demo, motion):
    moving = scene.moving(demo[0], motion)
    first = windowed(port, moving, PLANS[0])
    results = [scene.run(model, frames=FRAMES) for model in (first, windowed(port, first, PLANS[3]))]
    assert torch.equal(results[1], scene.run(windowed(port, moving, PLANS[3]), frames=FRAMES))
    assert torch.equal(results[0], scene.run(first, frames=FRAMES))
    for one, other in itertools.combinations((*results, scene.run(moving, frames=FRAMES)), 2):
        assert apart(one, other) > 1e-3
