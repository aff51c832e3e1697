"""Nodes between text, pictures and what a sampler works on."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...host import api
from .. import io
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


NODES: list[type[io.ComfyNode]] = [CLIPTextEncode, VAEDecode, VAEEncode]
