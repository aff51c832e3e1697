"""How few-step motion modules are to be sampled, and how a file tells that it is one.

AnimateDiff-Lightning and what ``training.motion.few_steps`` teaches know the noise levels of so many steps and no
others ("trailing"; ComfyUI's ``sgm_uniform``), go straight from one to the next (``euler``), and have guidance in them
already. AnimateLCM is a consistency model: from any level it draws the clean clip, which is noised again to the next.

Source: Lin and Yang 2024, https://arxiv.org/abs/2403.12706; Wang et al. 2024, https://arxiv.org/abs/2402.00769.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..edits.call import Plan
from ..errors import CheckpointError
from ..video.schedules import TRAIN_TIMESTEPS

SCHEDULER = "sgm_uniform"
_LIGHTNING = re.compile(r"lightning.*?(?<!\d)([1-9]\d?)[ _-]?steps?", re.IGNORECASE)
_KEY, _MOST = "frameloom.few_steps", 16
_SAME = {"ddim": "euler"}  # ComfyUI's ddim takes the same steps
_NEAR = 10  # timesteps; a host may round levels of the same step to others


def trailing(steps: int) -> Tensor:
    """Return the timesteps of so many steps, [steps] long, from the last one down.

    Examples:
        >>> trailing(4)
        tensor([999, 749, 499, 249])
    """
    return (TRAIN_TIMESTEPS * torch.arange(steps, 0, -1) / steps).round().long() - 1


@dataclass(frozen=True, slots=True)
class FewStepSettings:
    """Settings that a few-step motion module is to be sampled with.

    Attributes:
        steps: number of steps; the usual one, if the module takes others too.
        sampler: ComfyUI's name of its sampler.
        cfg: highest guidance.
        most: most steps; None: it knows the noise levels of ``steps`` steps alone.
    """

    steps: int
    sampler: str = "euler"
    cfg: float = 1.0
    most: int | None = None

    def misfit(self, name: str, plan: Plan) -> str | None:
        """Return what is wrong with a run, and what would be right; None: nothing.

        Args:
            name: name of the module's file.
            plan: the run.
        """
        got: list[str] = []
        steps = len(plan.timesteps)
        if self.most is not None and steps > self.most:
            got.append(f"{steps} steps")
        if self.most is None and not self._knows(plan.timesteps):
            got.append(f"{steps} steps" if steps > self.steps else "noise levels of another scheduler")
        if plan.sampler is not None and _SAME.get(plan.sampler, plan.sampler) != self.sampler:
            got.append(f"sampler {plan.sampler}")
        if plan.cfg is not None and plan.cfg > self.cfg:
            got.append(f"cfg {plan.cfg:g}")
        if not got:
            return None
        number = f"{self.steps}" if self.most is None else f"{self.steps} to {self.most}"
        return (
            f"{name} is a few-step motion module; got {', '.join(got)}; expected {self.sampler}, {SCHEDULER}, {number} "
            f"steps, cfg {self.cfg:g}; take them from Few Step Settings, or set them in the sampler."
        )

    def _knows(self, timesteps: tuple[float, ...]) -> bool:
        """Tell whether all steps begin at levels of its own; a clip that is drawn over has the last of them only."""
        levels = [int(level) for level in trailing(self.steps)]
        return all(any(abs(at - level) < _NEAR for level in levels) for at in timesteps)


CONSISTENCY = FewStepSettings(4, "lcm", cfg=2.0, most=8)


def from_name(name: str) -> FewStepSettings | None:
    """Return the settings of an AnimateDiff-Lightning file; its keys are v2's, so only its name tells.

    Examples:
        >>> from_name("animatediff_lightning_4step_comfyui.safetensors").steps
        4
    """
    found = _LIGHTNING.search(name)
    return None if found is None else FewStepSettings(int(found.group(1)))


def find_few_steps(motion: Any) -> tuple[str, FewStepSettings | None]:
    """Return the settings of a loaded motion module, and the file's name that they are of.

    They are those of its last motion LoRA that has any, or its own.
    """
    files = [motion.weights, *(lora for lora, strength in getattr(motion, "loras", ()) if strength)]
    file = next((file for file in reversed(files) if file.few_steps is not None), motion.weights)
    return file.name, file.few_steps


def choose_settings(
    motions: Sequence[tuple[str, FewStepSettings | None]], steps: int, model: str = "a model"
) -> FewStepSettings:
    """Return the settings to sample a model with.

    Args:
        motions: names and settings of the motion modules on it, as ``find_few_steps`` returns them.
        steps: number of steps to take; 0: as the last few-step module among them says.
        model: name of the model, for errors.

    Raises:
        ValueError: there is no motion module, none whose file says it, or one that knows another number of steps.
    """
    if not motions:
        raise ValueError(
            f"Few Step Settings: got {model} without a motion module; expected one with a few-step module; connect the "
            "model that comes out of Apply Motion Module."
        )
    found = [(name, settings) for name, settings in motions if settings is not None]
    if not found:
        if steps:
            return FewStepSettings(steps)
        raise ValueError(
            f"Few Step Settings: {motions[-1][0]} does not say that it is a few-step module, neither by its "
            "name nor in the file; expected AnimateDiff-Lightning, AnimateLCM or one taught by Train Motion Module; "
            "if it is one, or the checkpoint is (SDXL-Lightning, say), set steps to the number that it was made for."
        )
    name, settings = found[-1]
    most = settings.steps if settings.most is None else settings.most
    if steps and (steps > most or (settings.most is None and steps != most)):
        number = f"{most}" if settings.most is None else f"up to {most}"
        raise ValueError(
            f"Few Step Settings: got steps={steps} for {name}; expected {number}, which it was made for, or 0."
        )
    return replace(settings, steps=steps or settings.steps)


def count_taken(steps: int, denoise: float) -> int:
    """Return how many of the steps are taken, from the last one back."""
    return max(1, round(steps * denoise)) if denoise else 0


def read_few_steps(name: str, metadata: Mapping[str, str]) -> FewStepSettings | None:
    """Return what a file's own metadata says, as ``write_few_steps`` wrote it.

    Raises:
        CheckpointError: it is no number of steps.
    """
    value = metadata.get(_KEY)
    if value is None:
        return None
    if not value.isdecimal() or len(value) > 2 or not 1 <= int(value) <= _MOST:
        raise CheckpointError(
            f"{name}: its metadata says {_KEY}={value[:40]!r}; expected a number of steps from 1 to {_MOST}; save the "
            "module again."
        )
    return FewStepSettings(int(value))


def write_few_steps(settings: FewStepSettings | None) -> dict[str, str]:
    """Return what a file's metadata says of a module that was taught to draw in few steps; of others, nothing."""
    return {} if settings is None or settings.most is not None else {_KEY: str(settings.steps)}
