"""What every host promises of few-step motion modules: the settings they were made for, and a word where others are."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from frameloom.models.motion.few_steps import CONSISTENCY, FewStepSettings, trailing
from frameloom.tests.support.scene import FRAMES


@pytest.fixture
def taught(port, demo, motion, scene):
    """Return the demo model with its motion module, as if that had been taught by some settings."""

    def make(settings):
        weights = replace(motion.weights, name="few.safetensors", few_steps=settings)
        return scene.moving(demo[0], port.load_motion(weights))

    return make


def sample(core, scene, model, steps, cfg, sampler, scheduler, denoise=1.0):
    latent = {"samples": torch.zeros_like(scene.noise(FRAMES))}
    core.ksampler(model, 3, steps, cfg, sampler, scheduler, scene.positive, scene.negative, latent, denoise)


@pytest.mark.parametrize(
    ("settings", "steps", "denoise", "sampler", "timesteps"),
    [
        (FewStepSettings(4), 0, 1.0, "euler", [999, 749, 499, 249]),
        (FewStepSettings(2), 2, 1.0, "euler", [999, 499]),
        (FewStepSettings(4), 0, 0.5, "euler", [499, 249]),
        (FewStepSettings(4), 0, 0.0, "euler", []),
        (None, 4, 1.0, "euler", [999, 749, 499, 249]),
        (CONSISTENCY, 0, 1.0, "lcm", [999, 749, 499, 249]),
        (CONSISTENCY, 5, 1.0, "lcm", trailing(5).tolist()),
    ],
)
def test_the_settings_are_the_modules(port, taught, settings, steps, denoise, sampler, timesteps):
    from frameloom.nodes.motion.few_steps import FewStepSettings as Node

    model = taught(settings)
    chosen, sigmas, cfg = Node.execute(model, steps, denoise).args
    assert type(chosen) is type(port.sampler(sampler))
    for field in ("name", "sampler_function"):
        assert getattr(chosen, field, None) == getattr(port.sampler(sampler), field, None)
    assert sigmas[-1:].tolist() == [0.0] * bool(denoise)
    found = [port.sigma_to_timestep(model, float(sigma)) for sigma in sigmas[:-1]]
    assert found == pytest.approx(timesteps, abs=1)
    assert cfg == 1.0


@pytest.mark.parametrize(
    ("settings", "run", "said"),
    [
        (FewStepSettings(4), (4, 1.0, "euler", "sgm_uniform"), None),
        (FewStepSettings(4), (2, 1.0, "euler", "sgm_uniform", 0.5), None),
        (FewStepSettings(4), (5, 4.0, "euler", "normal"), "got 5 steps, cfg 4; expected euler, sgm_uniform, 4 steps"),
        (FewStepSettings(4), (4, 1.0, "euler", "normal"), "got noise levels of another scheduler; expected"),
        (FewStepSettings(4), (4, 1.0, "dpmpp_2m", "sgm_uniform"), "got sampler dpmpp_2m; expected euler"),
        (CONSISTENCY, (3, 1.5, "lcm", "normal"), None),
        (CONSISTENCY, (3, 4.0, "euler", "normal"), "sampler euler, cfg 4; expected lcm, sgm_uniform, 4 to 8 steps"),
        (None, (2, 7.0, "euler", "normal"), None),
    ],
)  # fmt: skip
def test_a_run_that_does_not_fit_is_told(core, scene, taught, caplog, settings, run, said):
    sample(core, scene, taught(settings), *run)
    told = [message for message in caplog.messages if message.startswith("few.safetensors")]
    assert len(told) == (said is not None)
    assert said is None or said in told[0]
