"""Nodes between text, pictures and what a sampler works on."""

from __future__ import annotations

import functools
from typing import Any

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from einops import rearrange
from torch import Tensor

from ...host import api
from .. import io
from ..control import Control
from ..guidance import Conditioning
from ..model import CLIP, VAE
from .core_node import CoreNode


class CLIPTextEncode(CoreNode):
    """A prompt as a condition."""

    @classmethod
    def execute(cls, text: str, clip: CLIP) -> io.NodeOutput:
        """Encode it."""
        return io.NodeOutput(api.port().encode_text(clip, text)[0])


class VAEDecode(CoreNode):
    """Latents to pictures."""

    @classmethod
    def execute(cls, samples: dict[str, Any], vae: VAE) -> io.NodeOutput:
        """Decode them."""
        return io.NodeOutput(api.port().decode(vae, samples))


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

        return io.NodeOutput(
            *(
                [[tokens, options | {"control": after(options.get("control"))}] for tokens, options in side]
                for side in (positive, negative)
            )
        )


class InstructPixToPixConditioning(CoreNode):
    """Pictures to edit, for an instruct-pix2pix model."""

    @classmethod
    def execute(
        cls, positive: Conditioning, negative: Conditioning, vae: VAE, pixels: Tensor
    ) -> io.NodeOutput:
        """Hang their latents on every condition; the third result is empty latents of their size."""
        latents = api.port().encode(vae, pixels)["samples"]
        sides = (
            [[tokens, options | {"concat_latent_image": latents}] for tokens, options in side]
            for side in (positive, negative)
        )
        return io.NodeOutput(*sides, {"samples": torch.zeros_like(latents)})


NODES: list[type[io.ComfyNode]] = [
    CLIPTextEncode,
    ControlNetApplyAdvanced,
    InstructPixToPixConditioning,
    VAEDecode,
    VAEEncode,
]
