"""Pictures that nodes take for frames of a clip."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..host import api
from ..models.network.family import check_channels
from ..models.video.chunked_decode import PIXELS_A_CELL
from ..models.video.guards import check_frames
from ..models.video.held_frames import fit_pictures, place_frames, read_frames
from ..models.video.latents import frames_of
from ..models.video.shapes import Clip


def encode_frames(vae: Any, latent: dict[str, Any], images: Tensor, frames: str) -> tuple[Clip, list[int]]:
    """Encode pictures for some frames of a clip.

    Args:
        vae: the VAE of the clip's model.
        latent: the clip.
        images: [N, H, W, C] 0..1. Pictures, as ``encode_pictures`` takes them.
        frames: number of the frame that each is, as ``held_frames.read_frames`` reads them.

    Returns:
        Latents, [N, 4, h, w] of the clip's size, and their frames' numbers, 0 or more.

    Raises:
        ValueError: the VAE is of another kind than the clip, or a number is no frame's of it.
        PredictionError: a picture, or what the VAE makes of it, is not finite.
    """
    samples, numbers = frames_of(latent), read_frames(frames, len(images))
    check_channels(api.port().family(vae), samples)
    placed = place_frames(numbers, len(samples))
    return encode_pictures(vae, latent, images), placed


def encode_pictures(vae: Any, latent: dict[str, Any], images: Tensor) -> Clip:
    """Encode pictures at a clip's size: those of another are scaled, and cut off evenly on two sides.

    Args:
        vae: the VAE of the clip's model.
        latent: the clip.
        images: [N, H, W, C] 0..1. Pictures.

    Returns:
        Latents, [N, 4, h, w].

    Raises:
        ValueError: the VAE is of another kind than the clip.
        PredictionError: a picture, or what the VAE makes of it, is not finite.
    """
    port = api.port()
    check_channels(port.family(vae), frames_of(latent))
    given = port.encode(vae, fit_to_clip(latent, images))["samples"]
    check_frames(given, "images")
    return given


def fit_to_clip(latent: dict[str, Any], images: Tensor) -> Tensor:
    """Return pictures, [N, H, W, C], at a clip's size, [N, h, w, 3]: scaled, and cut off evenly on two sides."""
    height, width = (PIXELS_A_CELL * side for side in frames_of(latent).shape[-2:])
    return fit_pictures(images[..., :3], height, width)
