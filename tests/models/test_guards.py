"""Wrong numbers stop a run, and the message says which."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.errors import HostError, PredictionError
from frameloom.models.video.guards import check_prediction, check_sampled, check_schedule
from frameloom.models.video.schedules import ANIMATEDIFF, STABLE_DIFFUSION


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_prediction_that_is_not_finite_is_named(bad, dtype):
    prediction = torch.zeros(16, 4, 8, 8, dtype=dtype)
    prediction[11, 0, 3] = bad
    with pytest.raises(
        PredictionError,
        match=rf"8 of 4096 values .* at step 3, sigma 14.61, in 1 of 8 frames \(first: 3\), dtype {dtype}",
    ):
        check_prediction(prediction, step=3, sigma=14.6146, frames=8)


def test_a_finite_prediction_passes():
    check_prediction(torch.full((16, 4, 8, 8), 65504.0, dtype=torch.float16), step=0, sigma=1.0, frames=8)


def test_sampled_latents_that_are_not_finite_are_not_blamed_on_the_model():
    latents = torch.zeros(4, 4, 2, 2)
    check_sampled(latents)
    latents[1, 0, 0, 0], latents[3, 2, 1, 1] = float("nan"), float("inf")
    with pytest.raises(PredictionError, match=r"in 2 of 4 frames, though every answer .*finite; .*cfg"):
        check_sampled(latents)


def test_a_displaced_schedule_is_named_with_the_known_issue():
    with pytest.raises(
        HostError,
        match=r"1000 sigmas up to 14.61\d, expected sqrt_linear's 1000 up to 25.14\d; .*issue 16490.*unload",
    ):
        check_schedule(STABLE_DIFFUSION.sigmas(), ANIMATEDIFF.sigmas(), "sqrt_linear")


def test_a_schedule_of_another_length_is_named():
    with pytest.raises(HostError, match=r"500 sigmas up to"):
        check_schedule(ANIMATEDIFF.sigmas()[::2], ANIMATEDIFF.sigmas(), "sqrt_linear")


@pytest.mark.parametrize("schedule", [ANIMATEDIFF, STABLE_DIFFUSION])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_the_schedule_asked_for_passes_in_any_dtype(schedule, dtype):
    check_schedule(schedule.sigmas().to(dtype), schedule.sigmas(), schedule.name)
