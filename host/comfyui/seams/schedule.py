"""A model's noise schedule replaced by another, keeping what the model predicts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import comfy.model_sampling
from torch import Tensor

from ....models.edits.edit import Schedule
from ....models.errors import HostError
from .live import KEY

SIGMAS = f"{KEY}.schedule"


def reschedule(model: Any, schedule: Schedule) -> Any:
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

    kind = getattr(sampling, "replaced", type(sampling))  # of one that was made here, what it was made of

    class OwnSchedule(kind):  # type: ignore[misc]  the prediction type is a base class
        """The model's sampling, its schedule held in plain attributes."""

        replaced, is_made = kind, False

        def _register_schedule(self, given_betas: Any = None, **options: Any) -> None:
            super()._register_schedule(given_betas=schedule.betas(), **options)

        def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
            """Keep for good what construction leaves; LCM's replaces the schedule it began with."""
            if not self.is_made:
                self.__dict__[name] = tensor

    made = OwnSchedule(SimpleNamespace(sampling_settings={"zsnr": sampling.zsnr}))
    made.is_made = True
    return made


def put_on(clone: Any, schedule: Schedule) -> None:
    """Give a clone a schedule in the place of its own, and note its noise levels, which a run checks."""
    sampling = reschedule(clone, schedule)
    clone.add_object_patch("model_sampling", sampling)
    clone.set_attachments(SIGMAS, sampling.sigmas.clone())
