"""The one training loop: AdamW or Muon on named parameters, warm-up and cosine, clipped gradients, EMA, exact resume.

The loop optimises and writes checkpoints, and knows nothing of what is learned: the caller gives parameters and a loss.
Every random number comes from a generator with the seed (seed, micro-batch). So a resumed run draws the numbers of an
unbroken one, and several processes, which share the micro-batches of a step, draw the numbers of a single one.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import pickle
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor, nn

from ..models.files.whole_file import whole_file
from .team import ALONE, Team, check_shares, gather

logger = logging.getLogger(__name__)

LossFunction = Callable[[int, torch.Generator], Tensor]
Precision = Literal["fp32", "bf16", "fp16"]
_STATE = ("step", "key", "names", "values", "average", "optimizer", "scaler")  # fields of a checkpoint
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """Settings of the optimiser.

    Attributes:
        steps: optimiser steps in all.
        learning_rate: AdamW's learning rate, and Muon's. A cosine over all steps multiplies it, from 1 down to
            ``final_rate``; at 1 the rate stays.
        warmup: number of first steps in which the rate is also multiplied by the share of them that are done.
        ema_decay: decay of the averaged weights; the effective decay grows from 0.1 towards it. 0: no
            average.
        seed: seed of every draw, together with the number of the micro-batch.
        accumulation: number of micro-batches in one step, each with one call of the loss. Their gradients are
            averaged.
        precision: precision of autocast, under which the loss is computed. Parameters and averages keep their
            own. fp16 scales the loss, and leaves out steps whose gradient overflows.
    """

    steps: int
    learning_rate: float
    warmup: int = 50
    final_rate: float = 0.02
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    seed: int = 0
    accumulation: int = 1
    precision: Precision = "fp32"

    def rate(self, step: int) -> float:
        """Return the learning rate of a 0-based step."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / max(1, self.steps)))
        scale = self.final_rate + (1 - self.final_rate) * cosine
        return self.learning_rate * scale * min(1.0, (step + 1) / max(1, self.warmup))


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return the CPU generator of a step or a micro-batch. It depends on (seed, step) alone."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % (1 << 63))


def train(
    parameters: Mapping[str, nn.Parameter],
    loss: LossFunction,
    settings: LoopSettings,
    *,
    checkpoint: Path | None = None,
    checkpoint_every: int = 250,
    key: str = "",
    on_step: Callable[[int, float], None] | None = None,
    on_checkpoint: Callable[[int, dict[str, Tensor]], None] | None = None,
    team: Team = ALONE,
    matrices: Collection[str] = (),
) -> dict[str, Tensor]:
    """Minimise a loss over the given parameters and return their averaged values.

    With W processes, the one of rank r works on micro-batches r, r + W, ... of every step. All take the same step with
    the sum of their gradients. A single process does the same, except for the order of the sum.

    Args:
        parameters: parameters to train, by name, all on one device. Nothing else is changed.
        loss: function from a step and a micro-batch's generator to a scalar loss.
        settings: settings of the optimiser.
        checkpoint: file to save to and resume from; written whole or not at all.
        checkpoint_every: steps between saves.
        key: hash of everything else that a run depends on; a checkpoint goes on only with its own.
        on_step: callback after each step, before any save, that gets the 0-based step and its loss. It may
            raise to stop, which saves a checkpoint. If there are several processes, all must raise.
        on_checkpoint: callback after each save that gets the number of steps done and the averages as they
            are. A run that goes on from such a save calls it once more at its start, since the last call may
            have been killed.
        team: processes that train together. The main one alone saves, and calls ``on_checkpoint``.
        matrices: names of the parameters that Muon moves in place of AdamW (Jordan 2024,
            https://kellerjordan.github.io/posts/muon), by steps as large as AdamW's (Liu et al. 2025,
            https://arxiv.org/abs/2502.16982).

    Returns:
        The exponential moving average of each parameter, float32, newly allocated. The parameters themselves hold
        the last step's values.

    Raises:
        ValueError: there is nothing to train; the micro-batches of a step can't be shared evenly; the processes are not
            in the same run; or the checkpoint is damaged, of another run, or of more steps.
        FloatingPointError: the loss or its gradient is not finite. The last checkpoint stays.
        OSError: a checkpoint can't be written. The last one stays.
    """
    if not parameters:
        raise ValueError("parameters: got none to train; expected at least one that requires a gradient.")
    check_shares(settings.accumulation, team)
    run = _Run(parameters, settings, key, team, matrices)
    if checkpoint is not None and checkpoint.exists():
        run.load(checkpoint)
    run.check_team()
    if checkpoint is not None and team.rank == 0:
        logger.info("%s: from step %d of %d.", checkpoint.parent, run.step, settings.steps)

    def tell() -> None:
        if on_checkpoint is not None and team.rank == 0:
            on_checkpoint(run.step, run.averages())

    def save() -> None:
        if checkpoint is not None and team.rank == 0:
            run.save(checkpoint)
            tell()

    def is_due() -> bool:
        return run.step == settings.steps or run.step % checkpoint_every == 0

    if run.step and is_due():
        tell()
    while run.step < settings.steps:
        number = run.advance(loss)
        if on_step is not None:
            try:
                on_step(run.step - 1, number)
            except BaseException:
                save()
                raise
        if is_due():
            save()
    return run.averages()


class _Run:
    """Parameters in training, with everything that a checkpoint holds."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        settings: LoopSettings,
        key: str,
        team: Team,
        matrices: Collection[str],
    ) -> None:
        self.settings, self.key, self.team, self.step = settings, key, team, 0
        self.names, self.values = list(parameters), list(parameters.values())
        # Without a decay, the average is the value itself.
        self.average = [
            value.detach().clone().float() if settings.ema_decay else value.detach() for value in self.values
        ]
        self.device = self.values[0].device.type
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                [value for name, value in parameters.items() if name not in matrices],
                lr=0.0,
                betas=settings.betas,
                weight_decay=settings.weight_decay,
                fused=self.device in ("cpu", "cuda"),  # one pass over memory instead of a dozen
            )
        ]
        if matrices:
            moved = [parameters[name] for name in matrices]
            decay = settings.weight_decay
            self.optimizers += [
                torch.optim.Muon(moved, lr=0.0, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
            ]
        self.scaler = torch.amp.GradScaler(self.device, enabled=settings.precision == "fp16")

    def averages(self) -> dict[str, Tensor]:
        """Return copies of the averages, by name."""
        return {name: value.clone() for name, value in zip(self.names, self.average, strict=True)}

    def advance(self, loss: LossFunction) -> float:
        """Take a step and return its loss."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.settings.rate(self.step)
            optimizer.zero_grad(set_to_none=True)
        number = self._accumulate(loss)
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.values, self.settings.clip_norm)
        # Above a scale of 1, the scaler skips such a step and lowers its scale. Without a scaler the scale is 1.
        if self.scaler.get_scale() <= 1:
            self._check_finite("gradient", float(norm))
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        decay = min(self.settings.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [value.detach().float() for value in self.values], 1 - decay)
        self.step += 1
        return number

    def _accumulate(self, loss: LossFunction) -> float:
        """Add up the gradients of a step, over all processes, and return its mean loss."""
        settings, team = self.settings, self.team
        total = torch.zeros((), dtype=torch.float64)
        for index in range(team.rank, settings.accumulation, team.count):
            generator = step_generator(settings.seed, self.step * settings.accumulation + index)
            with torch.autocast(
                self.device, _DTYPES[settings.precision], enabled=settings.precision != "fp32"
            ):
                value = loss(self.step, generator) / settings.accumulation
            self.scaler.scale(value).backward()
            total += float(value.detach())
        team.sum([total])
        number = float(total)
        self._check_finite("loss", number)
        team.sum([value.grad for value in self.values if value.grad is not None])
        return number

    def _check_finite(self, what: str, number: float) -> None:
        if not math.isfinite(number):
            raise FloatingPointError(
                f"{what} is {number} at step {self.step}; lower learning_rate={self.settings.learning_rate}."
            )

    def check_team(self) -> None:
        """Check that all processes are at the same step of the same run."""
        digest = int(hashlib.sha256(self.key.encode()).hexdigest()[:12], 16)
        everyone = gather(self.team, self.step, digest)
        if any(each != everyone[0] for each in everyone):
            steps = ", ".join(f"{step:.0f}" for step, _ in everyone)
            raise ValueError(
                f"processes: got {self.team.count} that are not in the same run (at steps {steps}); expected the same "
                "checkpoint, clips and base on every machine; let them share the output folder and the user's folder."
            )

    def save(self, path: Path) -> None:
        """Write a checkpoint whole or not at all."""
        state = {
            "step": self.step,
            "key": self.key,
            "names": self.names,
            "values": [value.detach() for value in self.values],
            "average": self.average,
            "optimizer": self.optimizers[0].state_dict(),
            "muon": [optimizer.state_dict() for optimizer in self.optimizers[1:]],
            "scaler": self.scaler.state_dict(),
        }
        for part in path.parent.glob(f".{path.name}.*.part"):  # a run was killed as it wrote
            part.unlink()
        size = sum(value.numel() * (2 * value.element_size() + 8) for value in self.values)
        advice = "make room and start again: it goes on from the last checkpoint"
        with whole_file(path, size=size, advice=advice) as part, part.open("wb") as file:
            try:
                torch.save(state, file)
            except RuntimeError as error:  # so torch's writer reports a full disk
                raise OSError(str(error)) from error
            file.flush()
            os.fsync(file.fileno())

    def load(self, path: Path) -> None:
        """Restore a checkpoint in place."""
        state = _read_checkpoint(path)
        if state["names"] != self.names:
            raise ValueError(
                f"checkpoint {path}: holds {len(state['names'])} parameters that are not the {len(self.names)} to "
                "train; give another checkpoint path, or delete the file to start afresh."
            )
        moments = [state["optimizer"], *state.get("muon", [])]  # without Muon in checkpoints before it
        if state["key"] != self.key or len(moments) != len(self.optimizers):
            raise ValueError(
                f"checkpoint {path}: was made with other settings, data or base, or where clips are encoded to other "
                "bits (another machine, number of threads or torch); expected those of this run; give another "
                "checkpoint path, or delete the file to start afresh."
            )
        if state["step"] > self.settings.steps:
            raise ValueError(
                f"checkpoint {path}: is at step {state['step']}, past steps={self.settings.steps}; expected one of "
                "no more steps; raise steps, change the seed, or delete the file to start afresh."
            )
        with torch.no_grad():
            for kept, stored in ((self.values, state["values"]), (self.average, state["average"])):
                for value, tensor in zip(kept, stored, strict=True):
                    value.copy_(tensor)
        for optimizer, stored in zip(self.optimizers, moments, strict=True):
            optimizer.load_state_dict(stored)
        self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file of ``_Run.save``, and check the checksums that torch writes beside each tensor and never reads."""
    try:
        with ZipFile(path) as file:
            if any(each.compress_type for each in file.infolist()):
                raise ValueError("it is compressed, which torch's files are not")
            broken = file.testzip()
            if broken is not None:
                raise ValueError(f"the checksum of {broken} is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, BadZipFile, pickle.UnpicklingError) as error:
        raise ValueError(
            f"checkpoint {path}: damaged ({str(error).splitlines()[0] if str(error) else type(error).__name__}); "
            "expected it as it was written; put a copy of it back, or delete it to start afresh. What else is in its "
            "folder can be used."
        ) from error
    missing = [name for name in _STATE if name not in state] if isinstance(state, dict) else _STATE
    if missing:
        raise ValueError(
            f"checkpoint {path}: lacks {missing[0]}; expected one that this loop wrote; delete it to start afresh."
        )
    return state
