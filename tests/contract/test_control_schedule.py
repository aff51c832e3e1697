"""What every host promises of Control Schedule: a frame is as it is in a clip whose ControlNet has its strength."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.tensors import apart

FRAMES = 3
PLAIN = {"frames": FRAMES, "strength": "1", "between": "linear", "by_step": "1", "soft": 1.0}
PLAIN |= {"negative_strength": 1.0, "which": "last"}


@pytest.fixture(scope="module")
def net(core, tmp_path_factory):
    return core.random_control(tmp_path_factory.mktemp("control"))


@pytest.fixture
def drawn(port, core, demo, scene, net):
    """Draw a clip of the demo model alone, which mixes no frames, with a ControlNet of some settings."""
    hints = torch.rand(FRAMES, 64, 64, 3, generator=torch.Generator().manual_seed(1))

    def go(power=1.0, start=0.0, end=1.0, sides=None, model=None, nets=1, frame_ids=None, **settings):
        from frameloom.nodes.video.control_schedule import ControlSchedule

        pair = sides or (scene.positive, scene.negative)
        for _ in range(nets):
            pair = core.apply_control(*pair, net, hints, power, start, end)
        if settings:
            pair = ControlSchedule.execute(*pair, **{**PLAIN, **settings}).args[:2]
        if frame_ids is not None:
            pair = [port.select_frames(side, frame_ids) for side in pair]
        noise = scene.noise(FRAMES)
        noise = noise if frame_ids is None else noise[list(frame_ids)]
        positive, negative = pair
        given = {"positive": positive, "negative": negative, "noise": noise}
        return scene.run(demo[0] if model is None else model, frames=len(noise), **given)

    return go


def near(one, other):
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("windows", [False, True], ids=["whole", "windows"])
def test_each_frame_has_its_own_strength(drawn, scene, demo, windows):
    model = scene.windowed(demo[0], WindowPlan(2, 1)) if windows else None
    falling = drawn(strength="0: 1, -1: 0", model=model)
    for frame, strength in enumerate((1.0, 0.5, 0.0)):
        near(falling[frame], drawn(strength)[frame] if strength else scene.drawn(demo[0], FRAMES)[frame])
    assert apart(falling[0], falling[2]) > 0.05


def test_steps_are_those_of_start_and_end(drawn):
    near(drawn(by_step="0: 0, 0.5: 1"), drawn(start=0.5))
    near(drawn(by_step="0: 1, 0.4: 0"), drawn(end=0.4))


def test_factors_are_multiplied_with_each_other_and_with_the_strength(drawn):
    near(drawn(0.5, strength="0.8", by_step="0.5"), drawn(0.2))


def test_without_the_negative_side_and_without_a_place(drawn, scene, core, net):
    nothing = drawn(0.0)
    near(drawn(mask=torch.zeros(1, 8, 8)), nothing)
    near(drawn(mask=torch.ones(1, 8, 8)), drawn())
    last = torch.zeros(FRAMES, 8, 8)
    last[-1] = 1
    near(drawn(mask=last), drawn(strength="-1: 1", between="these alone"))
    one_sided = drawn(negative_strength=0.0)
    assert apart(one_sided, nothing) > 0.02
    assert apart(one_sided, drawn()) > 0.02


def test_a_soft_guide_changes_less(drawn):
    nothing = drawn(0.0)
    assert apart(drawn(soft=0.825), nothing) < 0.8 * apart(drawn(), nothing)
    assert torch.equal(drawn(soft=1.0), drawn(by_step="1"))


def test_the_last_of_two_or_both(drawn):
    near(drawn(nets=2, strength="0"), drawn())
    near(drawn(nets=2, strength="0", which="all"), drawn(0.0))


def test_some_frames_of_a_clip_keep_their_strength(drawn):
    near(drawn(strength="0: 1, -1: 0", frame_ids=(2, 1)), drawn(strength="0: 1, -1: 0")[[2, 1]])


def test_keys_of_finished_work_tell_schedules_apart(port, core, scene, net):
    from frameloom.models.files.keys import hash_settings
    from frameloom.nodes.video.control_schedule import ControlSchedule

    pair = core.apply_control(scene.positive, scene.negative, net, torch.ones(1, 64, 64, 3), 1.0, 0.0, 1.0)
    keys = [hash_settings(asked=port.describe(pair[0]))]
    for strength in ("1", "0.5", "0.5"):
        side = ControlSchedule.execute(*pair, **{**PLAIN, "strength": strength}).args[0]
        keys.append(hash_settings(asked=port.describe(side)))
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]


def test_a_condition_without_a_controlnet_is_refused(scene):
    from frameloom.nodes.video.control_schedule import ControlSchedule

    with pytest.raises(
        ValueError, match="without a ControlNet; expected one on each; connect what comes out"
    ):
        ControlSchedule.execute(scene.positive, scene.negative, **PLAIN)
