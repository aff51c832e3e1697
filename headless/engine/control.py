"""ControlNets on conditions: what a condition carries, and what it adds to the UNet in one model call.

Rules are ComfyUI's: which hint a frame gets, how hints are resized, when a net acts, how chained nets add up.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import Tensor

from ...models.edits.call import Call
from ...models.edits.lockstep import Cut, Lockstep
from ...models.network.unet import UNetSize
from ...models.video.control_schedule import ControlSchedule, exchange_controls
from ...models.video.frames import pick_frames
from ...models.video.grid import Tiles
from ..samplers.sigmas import Sampling
from .edits import EditedRun
from .fitting import PIXELS_PER_LATENT, cycle, scale

# What is added to the UNet: to each of its skip connections, and after its middle block.
_Residuals = tuple[list[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Control:
    """A ControlNet on a condition. Each is itself alone: conditions that share one may share a batch.

    Attributes:
        network: the ControlNet.
        hints: [N, C, H, W] 0..1. Pictures: one for all frames, or one a frame; fewer begin again, more are cut.
        strength: factor on what it adds.
        start_percent, end_percent: part of sampling in which it acts, as shares of training's timesteps.
        previous: the one that the condition had before, which adds too.
    """

    network: ControlNetModel
    hints: Tensor
    strength: float = 1.0
    start_percent: float = 0.0
    end_percent: float = 1.0
    previous: Control | None = None

    def chain(self) -> Iterator[Control]:
        """Yield the condition's ControlNets, the first applied first."""
        if self.previous is not None:
            yield from self.previous.chain()
        yield self

    def pick(self, frame_ids: Sequence[int], previous: Control | None) -> Control:
        """Return the net for some of the clip's frames, behind another one."""
        return replace(self, hints=pick_frames(self.hints, frame_ids), previous=previous)

    def weigh(self, added: _Residuals, call: Call, tiles: Tiles | None) -> _Residuals:
        """Return what it adds in a call, weighed."""
        del call, tiles
        return added

    def check_fit(self, unet: UNetSize) -> None:
        """Check that every net of the chain is for a UNet of this size.

        Raises:
            ValueError: a net has other widths or another text width, or its hints have other channels.
        """
        for link in self.chain():
            config: Any = link.network.config
            widths, text = tuple(config.block_out_channels), config.cross_attention_dim
            if (widths, text) != (unet.widths, unet.context_dim):
                raise ValueError(
                    f"control_net: made for a UNet of widths {widths} and text width {text}, the model has "
                    f"{unet.widths} and {unet.context_dim}; choose a ControlNet for this base model."
                )
            if link.hints.shape[1] != config.conditioning_channels:
                raise ValueError(
                    f"image: has {link.hints.shape[1]} channels; the ControlNet expects "
                    f"{config.conditioning_channels}; leave out the alpha channel."
                )


@dataclass(frozen=True, eq=False)
class ScheduledControl(Control):
    """A ControlNet whose strength changes.

    Attributes:
        schedules: factors on what it adds.
    """

    schedules: tuple[ControlSchedule, ...] = ()

    def pick(self, frame_ids: Sequence[int], previous: Control | None) -> Control:
        """Return the net for some of the clip's frames, behind another one."""
        picked: Any = super().pick(frame_ids, previous)
        return replace(picked, schedules=tuple(each.pick(frame_ids) for each in self.schedules))

    def weigh(self, added: _Residuals, call: Call, tiles: Tiles | None) -> _Residuals:
        """Return what it adds in a call, weighed."""
        sides = [condition.index for condition in call.conditions]
        frame_ids = call.frame_ids if tiles is None else tiles.frame_ids
        place = {"frame_ids": frame_ids, "progress": call.progress, "sides": sides, "tiles": tiles}
        for schedule in self.schedules:
            skips, middle = added
            count = len(skips)
            added = (
                [schedule.weigh(skip, depth, count, **place) for depth, skip in enumerate(skips)],
                schedule.weigh(middle, None, count, **place),
            )
        return added


def schedule_controls(
    sides: Sequence[Sequence[Any]], schedule: ControlSchedule, *, every: bool
) -> list[list[Any]]:
    """Return conditions whose ControlNets have a schedule more, the last of each or all; those that share one still do.

    Args:
        sides: CONDITIONINGs.
        schedule: factors.
        every: True: for every ControlNet of a condition, not the last alone.

    Raises:
        ValueError: a condition has none.
    """

    @functools.cache
    def scheduled(control: Control) -> Control:
        previous = control.previous
        if every and previous is not None:
            previous = scheduled(previous)
        given: dict[str, Any] = {each.name: getattr(control, each.name) for each in fields(control)}
        given |= {"previous": previous, "schedules": (*given.get("schedules", ()), schedule)}
        return ScheduledControl(**given)

    return exchange_controls(sides, scheduled)


class ControlRun:
    """The ControlNets of one sampling run, with their hints at the run's size."""

    def __init__(self, sampling: Sampling, run: EditedRun) -> None:
        self._sampling, self._run = sampling, run
        self._hints: dict[Control, Tensor] = {}

    def residuals(
        self,
        control: Control | None,
        seen: Tensor,
        timestep: Tensor,
        tokens: Tensor,
        *,
        sigma: float,
        call: Call,
        cut: Cut,
        tiles: Tiles | None = None,
    ) -> dict[str, Any]:
        """Run a condition's ControlNets.

        Args:
            control: the last of a chain; None: there is none.
            seen: [chunks * F, 4, H, W]. Noisy latents as the UNet sees them.
            timestep: [1].
            tokens: text, [chunks, L, D] or [chunks * F, L, D].
            sigma: noise level, which says what nets act.
            call: the model call.
            cut: parts of its batch.
            tiles: pictures in which frames lie; None: each frame is one itself.

        Returns:
            Arguments for diffusers' UNet; none where no net acts.
        """
        total: _Residuals | None = None
        for link in control.chain() if control is not None else ():
            first, last = (
                self._sampling.percent_to_sigma(each) for each in (link.start_percent, link.end_percent)
            )
            if not last <= sigma <= first:
                continue
            ask = partial(
                link.network, timestep=timestep, conditioning_scale=link.strength, return_dict=False
            )
            given = {
                "sample": seen,
                "encoder_hidden_states": tokens,
                "controlnet_cond": self._hints_for(link, seen, call, tiles),
            }
            given = {name: each.to(link.network.dtype) for name, each in given.items()}
            lockstep = Lockstep(cut)
            with self._run.crossed(link.network, call, link, lockstep):
                added: _Residuals = lockstep.run(lambda part, ask=ask: ask(**part), given)
            added = link.weigh(added, call, tiles)
            if total is not None:
                added = (
                    [one + other for one, other in zip(total[0], added[0], strict=True)],
                    total[1] + added[1],
                )
            total = added
        if total is None:
            return {}
        return {"down_block_additional_residuals": total[0], "mid_block_additional_residual": total[1]}

    def _hints_for(self, link: Control, seen: Tensor, call: Call, tiles: Tiles | None) -> Tensor:
        """Return a net's hints for a batch; a whole clip's are kept for the next call, which has the same shape."""
        height, width = (PIXELS_PER_LATENT * side for side in seen.shape[-2:])
        if tiles is not None:
            picked = pick_frames(link.hints, tiles.frame_ids)
            cell = scale(picked, width // tiles.side, height // tiles.side, "nearest-exact").to(seen)
            return tiles.tile(cell).repeat(len(call.conditions), 1, 1, 1)

        def fit(hints: Tensor) -> Tensor:
            scaled = scale(hints, width, height, "nearest-exact").to(seen)
            return fit_hints(scaled, len(seen), len(call.conditions))

        if call.is_part:
            return fit(pick_frames(link.hints, call.frame_ids))
        hints = self._hints.get(link)
        if hints is None or hints.shape[-2:] != (height, width):
            hints = fit(link.hints)
        self._hints[link] = hints = fit_hints(hints, len(seen), len(call.conditions))
        return hints


def fit_hints(hints: Tensor, batch: int, chunks: int) -> Tensor:
    """Give every picture of a batch its hint, as ComfyUI does.

    Args:
        hints: [N, C, H, W].
        batch: pictures in the batch, chunks * F.
        chunks: conditions in the batch; each gets the same hints.

    Returns:
        [batch, C, H, W] or, for one hint, [1, C, H, W], which broadcasts. As many hints as pictures are taken as they
        are, even for several chunks.
    """
    if len(hints) in (1, batch):
        return hints
    return cycle(hints, batch // chunks).repeat(chunks, 1, 1, 1)
