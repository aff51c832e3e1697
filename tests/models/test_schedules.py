"""Beta schedules by their names: the numbers of diffusers, and of closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDPMScheduler
from frameloom.models.video.schedules import ANIMATEDIFF, STABLE_DIFFUSION, BetaSchedule, MeanSchedule

# Ours, which are ComfyUI's, beside diffusers'.
THEIRS = {
    "linear": "scaled_linear",
    "sqrt_linear": "linear",
    "cosine": "squaredcos_cap_v2",
    "squaredcos_cap_v2": "squaredcos_cap_v2",
}


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("end", [0.012, 0.020])
def test_betas_are_diffusers(name, end):
    wanted = DDPMScheduler(beta_schedule=THEIRS[name], beta_start=0.00085, beta_end=end).betas
    torch.testing.assert_close(BetaSchedule(name, end=end).betas().float(), wanted, atol=1e-6, rtol=1e-5)


def test_the_square_root_is_of_a_straight_line():
    betas = BetaSchedule("sqrt").betas()
    for timestep in (0, 500, 999):
        line = 0.00085 + (0.012 - 0.00085) * timestep / 999
        assert float(betas[timestep]) == pytest.approx(math.sqrt(line))


def test_of_a_mean_the_sigmas_are_the_mean():
    mean = MeanSchedule()
    wanted = (STABLE_DIFFUSION.sigmas() + ANIMATEDIFF.sigmas()) / 2
    torch.testing.assert_close(mean.sigmas(), wanted)
    assert mean.betas().min() > 0
    assert mean.betas().max() < 1


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="beta schedule 'square' is unknown"):
        BetaSchedule("square").betas()
