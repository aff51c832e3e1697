"""Frames side by side in pictures: what ComfyUI asks about a clip, or a window of it, is asked about pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.utils
from torch import Tensor

from ....models.errors import HostError
from ....models.video.grid import Tiles
from .control import Conditions, copy_link
from .live import TILES
from .windows import follows_windows


def ask_in_pictures(
    executor: Any,
    model: Any,
    sides: Conditions,
    noisy: Tensor,
    sigmas: Tensor,
    model_options: dict[str, Any],
    tiles: Tiles,
) -> list[Tensor]:
    """Return every side's answer about frames, asked as pictures; arguments are those of a CALC_COND_BATCH wrapper.

    Args:
        executor: function that asks about pictures.
        model: ComfyUI's model.
        sides: lists of conditions.
        noisy: [F, C, H, W]. Latents of the frames.
        sigmas: [F]. Noise level of each.
        model_options: options of the call.
        tiles: pictures in which the frames lie.

    Raises:
        ValueError: a condition can't be had for frames in a picture.
    """
    options = {**model_options.get("transformer_options", {}), TILES: tiles}
    answers = executor(
        model,
        _Laid(tiles, noisy.shape[-2:]).conditions(sides),
        tiles.tile(noisy),
        sigmas[: tiles.pictures],
        {**model_options, "transformer_options": options},
    )
    return [tiles.untile(answer) for answer in answers]


class _Laid:
    """What conditions have for each frame, laid into pictures as the frames are."""

    def __init__(self, tiles: Tiles, size: Sequence[int]) -> None:
        """Take how frames lie, and the height and width of their latents."""
        self._tiles, self._size = tiles, tuple(size)
        self._controls: dict[int, Any] = {}

    def conditions(self, sides: Conditions) -> Conditions:
        """Return all sides' conditions; those that share a ControlNet share its copy."""
        return [side and [self._condition(each) for each in side] for side in sides]

    def _condition(self, condition: dict[str, Any]) -> dict[str, Any]:
        if "area" in condition:
            raise ValueError(
                "conditioning: got an area, or a mask's bounds, for frames of one picture; expected none; use "
                "Conditioning (Set Mask), with set_cond_area at default."
            )
        laid = {
            **condition,
            "model_conds": {name: self._told(told) for name, told in condition["model_conds"].items()},
        }
        if condition.get("mask") is not None:
            laid["mask"] = self._tiles.tile(condition["mask"])
        if condition.get("control") is not None:
            laid["control"] = self._control(condition["control"])
        return laid

    def _told(self, told: Any) -> Any:
        """Return what the model is told: a picture of each frame's pictures, and one prompt."""
        value = getattr(told, "cond", None)
        if not isinstance(value, Tensor):
            return told
        if value.ndim == 4 and value.shape[-2:] == self._size:
            return type(told)(self._tiles.tile(value))
        self._tiles.check_prompts(len(value))
        return told

    def _control(self, control: Any) -> Any:
        if follows_windows(control):
            raise HostError(
                f"conditioning: got Advanced-ControlNet's {type(control).__name__} for frames of one picture; expected "
                "a ControlNet of core's, whose hints follow their frames; use Load ControlNet Model and Apply "
                "ControlNet."
            )
        if id(control) not in self._controls:
            link = copy_link(control, self._tiles.frame_ids, self._control)
            vae = getattr(link, "vae", None)
            scale = link.compression_ratio * (1 if vae is None else vae.spacial_compression_encode())
            if link.cond_hint_original is not None:
                link.cond_hint_original = self._hints(link, link.cond_hint_original, scale)
            link.extra_concat_orig = [self._hints(link, each, scale) for each in link.extra_concat_orig]
            self._controls[id(control)] = link
        return self._controls[id(control)]

    def _hints(self, link: Any, hints: Tensor, scale: int) -> Tensor:
        """Return hints as core would fit them to each frame, [N, C, H, W], laid into pictures."""
        height, width = (scale * side for side in self._size)
        return self._tiles.tile(
            comfy.utils.common_upscale(hints, width, height, link.upscale_algorithm, "center")
        )
