"""Nodes around models of video, which ComfyUI alone has: known here, so that such a workflow is refused by its name."""

from __future__ import annotations

from typing import Any, NoReturn

from ...models.errors import HostError
from ..v3.core_node import CoreNode


def _refuse(node: str, got: str) -> NoReturn:
    raise HostError(
        f"{node}: got {got}, of a model of video; expected a checkpoint of Stable Diffusion 1.5 or SDXL, "
        "which is all that the headless runner has an engine for; run this workflow in ComfyUI."
    )


class UNETLoader(CoreNode):
    """A model without its text encoder and VAE."""

    files = {"unet_name": "diffusion_models"}

    @classmethod
    def execute(cls, unet_name: str, weight_dtype: str) -> Any:
        """Refuse it."""
        _refuse(cls.__name__, unet_name)


class CLIPLoader(CoreNode):
    """A text encoder by itself."""

    files = {"clip_name": "text_encoders"}

    @classmethod
    def execute(cls, clip_name: str, type: str, device: str = "default") -> Any:
        """Refuse it."""
        _refuse(cls.__name__, clip_name)


class VAELoader(CoreNode):
    """A VAE by itself."""

    files = {"vae_name": "vae"}

    @classmethod
    def execute(cls, vae_name: str) -> Any:
        """Refuse it."""
        _refuse(cls.__name__, vae_name)


class ModelSamplingSD3(CoreNode):
    """The shift of a flow model's noise levels."""

    @classmethod
    def execute(cls, model: Any, shift: float) -> Any:
        """Refuse it."""
        _refuse(cls.__name__, f"shift {shift:g}")


class EmptyHunyuanLatentVideo(CoreNode):
    """An empty clip for a model of video."""

    @classmethod
    def execute(cls, width: int, height: int, length: int, batch_size: int) -> Any:
        """Refuse it."""
        _refuse(cls.__name__, f"{length} frames of {width} x {height}")


class WanTrackToVideo(CoreNode):
    """A picture and tracks of points for Wan's ATI."""

    @classmethod
    def execute(
        cls,
        positive: Any,
        negative: Any,
        vae: Any,
        tracks: str,
        width: int,
        height: int,
        length: int,
        batch_size: int,
        temperature: float,
        topk: int,
        start_image: Any,
        clip_vision_output: Any = None,
    ) -> Any:
        """Refuse it."""
        _refuse(cls.__name__, f"{length} frames of {width} x {height}")
