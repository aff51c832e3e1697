"""ControlNets whose strength changes: copies of ComfyUI's, of a class that weighs what they add before it is merged."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ....models.errors import HostError
from ....models.video.control_schedule import ControlSchedule, exchange_controls
from ....models.video.frames import count_videos
from ....models.video.schedules import TRAIN_TIMESTEPS
from .live import TILES
from .windows import find_window, follows_windows


class Scheduled:
    """What a scheduled ControlNet does beside its own class, which stands behind this one.

    Attributes:
        schedules: factors on what it adds.
    """

    schedules: tuple[ControlSchedule, ...]

    def pre_run(self, model: Any, percent_to_sigma: Any) -> None:
        """Begin a run."""
        self._sampling = model.model_sampling
        super().pre_run(model, percent_to_sigma)  # type: ignore[misc]

    def get_control(
        self, x_noisy: Tensor, t: Tensor, cond: Any, batched_number: int, transformer_options: dict[str, Any]
    ) -> Any:
        """Return what is added to the UNet. ComfyUI's own, which calls ``control_merge``."""
        frames, tiles = count_videos(x_noisy.shape[0], batched_number), transformer_options.get(TILES)
        window = find_window(transformer_options, frames) or tuple(range(frames))
        self._place = {
            "frame_ids": window if tiles is None else tiles.frame_ids,
            "tiles": tiles,
            "progress": 1 - float(self._sampling.timestep(t.flatten()[:1])[0]) / (TRAIN_TIMESTEPS - 1),
            "sides": transformer_options.get("cond_or_uncond", [0] * batched_number),
        }
        return super().get_control(x_noisy, t, cond, batched_number, transformer_options)  # type: ignore[misc]

    def control_merge(
        self, control: Mapping[str, Sequence[Tensor | None]], control_prev: Any, output_dtype: Any
    ) -> Any:
        """Weigh its own part, before those of the ControlNets in front of it are added."""

        def weigh(
            schedule: ControlSchedule, name: str, parts: Sequence[Tensor | None]
        ) -> list[Tensor | None]:
            depths = [None if name == "middle" else depth for depth in range(len(parts))]
            return [
                None if added is None else schedule.weigh(added, depth, len(parts), **self._place)
                for depth, added in zip(depths, parts, strict=True)
            ]

        for schedule in self.schedules:
            control = {name: weigh(schedule, name, parts) for name, parts in control.items()}
        return super().control_merge(control, control_prev, output_dtype)  # type: ignore[misc]

    def copy(self) -> Any:
        """Return a copy, as ComfyUI's nodes make one."""
        return _scheduled(super().copy(), self.schedules)  # type: ignore[misc]


def schedule_controls(
    sides: Sequence[list[list[Any]]], schedule: ControlSchedule, *, every: bool
) -> list[list[list[Any]]]:
    """Return conditions whose ControlNets have a schedule more, as ``contract.Host.schedule_controls`` says."""
    made: dict[int, Any] = {}

    def scheduled(control: Any) -> Any:
        if follows_windows(control):
            raise HostError(
                f"Control Schedule: got Advanced-ControlNet's {type(control).__name__}, which has strengths of its "
                "own; expected a ControlNet of core's; use Load ControlNet Model and Apply ControlNet."
            )
        if id(control) not in made:
            link = _scheduled(copy.copy(control), (*getattr(control, "schedules", ()), schedule))
            if every and link.previous_controlnet is not None:
                link.previous_controlnet = scheduled(link.previous_controlnet)
            made[id(control)] = link
        return made[id(control)]

    return exchange_controls(sides, scheduled)


def _scheduled(link: Any, schedules: tuple[ControlSchedule, ...]) -> Any:
    """Give a ControlNet that nobody else holds its schedules."""
    if not isinstance(link, Scheduled):
        link.__class__ = _class_of(type(link))
    link.schedules = schedules
    return link


@functools.cache
def _class_of(kind: type) -> type:
    return type(f"Scheduled{kind.__name__}", (Scheduled, kind), {})
