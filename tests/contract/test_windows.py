"""What context windows promise on every host."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.layout import guide, lay_out, obey
from frameloom.tests.support.scene import SIDE
from frameloom.tests.support.tensors import apart

LENGTH, FRAMES = 4, 10
PLANS = [
    WindowPlan(LENGTH, 2),
    WindowPlan(LENGTH, 1, "uniform", 2, "flat"),
    WindowPlan(LENGTH, 2, "looped", 2, "overlap-linear"),
    WindowPlan(LENGTH, 2, "batched"),  # its last window is of two frames
    WindowPlan(7, 6),
]


@pytest.mark.parametrize("frames", [LENGTH, 1])
def test_a_window_as_long_as_the_clip_changes_no_bit(scene, moving, frames):
    windowed = scene.windowed(moving, WindowPlan(LENGTH, 2))
    assert torch.equal(scene.run(windowed, frames=frames), scene.drawn(moving, frames))


def test_a_clip_in_one_window_loops(scene, demo, moving):
    """Each step, it begins elsewhere: so its motion differs, and what has none is as it was."""
    loop = WindowPlan(LENGTH + 1, 1, "looped")
    assert apart(scene.run(scene.windowed(demo[0], loop)), scene.drawn(demo[0])) <= 1e-5
    assert apart(scene.run(scene.windowed(moving, loop)), scene.drawn(moving)) > 1e-2


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.schedule}-{plan.weights}-{plan.length}")
def test_a_model_that_does_not_mix_frames_is_as_without_windows(scene, demo, plan):
    windowed = scene.run(scene.windowed(demo[0], plan), frames=FRAMES)
    assert apart(windowed, scene.drawn(demo[0], FRAMES)) <= 1e-5


def test_a_motion_module_sees_a_window_at_a_time(port, scene, moving):
    """One denoising step: the mean of what it makes of each window, by the plan's weights."""
    plan, noise = PLANS[0], scene.noise(FRAMES)
    total, shares = torch.zeros_like(noise), torch.zeros(FRAMES, 1, 1, 1)
    for window in map(list, plan.windows(FRAMES, 0)):
        weights = torch.tensor(plan.weigh(tuple(window), FRAMES))[:, None, None, None]
        part = port.predict(moving, scene.positive, {"samples": noise[window] * 20}, 5.0)
        total[window] += weights * part
        shares[window] += weights
    expected = total / shares
    assert apart(scene.predict(scene.windowed(moving, plan), frames=FRAMES), expected) <= 1e-4
    assert apart(scene.predict(moving, frames=FRAMES), expected) > 1e-3


def test_a_clip_longer_than_a_motion_module_knows_runs(scene, moving, motion):
    longest = motion.weights.size.max_frames
    said = rf"frames={longest + 4} is more .* lower batch_size, or Nuwa Plan's length, to {longest}, or add"
    with pytest.raises(ValueError, match=said):
        scene.run(moving, frames=longest + 4)
    windowed = scene.windowed(moving, WindowPlan(longest, 8))
    assert torch.isfinite(scene.run(windowed, frames=longest + 4)).all()


@pytest.mark.parametrize("masks", [1, 2, FRAMES])
def test_what_a_condition_has_for_each_frame_follows_its_frame(scene, demo, masks):
    """Tokens for each frame, and masks for each, for several or for all, beside a second condition."""
    generator = torch.Generator().manual_seed(3)
    tokens, options = scene.positive[0]
    own = tokens + 0.3 * torch.randn(FRAMES, *tokens.shape[1:], generator=generator)
    drawn = torch.rand(masks, SIDE, SIDE, generator=generator).round()
    masked = {**options, "mask": drawn, "set_area_to_bounds": False, "mask_strength": 1.0}
    positive, moved = ([[each, masked], [tokens, options]] for each in (own, own.roll(1, 0)))
    plain = scene.run(demo[0], frames=FRAMES, positive=positive)
    for plan in PLANS[1:3]:
        got = scene.run(scene.windowed(demo[0], plan), frames=FRAMES, positive=positive)
        assert apart(got, plain) <= 1e-5, plan.schedule
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
    windowed = scene.run(scene.windowed(model, PLANS[2]), frames=FRAMES, positive=laid_out)
    assert apart(windowed, plain) <= 5e-4  # gradients of small pictures carry rounding far
    assert apart(plain, scene.run(demo[0], frames=FRAMES, positive=laid_out)) > 1e-2


@pytest.mark.parametrize("plan", [PLANS[0], WindowPlan(1, 0)], ids=lambda plan: f"length {plan.length}")
def test_all_windows_read_the_first_frame_of_the_clip(scene, demo, plan):
    """Cross-frame attention under windows: the anchor is the clip's, not each window's."""
    crossing = scene.crossing(demo[0])
    plain = scene.run(crossing, frames=FRAMES)
    assert apart(scene.run(scene.windowed(crossing, plan), frames=FRAMES), plain) <= 1e-4
