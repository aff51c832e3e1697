"""Nodes between text, pictures and what a sampler works on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from einops import rearrange
from torch import Tensor

from ...host import api
from ...models.layout.gligen import Gligen
from ...models.video.guards import check_frames
from ..engine.control import Control
from ..engine.encode import encode_two
from ..engine.gligen import CoreBoxes
from ..engine.guidance import Conditioning
from ..v3 import io
from ..v3.core_node import CoreNode
from ..weights.model import CLIP, VAE


class CLIPTextEncode(CoreNode):
    """A prompt as a condition."""

    @classmethod
    def execute(cls, text: str, clip: CLIP) -> io.NodeOutput:
        """Encode it."""
        return io.NodeOutput(api.port().encode_text(clip, text)[0])


class CLIPTextEncodeSDXL(CoreNode):
    """A prompt for each of SDXL's text encoders, and the sizes of the picture that the model is told."""

    @classmethod
    def execute(
        cls,
        clip: CLIP,
        width: int,
        height: int,
        crop_w: int,
        crop_h: int,
        target_width: int,
        target_height: int,
        text_g: str,
        text_l: str,
    ) -> io.NodeOutput:
        """Encode them."""
        tokens, pooled = encode_two(clip, text_l, text_g)
        sizes = {
            "width": width, "height": height, "crop_w": crop_w, "crop_h": crop_h,
            "target_width": target_width, "target_height": target_height,
        }  # fmt: skip
        return io.NodeOutput([[tokens, {"pooled_output": pooled, **sizes}]])


class CLIPSetLastLayer(CoreNode):
    """A text encoder whose tokens come from an earlier layer."""

    @classmethod
    def execute(cls, clip: CLIP, stop_at_clip_layer: int) -> io.NodeOutput:
        """Choose the layer."""
        return io.NodeOutput(replace(clip, last_layer=stop_at_clip_layer))


class VAEDecode(CoreNode):
    """Latents to pictures."""

    @classmethod
    def execute(cls, samples: dict[str, Any], vae: VAE) -> io.NodeOutput:
        """Decode them."""
        check_frames(samples["samples"], "samples")
        images = api.port().decode(vae, samples)
        check_frames(images, "decoded picture")
        return io.NodeOutput(images)


class VAEEncode(CoreNode):
    """Pictures to latents."""

    @classmethod
    def execute(cls, pixels: Tensor, vae: VAE) -> io.NodeOutput:
        """Encode them."""
        return io.NodeOutput(api.port().encode(vae, pixels))


class ControlNetApplyAdvanced(CoreNode):
    """A ControlNet on both prompts."""

    @classmethod
    def execute(
        cls,
        positive: Conditioning,
        negative: Conditioning,
        control_net: ControlNetModel,
        image: Tensor,
        strength: float,
        start_percent: float,
        end_percent: float,
        vae: VAE | None = None,
    ) -> io.NodeOutput:
        """Add it to every condition, after those it has. ``vae`` is for nets that SD1.5 doesn't have: not read."""
        del vae
        if strength == 0:
            return io.NodeOutput(positive, negative)
        hints = rearrange(image, "n h w c -> n c h w")

        @functools.cache
        def after(previous: Control | None) -> Control:
            """One for all conditions that had the same, so that they can share a batch."""
            return Control(control_net, hints, strength, start_percent, end_percent, previous)

        sides = (
            _with(side, lambda had: {"control": after(had.get("control"))}) for side in (positive, negative)
        )
        return io.NodeOutput(*sides)


class ConditioningCombine(CoreNode):
    """Two lists of conditions as one; a side's answer is the average."""

    @classmethod
    def execute(cls, conditioning_1: Conditioning, conditioning_2: Conditioning) -> io.NodeOutput:
        """Join them."""
        return io.NodeOutput([*conditioning_1, *conditioning_2])


class ConditioningSetMask(CoreNode):
    """A condition for a part of the picture."""

    @classmethod
    def execute(
        cls, conditioning: Conditioning, mask: Tensor, strength: float, set_cond_area: str
    ) -> io.NodeOutput:
        """Hang a mask, [N, H, W] or [H, W], on every condition."""
        added = {
            "mask": mask if mask.dim() > 2 else mask[None],
            "set_area_to_bounds": set_cond_area != "default",
            "mask_strength": strength,
        }
        return io.NodeOutput(_with(conditioning, lambda _: added))


class GLIGENTextBoxApply(CoreNode):
    """A text in a box, the same one in every frame."""

    @classmethod
    def execute(
        cls,
        conditioning_to: Conditioning,
        clip: CLIP,
        gligen_textbox_model: Gligen,
        text: str,
        width: int,
        height: int,
        x: int,
        y: int,
    ) -> io.NodeOutput:
        """Hang it on every condition, after those it has."""
        box = (api.port().pool_text(clip, text), height // 8, width // 8, y // 8, x // 8)

        def after(had: Mapping[str, Any]) -> dict[str, CoreBoxes]:
            earlier = had.get("gligen")
            return {"gligen": ("position", gligen_textbox_model, [*(earlier[2] if earlier else []), box])}

        return io.NodeOutput(_with(conditioning_to, after))


class InstructPixToPixConditioning(CoreNode):
    """Pictures to edit, for an instruct-pix2pix model."""

    @classmethod
    def execute(
        cls, positive: Conditioning, negative: Conditioning, vae: VAE, pixels: Tensor
    ) -> io.NodeOutput:
        """Hang their latents on every condition; the third result is empty latents of their size."""
        latents = api.port().encode(vae, pixels)["samples"]
        sides = (_with(side, lambda _: {"concat_latent_image": latents}) for side in (positive, negative))
        return io.NodeOutput(*sides, {"samples": torch.zeros_like(latents)})


def _with(conditioning: Conditioning, more: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Conditioning:
    """Return the conditions with more hung on each; ``more`` is told what hangs on it."""
    return [[tokens, options | more(options)] for tokens, options in conditioning]
