"""What every host promises of CFG Schedule: each frame is guided by its own number, whatever else is on the model."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.files.keys import hash_settings, plain
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.scene import FRAMES
from frameloom.tests.support.tensors import apart

PLAIN = {"frames": FRAMES, "strength": "1", "between": "linear", "by_step": "1"}


@pytest.fixture
def guided(demo):
    """Return the demo model, which mixes no frames, or another, with a schedule."""

    def go(model=None, **settings):
        from frameloom.nodes.video.cfg_schedule import CFGSchedule

        return CFGSchedule.execute(demo[0] if model is None else model, **{**PLAIN, **settings}).args[0]

    return go


def near(one, other):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cfg", [0.0, 1.0, 6.0])
def test_one_number_for_all_is_the_samplers(scene, demo, guided, cfg):
    wanted = scene.run(demo[0], cfg=cfg)
    near(scene.run(guided(), cfg=cfg), wanted)
    near(scene.run(guided(strength=f"{cfg}"), cfg=1.0), wanted)
    near(scene.run(guided(strength=f"{cfg / 2}"), cfg=2.0), wanted)


@pytest.mark.parametrize("kind", ["whole", "windows"])
def test_each_frame_has_its_own(scene, demo, guided, kind):
    model = guided(strength="0: 8, 1: 1, -1: 0")
    if kind == "windows":
        model = scene.windowed(model, WindowPlan(3, 2))
    drawn = scene.run(model, cfg=1.0)
    for frame, cfg in enumerate((8.0, 1.0, 0.5, 0.0)):
        near(drawn[frame], scene.run(demo[0], cfg=cfg)[frame])
    assert apart(drawn[0], scene.run(demo[0], cfg=1.0)[0]) > 0.05


def test_each_step_has_its_own(scene, demo, guided):
    """Of three steps; the last alone, the last two, and none."""
    sigmas = scene.port.sigmas(demo[0], 3, "normal")
    first = scene.run(demo[0], sigmas=sigmas[:2], cfg=5.0)
    nothing = torch.zeros_like(first)
    rest = scene.run(demo[0], sigmas=sigmas[1:], latent=first, noise=nothing, cfg=1.0)
    near(scene.run(guided(by_step="0: 5, 0.3: 1"), sigmas=sigmas, cfg=1.0), rest)


def test_each_place_has_its_own(scene, demo, guided):
    mask = torch.zeros(FRAMES, 64, 64)
    mask[1] = 1
    drawn = scene.run(guided(mask=mask), cfg=4.0)
    near(drawn[1], scene.run(demo[0], cfg=4.0)[1])
    near(drawn[0], scene.run(demo[0], cfg=0.0)[0])


def test_two_schedules_are_multiplied_and_a_motion_module_goes_on(scene, motion, guided, moving):
    wanted = scene.run(moving, cfg=3.0)
    near(scene.run(guided(guided(moving, strength="2"), strength="1.5"), cfg=1.0), wanted)
    near(scene.run(scene.moving(guided(strength="3"), motion), cfg=1.0), wanted)


def test_one_prediction_of_a_model_is_not_guided(scene, demo, guided):
    assert torch.equal(scene.predict(guided(strength="5")), scene.predict(demo[0]))


def test_samplers_that_look_at_the_unguided_answer_find_it(scene, demo, guided):
    """CFG++ at a guidance of 1, too."""
    for cfg in (1.0, 2.0):
        wanted = scene.run(demo[0], sampler="euler_cfg_pp", cfg=cfg)
        near(scene.run(guided(), sampler="euler_cfg_pp", cfg=cfg), wanted)


def test_keys_of_finished_work_tell_schedules_apart(port, demo, guided):
    models = [demo[0], *(guided(strength=each) for each in ("1", "0.5", "0.5"))]
    keys = [hash_settings(edits=plain(port.edits(model))) for model in models]
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]


def test_what_is_no_number_is_refused(guided):
    with pytest.raises(ValueError, match="strength: got '0: x'"):
        guided(strength="0: x")
