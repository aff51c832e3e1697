"""Conditions made ready for a run: checked, on the model's device, and put together in batches for each noise level."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...models.edits.call import Condition
from ...models.edits.edit import Question
from ...models.layout.gligen import Gligen, Grounding, check_fit, ground
from ...models.network.family import check_tokens
from ...models.video.frames import PER_FRAME, pick_frames
from ...models.video.grid import Tiles
from ..seams.between import Brought
from ..weights.model import Model
from ..weights.networks import MEASURES
from .added import beside_tokens
from .control import Control
from .fitting import cycle, scale, spread
from .gligen import ground_still, share_boxes
from .guidance import Conditioning

logger = logging.getLogger(__name__)

# What ComfyUI may hang on a condition and this host can't do; ignoring it would give another picture.
_NOT_BUILT = ("area", "hooks", "default")


@dataclass(frozen=True, eq=False)
class RunCondition:
    """One condition of a run.

    Attributes:
        condition: number of its side, its payload and its key.
        weight: share in the average of its side; [F, 1, H, W] where it has a mask.
        tokens: text, [1, L, D], or [F, L, D] with tokens for every frame.
        control: the last of its ControlNets.
        concat: [F, C, H, W]. Latents that the UNet sees beside the noisy ones; None: it has no input for more.
        added: [1 or F, D + 6]. Pooled text and the picture's measures; None: the UNet reads none.
        gligen, grounding: network and boxes of core's GLIGEN nodes.
        first_sigma, last_sigma: noise levels between which it counts, both included.
    """

    condition: Condition
    weight: float | Tensor
    tokens: Tensor
    control: Control | None = None
    concat: Tensor | None = None
    added: Tensor | None = None
    gligen: Gligen | None = None
    grounding: Grounding | None = None
    first_sigma: float = math.inf
    last_sigma: float = 0.0

    def weight_of(self, frame_ids: Sequence[int]) -> float | Tensor:
        """Return the weight in some frames."""
        return pick_frames(self.weight, frame_ids) if isinstance(self.weight, Tensor) else self.weight

    def variant(self, number: int, question: Question) -> RunCondition:
        """Return what is asked in its place, with its own number; the picture's measures stay as they are."""
        condition = Condition(self.condition.index, question.payload, (self.condition.key, number))
        added = self.added
        if added is not None and question.pooled is not None:
            told = added[:1, -MEASURES:].expand(len(question.pooled), -1)
            added = torch.cat([question.pooled.to(added), told], dim=1)
        return replace(self, condition=condition, tokens=question.tokens.to(self.tokens), added=added)


@dataclass(frozen=True)
class Group:
    """Conditions that go through the UNet in one batch: alike in tokens' length, ControlNets and GLIGEN.

    Attributes:
        conditions: one per chunk.
        tokens: text, [chunks, L, D], or [chunks * F, L, D] where a condition has tokens for every frame.
        control: the ControlNets that all of them have.
        concat: latents beside the noisy ones, [chunks * F, C, H, W], or None.
        added: pooled text and measures, [chunks, D + 6], or [chunks * F, D + 6] as tokens are, or None.
        brought: parts that core's GLIGEN nodes bring, by seam, in the place of edits' parts.
    """

    conditions: tuple[Condition, ...]
    tokens: Tensor
    control: Control | None
    concat: Tensor | None
    added: Tensor | None
    brought: Mapping[str, Sequence[Any]]

    def tiled(self, tiles: Tiles) -> Group:
        """Return the same conditions, asked about frames that lie in pictures.

        Raises:
            ValueError: one has a prompt for each frame.
        """
        chunks = len(self.conditions)
        for each in (self.tokens, self.added):
            if each is not None:
                tiles.check_prompts(len(each) // chunks)
        if self.concat is None:
            return self
        return replace(self, concat=torch.cat([tiles.tile(each) for each in self.concat.chunk(chunks)]))


class RunConditions:
    """The conditions of one run, in batches."""

    def __init__(self, sides: Mapping[str, Conditioning | None], model: Model, shape: torch.Size) -> None:
        """Check and prepare conditions.

        Args:
            sides: conditions by name, in the order of their numbers; None: a side that is not asked.
            model: model that they are for.
            shape: shape of the noisy latents, [F, C, H, W].

        Raises:
            ValueError: a side is empty, or a condition holds what is not built here or doesn't fit the model.
        """
        self._all = [
            _prepare((index, number), tokens, options, model, shape)
            for index, (name, side) in enumerate(share_boxes(sides).items())
            if side is not None
            for number, (tokens, options) in enumerate(_filled(name, side))
        ]
        self._asked: tuple[list[RunCondition], Sequence[int]] = [], ()
        self._groups: list[Group] = []

    def at(self, sigma: float) -> list[RunCondition]:
        """Return the conditions that count at a noise level."""
        return [each for each in self._all if each.last_sigma <= sigma <= each.first_sigma]

    def batches(self, asked: list[RunCondition], frame_ids: Sequence[int]) -> list[Group]:
        """Return conditions in batches, in ComfyUI's order: a batch lists its conditions from the last.

        Args:
            asked: the conditions.
            frame_ids: frames of the clip that they are asked about.
        """
        if (asked, frame_ids) != self._asked:
            alike: dict[Any, list[RunCondition]] = {}
            for each in asked:
                alike.setdefault((each.tokens.shape[1], each.control, each.gligen), []).append(each)
            self._groups = [_group(members[::-1], frame_ids) for members in alike.values()]
            self._asked = asked, frame_ids
        return self._groups


def select_frames(conditioning: Conditioning, frame_ids: Sequence[int]) -> Conditioning:
    """Return conditions for some frames of a clip: of what they have for each frame, these frames' part."""
    picked: dict[Control, Control] = {}

    def pick(value: Any) -> Any:
        if isinstance(value, Control):
            if value not in picked:
                picked[value] = value.pick(frame_ids, pick(value.previous))
            return picked[value]
        return value

    return [
        [
            pick_frames(tokens, frame_ids),
            {
                name: pick_frames(value, frame_ids) if name in PER_FRAME else pick(value)
                for name, value in options.items()
            },
        ]
        for tokens, options in conditioning
    ]


def _filled(name: str, side: Conditioning) -> Conditioning:
    if not side:
        raise ValueError(
            f"{name}: got no condition; expected at least one; connect a CLIPTextEncode to {name}."
        )
    return side


def _prepare(
    key: tuple[int, int], tokens: Tensor, options: Mapping[str, Any], model: Model, shape: torch.Size
) -> RunCondition:
    unable = [key for key in _NOT_BUILT if options.get(key) is not None]
    if unable:
        raise ValueError(f"conditioning: {unable[0]!r} is not built headless; run this workflow in ComfyUI.")
    check_tokens(model.family, [[tokens, options]], "conditioning")
    control, boxes = options.get("control"), options.get("gligen")
    if control is not None:
        control.check_fit(model.size)
    if boxes is not None:
        check_fit(boxes[1], model.size)
    return RunCondition(
        Condition(key[0], options.get("frameloom", {}), key),
        _weight(options, shape).to(model.device)
        if "mask" in options
        else float(options.get("strength", 1.0)),
        tokens.to(model.device, model.unet.dtype),
        control,
        _concat(options.get("concat_latent_image"), model, shape),
        _added(options, model, shape),
        *((None, None) if boxes is None else (boxes[1], ground_still(boxes[2], shape))),
        model.sampling.percent_to_sigma(options.get("start_percent", 0.0)),
        model.sampling.percent_to_sigma(options.get("end_percent", 1.0)),
    )


def _weight(options: Mapping[str, Any], shape: torch.Size) -> Tensor:
    """Bring a condition's masks, [N, H', W'], to a weight for each cell of a clip, [F, 1, H, W].

    Fewer than frames begin again after their last.
    """
    frames, _, height, width = shape
    if options.get("set_area_to_bounds"):
        raise ValueError(
            "conditioning: 'mask bounds' is not built headless; set set_cond_area to default, or run this workflow in "
            "ComfyUI."
        )
    masks = options["mask"][:frames]
    scaled = scale(masks[:, None].float(), width, height, "bilinear", center=False)
    strength = options.get("mask_strength", 1.0) * options.get("strength", 1.0)
    return strength * cycle(scaled, frames)


def _concat(latents: Tensor | None, model: Model, shape: torch.Size) -> Tensor | None:
    """Fit an instruct-pix2pix picture's latents, [N, C, H, W] and not scaled, to a clip; zeros where there are none."""
    frames, channels, height, width = shape
    if model.size.in_channels == channels:
        if latents is not None:
            logger.warning("concat_latent_image: a UNet of %d input channels has no place for it.", channels)
        return None
    fitted = torch.zeros(shape) if latents is None else latents
    if fitted.shape[1:] != shape[1:]:
        fitted = scale(fitted, width, height, "bilinear")
    return spread(fitted, frames).to(model.device, model.unet.dtype)


def _added(options: Mapping[str, Any], model: Model, shape: torch.Size) -> Tensor | None:
    """Return what SDXL's UNet reads beside the tokens, [1 or F, D + 6]; sizes that are not given are the picture's own.

    Raises:
        ValueError: the pooled text is missing, or another encoder's.
    """
    if not model.pooled:
        return None
    pooled: Tensor | None = options.get("pooled_output")
    if pooled is None or pooled.shape[-1] != model.pooled:
        got = "no pooled text" if pooled is None else f"pooled text {pooled.shape[-1]:,} wide"
        raise ValueError(
            f"conditioning: got {got}; expected {model.pooled:,}, as {model.family.name} reads it; encode the prompt "
            "with the CLIP of this model's own checkpoint."
        )
    return beside_tokens(pooled, (shape[-2], shape[-1]), options).to(model.device)


def _group(members: Sequence[RunCondition], frame_ids: Sequence[int]) -> Group:
    gligen = members[0].gligen
    concat = [each.concat[list(frame_ids)] for each in members if each.concat is not None]
    added = [each.added for each in members if each.added is not None]
    return Group(
        tuple(each.condition for each in members),
        _stack([each.tokens for each in members], frame_ids),
        members[0].control,
        torch.cat(concat) if concat else None,
        _stack(added, frame_ids) if added else None,
        {}
        if gligen is None
        else {"between": [Brought(ground(gligen, [each.grounding for each in members], frame_ids))]},
    )


def _stack(members: Sequence[Tensor], frame_ids: Sequence[int]) -> Tensor:
    """Return what conditions have, [1 or F, ...] each, in one batch: with a row a frame where one of them has."""
    count = len(frame_ids) if any(len(each) > 1 for each in members) else 1
    return torch.cat(
        [pick_frames(each, frame_ids).expand(count, *[-1] * (each.dim() - 1)) for each in members]
    )
