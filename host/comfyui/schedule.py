"""A model's noise schedule replaced by another, keeping what the model predicts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import comfy.model_sampling
from torch import Tensor

from ...models.errors import HostError
from ...models.schedules import BetaSchedule


def reschedule(model: Any, schedule: BetaSchedule) -> Any:
    """Return the model's sampling object on another beta schedule, of the same prediction type.

    Its sigmas are plain attributes and can't be overwritten as buffers: ComfyUI with dynamic VRAM backs buffers up by
    their path, and would give the schedules of patched and plain clones to each other (ComfyUI issue 16490).

    Raises:
        HostError: the model does not sample on 1000 discrete timesteps.
    """
    sampling = model.get_model_object("model_sampling")
    if not isinstance(sampling, comfy.model_sampling.ModelSamplingDiscrete):
        raise HostError(
            f"beta schedule {schedule.name}: the model samples with {type(sampling).__name__}, expected discrete "
            "timesteps as SD1.5 has; remove the node that changed its sampling, or choose the model's own schedule."
        )
    settings = {
        "beta_schedule": schedule.name,
        "linear_start": schedule.start,
        "linear_end": schedule.end,
        "zsnr": sampling.zsnr,
    }

    class OwnSchedule(type(sampling)):  # type: ignore[misc]  the prediction type is a base class
        """The model's sampling, its schedule held in plain attributes."""

        is_made = False

        def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
            """Keep for good what construction leaves; LCM's replaces the schedule it began with."""
            if not self.is_made:
                self.__dict__[name] = tensor

    made = OwnSchedule(SimpleNamespace(sampling_settings=settings))
    made.is_made = True
    return made
