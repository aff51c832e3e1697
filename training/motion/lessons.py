"""The parameters that learn: a whole motion module, a motion LoRA, or a mask or PIA adapter on a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...models.motion.checkpoint import MID_SLOT, MotionWeights
from ...models.motion.few_steps import FewStepSettings
from ...models.motion.lora import MotionLoRA, lora_with
from ...models.motion.module import MotionModel, MotionSize, NormScope, initialise
from ...models.motion.pia import TaughtPicture
from ...models.network.layers import attend, attend_briefly
from ...models.training import Learner
from ...models.video.schedules import BetaSchedule

Learned: TypeAlias = MotionWeights | MotionLoRA


@dataclass(frozen=True)
class Lesson:
    """The parameters that learn, and the network around them.

    Attributes:
        learner: network that runs inside the frozen UNet.
        parameters: parameters of the learner that change, by name, float32.
        finish: function from averaged parameters to the result, float32 on the CPU.
    """

    learner: Learner
    parameters: Mapping[str, nn.Parameter]
    finish: Callable[[Mapping[str, Tensor]], Learned]


class LowRank(nn.Module):
    """A weight plus ``up @ down``; ``up`` starts at zero.

    State:
        down [R, columns], up [rows, R].
    """

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Add the change to a weight, [rows, columns]."""
        return weight + self.up @ self.down


@torch.inference_mode(False)
def new_module(
    widths: Mapping[str, int],
    schedule: BetaSchedule | None,
    *,
    middle: bool = False,
    max_frames: int = 32,
    norm_scope: NormScope = "frame",
    seed: int = 0,
) -> MotionWeights:
    """Return a module that changes nothing yet: torch's own initialisation, with output projections of zero.

    Args:
        widths: widths of the base by the names of its temporal slots.
        schedule: beta schedule to train and sample with; None: the base's own.
        middle: True for a module with AnimateDiff v2's slot in the middle block.
        max_frames: number of frames that the positional encoding holds. Other packs take a module of 32 for
            v3, or for v2 if it has a middle slot, and one of any other length for v1, whose norms differ.
        norm_scope: scope of the module's own norms: ``clip`` for SDXL, as AnimateDiff's module for it has them.
        seed: seed of the weights.
    """
    channels = {slot: width for slot, width in widths.items() if middle or slot != MID_SLOT}
    with _seeded(seed):
        network = MotionModel(MotionSize(channels, max_frames, norm_scope=norm_scope))
    initialise(network)
    return MotionWeights("new module", "frameloom", network.size, network.state_dict(), schedule)


@torch.inference_mode(False)
def learn_module(
    weights: MotionWeights, name: str, device: torch.device, *, in_place: bool = False
) -> Lesson:
    """Let a whole module learn.

    Args:
        weights: weights to start from.
        name: name of the result.
        device: device to learn on.
        in_place: True for weights that nobody else holds. Where they lie on the device in float32, they learn
            in place, and take their memory once. Otherwise they stay as they are.
    """
    network = _build(weights, device, copy=not in_place).requires_grad_(True)

    def finish(averages: Mapping[str, Tensor]) -> MotionWeights:
        state = {key: averages.get(key, value) for key, value in network.state_dict().items()}
        return replace(weights, name=name, state={key: value.cpu().clone() for key, value in state.items()})

    return Lesson(_learner(network, weights), dict(network.named_parameters()), finish)


@torch.inference_mode(False)
def learn_lora(
    weights: MotionWeights,
    rank: int,
    name: str,
    device: torch.device,
    seed: int = 0,
    *,
    encoder: str | None = None,
    few_steps: FewStepSettings | None = None,
) -> Lesson:
    """Let a motion LoRA learn on a module's temporal attentions, or an adapter, which has an encoder too.

    Args:
        weights: module under the LoRA; it stays as it is.
        rank: rank of the changes; AnimateDiff's own have 64. 0: the encoder alone learns.
        name: name of the result.
        device: device to learn on.
        seed: seed of the first weights.
        encoder: key of the weight of an encoder, ``MASK_KEY`` or ``PICTURE_KEY``, of which a change learns,
            too; of a new encoder if the module has none.
        few_steps: settings to sample the result with, if it learns to draw in few steps.

    Source:
        The encoders are those of ``models.motion.mask_adapter`` and ``models.motion.pia``.
    """
    if encoder is not None:
        weights = weights.with_encoder(encoder)
    network = _build(weights, device).requires_grad_(False)
    with _seeded(seed):
        changes = {layer: change.to(device) for layer, change in _add_low_rank(network, rank).items()}
    parameters = {
        f"{layer}.{side}": getattr(change, side)
        for layer, change in changes.items()
        for side in ("down", "up")
    }
    if encoder is not None:
        parameters[encoder] = network.get_parameter(encoder).requires_grad_()

    def finish(averages: Mapping[str, Tensor]) -> MotionLoRA:
        pairs = {
            f"{layer}.weight": (averages[f"{layer}.down"].cpu(), averages[f"{layer}.up"].cpu())
            for layer in changes
        }
        encoders = (
            {} if encoder is None else {encoder: averages[encoder].cpu() - weights.state[encoder].float()}
        )
        return lora_with(name, pairs, encoders, few_steps)

    return Lesson(_learner(network, weights), parameters, finish)


def _learner(network: MotionModel, weights: MotionWeights) -> Learner:
    """Let a module that has a picture encoder be given pictures."""
    return Learner(network, weights, TaughtPicture() if weights.size.picture_encoder else None)


def _add_low_rank(network: MotionModel, rank: int) -> dict[str, LowRank]:
    """Put a low-rank change on every projection of a module's temporal attentions; return them by layer."""
    changes: dict[str, LowRank] = {}
    for name, layer in list(network.named_modules()) if rank else []:
        if name.rpartition(".")[2] in ("to_q", "to_k", "to_v") or name.endswith("to_out.0"):
            weight: Any = layer.weight
            changes[name] = LowRank(*weight.shape, rank=rank)
            parametrize.register_parametrization(layer, "weight", changes[name], unsafe=True)
    return changes


def _build(weights: MotionWeights, device: torch.device, *, copy: bool = True) -> MotionModel:
    attention = attend_briefly if device.type == "cpu" else attend
    network = MotionModel(weights.size, device="meta", attend=attention)
    state = {key: value.to(device, torch.float32, copy=copy) for key, value in weights.state.items()}
    network.load_state_dict(state, assign=True)
    return network


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from a seed inside the context, and restore torch's own random state after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
