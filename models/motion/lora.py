"""Read motion LoRAs: low-rank changes of a motion module's weights, trained for a camera move, or a mask adapter.

Layouts: AnimateDiff's (``processor.to_q_lora.down.weight``), diffusers' and PEFT's, kohya's flattened names with alpha.
Every linear layer of a module can be changed: attentions, feed-forwards and the projections around them. What is
neither applied nor known is refused by its key.
A mask adapter has a mask encoder beside them, ``mask_encoder.conv.weight``, and a PIA adapter a picture encoder,
``picture_encoder.conv.weight``, or these alone: AnimateDiff-Evolved drops them, diffusers refuses such a file.

Source: AnimateDiff (Guo et al. 2023), https://arxiv.org/abs/2307.04725, section 4.3.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..edits.call import Call
from ..errors import CheckpointError
from ..files.weight_file import open_weights
from ..files.weight_kind import expect, find_variant
from ..network.unet import SD1
from ..video.factors import Factors
from ..video.shapes import Hidden
from .checkpoint import MID_SLOT, MotionWeights, motion_key
from .few_steps import FewStepSettings, read_few_steps, write_few_steps
from .mask_adapter import LATENT_CHANNELS, MASK_KEY
from .mixing import LayerLoRA
from .pia import PICTURE_KEY

logger = logging.getLogger(__name__)

# What follows a layer's name, per layout; the first alternative is AnimateDiff's own.
_ROLE = re.compile(r"(?:_lora\.|\.lora\.|\.lora_)(down|up|A|B)(?:\.default)?\.weight$")
# The linear layers of a temporal transformer: ours -> diffusers'.
_BLOCK = "transformer_blocks.0"
_LAYERS = {
    **{
        f"{_BLOCK}.attention_blocks.{number}.{layer}": f"{_BLOCK}.attn{number + 1}.{layer}"
        for number in (0, 1)
        for layer in ("to_q", "to_k", "to_v", "to_out.0")
    },
    **{each: each for each in (f"{_BLOCK}.ff.net.0.proj", f"{_BLOCK}.ff.net.2", "proj_in", "proj_out")},
}
_WHERE = ".temporal_transformer."

Strength = float | Factors
"""Strength of a motion LoRA: one number, or what changes by frame, step and place."""


@dataclass(frozen=True)
class MotionLoRA:
    """A motion LoRA.

    Attributes:
        name: name of its file, for messages.
        pairs: matrices down [R, C_in] and up [C_out, R] by the ``MotionModel`` weight they change, alpha folded in.
        mask_encoder: [C, 5, 3, 3]. Summand of the weight of the module's mask encoder; of 0 where it has none.
        few_steps: settings to sample a module with that has it, if it makes a few-step module of that.
    """

    name: str
    pairs: Mapping[str, tuple[Tensor, Tensor]]
    mask_encoder: Tensor | None = None
    few_steps: FewStepSettings | None = field(default=None, compare=False)

    def deltas(self, strength: float) -> Iterator[tuple[str, Tensor]]:
        """Yield each changed weight's name and ``strength * up @ down``, [C_out, C_in] float32, one at a time."""
        for name, (down, up) in self.pairs.items():
            yield name, strength * (up.float() @ down.float())
        for name, encoder in self.encoders.items():
            yield name, strength * encoder.float()

    @property
    def encoders(self) -> Mapping[str, Tensor]:
        """Summands of the weights of the module's encoders, by their names."""
        return {} if self.mask_encoder is None else {MASK_KEY: self.mask_encoder}

    def make_room(self, weights: MotionWeights) -> MotionWeights:
        """Return a module that has every weight this LoRA changes: with the encoders that are here."""
        for name in self.encoders:
            weights = weights.with_encoder(name)
        return weights

    def check_schedule(self) -> None:
        """Raise CheckpointError for a mask adapter or a PIA adapter, whose encoder has one strength."""
        if self.encoders:
            raise CheckpointError(
                f"{self.name}: is a mask adapter or a PIA adapter; expected a motion LoRA without an encoder, whose "
                "strength can change; put Load Motion LoRA in place of Motion LoRA Schedule."
            )

    def fit(self, weights: MotionWeights) -> MotionLoRA:
        """Return what applies to a module: all but pairs of a middle slot that it does not have, which is logged.

        Raises:
            CheckpointError: it changes weights that the module does not have, or has in other shapes.
        """
        pairs = dict(self.pairs)
        middle = [name for name in pairs if name.startswith(MID_SLOT)]
        if middle and MID_SLOT not in weights.size.channels:
            logger.warning(
                "%s: %d of %d weights are for the middle block, which %s (%s) does not have; they are left out.",
                self.name, len(middle), len(pairs), weights.name, weights.family,
            )  # fmt: skip
            pairs = {name: pair for name, pair in pairs.items() if name not in middle}
        for name, (down, up) in pairs.items():
            if name not in weights.state:
                raise CheckpointError(
                    f"{self.name}: changes {name}, which {weights.name} does not have; expected a motion LoRA for this "
                    "motion module; choose the module it was trained on (v2 for AnimateDiff's own)."
                )
            shape, wanted = (up.shape[0], down.shape[1]), tuple(weights.state[name].shape)
            if shape != wanted:
                raise CheckpointError(
                    f"{self.name}: {name} is {shape}, {weights.name} has {wanted}; expected a motion LoRA of the same "
                    "base; choose another LoRA, or the module it was trained on."
                )
        wanted = (weights.size.stem, LATENT_CHANNELS + 1, 3, 3)
        for name, encoder in self.encoders.items():
            if tuple(encoder.shape) != wanted:
                raise CheckpointError(
                    f"{self.name}: {name} is {tuple(encoder.shape)}; expected {wanted} for {weights.name}; choose an "
                    "adapter of the same base, or the module it was trained on."
                )
        return replace(self, pairs=pairs)


@dataclass(frozen=True)
class PiaLoRA(MotionLoRA):
    """A motion LoRA that makes a PIA module of the module that it is on.

    Attributes:
        picture_encoder: [C, 5, 3, 3]. Summand of the weight of the module's picture encoder; of 0 where it has none.
    """

    picture_encoder: Tensor | None = None

    @property
    def encoders(self) -> Mapping[str, Tensor]:
        """Summands of the weights of the module's encoders, by their names."""
        own = {} if self.picture_encoder is None else {PICTURE_KEY: self.picture_encoder}
        return {**super().encoders, **own}


def lora_with(
    name: str,
    pairs: Mapping[str, tuple[Tensor, Tensor]],
    encoders: Mapping[str, Tensor],
    few_steps: FewStepSettings | None = None,
) -> MotionLoRA:
    """Return a motion LoRA with encoders, by the names of their weights."""
    mask, picture = encoders.get(MASK_KEY), encoders.get(PICTURE_KEY)
    if picture is None:
        return MotionLoRA(name, pairs, mask, few_steps)
    return PiaLoRA(name, pairs, mask, few_steps, picture)


def read_motion_lora(path: str | Path) -> MotionLoRA:
    """Read a motion LoRA.

    Raises:
        CheckpointError: the file can't be read, is something else (said which, and where that belongs), or has a
            half of a pair, or pairs that don't multiply.
    """
    file = open_weights(path)
    expect(file.name, file.shapes, ("motion_lora",), "a motion LoRA of AnimateDiff")
    state = file.load(file.shapes)
    halves: dict[str, dict[str, Tensor]] = {}
    encoders = {key: state[key] for key in (MASK_KEY, PICTURE_KEY) if key in state}
    used = {*encoders}
    for key, tensor in state.items():
        role = _ROLE.search(key)
        if role is None:
            continue
        name = _weight_name(key[: role.start()])
        if name is None:
            raise CheckpointError(
                f"{file.name}: {key} names no layer of a motion module; expected keys like "
                "'down_blocks.0.motion_modules.0...to_q_lora.down.weight'; choose a motion LoRA of AnimateDiff."
            )
        side = "down" if role.group(1) in ("down", "A") else "up"
        scale = key[: role.start()] + ".alpha"
        used |= {key, scale}
        if side == "down" and scale in state:
            tensor = tensor * (state[scale].to(tensor) / tensor.shape[0])
        halves.setdefault(name, {})[side] = tensor
    _refuse_unused(file.name, [key for key in state if key not in used])
    pairs = {name: _pair(file.name, name, half) for name, half in halves.items()}
    return lora_with(file.name, pairs, encoders, read_few_steps(file.name, file.metadata))


def pack_motion_lora(lora: MotionLoRA) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a file from which ``read_motion_lora`` reads the same again.

    Keys are AnimateDiff's.
    """
    state = {name: encoder.contiguous() for name, encoder in lora.encoders.items()}
    for name, pair in lora.pairs.items():
        block, layer = name.removesuffix(".weight").removesuffix(".0").rsplit(".", 1)
        for side, half in zip(("down", "up"), pair, strict=True):
            state[f"{block}.processor.{layer}_lora.{side}.weight"] = half.contiguous()
    return state, {"frameloom.kind": "motion_lora", **write_few_steps(lora.few_steps)}


def merge_loras(weights: MotionWeights, loras: Sequence[tuple[MotionLoRA, Strength]]) -> MotionWeights:
    """Return a module with motion LoRAs merged into its weights, in float32 where they change something.

    Args:
        weights: the module; it stays as it is, and unchanged tensors are shared.
        loras: fitted to it, each with its strength.

    Raises:
        ValueError: a strength is not one number.
    """
    state = dict(weights.state)
    for lora, strength in loras:
        if isinstance(strength, Factors):
            raise ValueError(
                f"motion: got {lora.name} at a strength that changes; expected one number, since it is merged into the "
                "module's weights; put Load Motion LoRA in place of Motion LoRA Schedule."
            )
        for name, delta in lora.deltas(strength):
            state[name] = state[name].float() + delta
    return replace(weights, state=state)


def steady(loras: Sequence[tuple[MotionLoRA, Strength]]) -> list[tuple[MotionLoRA, float]]:
    """Return those whose strength is one number, which hosts merge into the module's weights."""
    return [(lora, strength) for lora, strength in loras if not isinstance(strength, Factors)]


def loras_in_slot(
    loras: Sequence[tuple[MotionLoRA, Strength]], network: Any, slot: str, hidden: Hidden, call: Call
) -> dict[nn.Module, list[LayerLoRA]]:
    """Return what motion LoRAs change by frame in a slot's layers; ones that are 0 in this call change nothing.

    Args:
        loras: motion LoRAs on the module; ``steady`` ones are in its weights.
        network: ``MotionModel`` that runs.
        slot: name of the slot.
        hidden: features that it works on, [N, C, H, W].
        call: the model call.
    """
    found: dict[nn.Module, list[LayerLoRA]] = {}
    for lora, strength in loras:
        if not isinstance(strength, Factors):
            continue
        factors = strength.at(call.frame_ids, call.progress, hidden.shape[-2:])
        if not factors.any():
            continue
        factors = factors.to(hidden)
        for name in lora.pairs:
            if name.startswith(f"{slot}."):
                layer = network.get_submodule(name.removesuffix(".weight"))
                down, up = _at_hand(lora, name, hidden, call)
                found.setdefault(layer, []).append(LayerLoRA(down, up, factors))
    return found


def _at_hand(lora: MotionLoRA, name: str, hidden: Hidden, call: Call) -> tuple[Tensor, Tensor]:
    """Return a pair as a run's network has its weights; it is brought there once."""
    key = ("motion LoRA", id(lora), name, hidden.dtype, hidden.device)
    if key not in call.memory:
        with torch.inference_mode(False):  # a guide takes gradients through them
            down, up = (half.to(hidden.device, hidden.dtype, copy=True) for half in lora.pairs[name])
            call.memory[key] = down, up
    return call.memory[key]


def _refuse_unused(file: str, keys: Sequence[str]) -> None:
    """Raise for tensors that would be left out."""
    if keys:
        variant = find_variant(dict.fromkeys(keys, ()))
        what = (
            f"a {variant}, a form of LoRA that motion modules don't take"
            if variant
            else "no part of a LoRA's pair"
        )
        raise CheckpointError(
            f"{file}: {keys[0]} is {what} ({len(keys)} such keys); expected pairs of down and up, with or without "
            "alpha; choose a plain motion LoRA."
        )


def _weight_name(layer: str) -> str | None:
    """Return the ``MotionModel`` weight of a LoRA's layer, whatever the layout."""
    if layer.startswith("lora_unet_"):
        return _flattened_names().get(layer.removeprefix("lora_unet_"))
    name = motion_key(layer.replace(".processor.", "."))
    if name is None:
        return None
    return (name + ".0" if name.endswith(".to_out") else name) + ".weight"


@cache
def _flattened_names() -> Mapping[str, str]:
    """Map kohya's names, in which every dot became an underscore, to weights; with and without diffusers' names."""
    return {
        f"{slot}{where}{name}".replace(".", "_"): f"{slot}{_WHERE}{ours}.weight"
        for slot in SD1.slots
        for ours, theirs in _LAYERS.items()
        for where, name in ((_WHERE, ours), (".", theirs))
    }


def _pair(file: str, name: str, half: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    if len(half) < 2:
        absent = "up" if "down" in half else "down"
        raise CheckpointError(
            f"{file}: {name} has no {absent} matrix; expected pairs of down and up; download it again."
        )
    down, up = half["down"], half["up"]
    if down.dim() != 2 or up.dim() != 2 or down.shape[0] != up.shape[1]:
        raise CheckpointError(
            f"{file}: {name} has down {tuple(down.shape)} and up {tuple(up.shape)}; expected [R, C] and [C, R]; "
            "download it again."
        )
    return down, up
