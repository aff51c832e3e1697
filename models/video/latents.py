"""A LATENT socket's value as the frames of a clip: what it holds, how frames are numbered, what does not fit.

Every node that takes a clip asks here, so the mathematics behind it can trust what it is given.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .shapes import Clip, Frame, Masks

# Channels of a clip's latents -> the models that have them, by axes: [clips, channels, time, height, width].
VIDEO_LATENTS = {
    12: "Mochi",
    16: "Wan 2.1, HunyuanVideo or CogVideoX",
    24: "MiniMax H3",
    32: "HunyuanVideo 1.5",
    48: "Wan 2.2 5B",
    128: "LTX-Video",
}
SOUND_CHANNELS = 8  # of ACE-Step, whose latents have the axes of pictures
NOISE_OF_OTHERS = "use core's Random Noise for this one"


def frames_of(
    latent: dict[str, Any], instead: str = "use a latent of Stable Diffusion", what: str = "latent"
) -> Clip:
    """Return the samples of a LATENT if they are frames, each a picture.

    Args:
        latent: value of the socket.
        instead: advice for a latent of another kind.
        what: name of the input.

    Raises:
        ValueError: they are of a video model, or sound.
    """
    samples = latent["samples"]
    got = _another_kind(samples, latent.get("type"))
    if got:
        raise ValueError(
            f"{what}: got {got}; expected the frames of a clip as a batch of pictures, [frames, channels, height, "
            f"width]; {instead}."
        )
    return samples


def _another_kind(samples: Any, kind: str | None) -> str:
    """Say what samples are, if they are no pictures; else nothing."""
    if not isinstance(samples, Tensor) or samples.is_nested:
        return "a clip and its sound in one latent, as LTX-2 has them"
    shape = list(samples.shape)
    if kind == "audio" or len(shape) == 3 or (len(shape) == 4 and shape[1] == SOUND_CHANNELS):
        return f"one of sound, {shape}"
    if len(shape) == 5:
        known = f", as {VIDEO_LATENTS[shape[1]]} has it" if shape[1] in VIDEO_LATENTS else ""
        return f"one of a video model, {shape}{known}"
    return "" if len(shape) == 4 and shape[0] else f"one of the shape {shape}"


def one_frame(latent: dict[str, Any], why: str) -> Frame:
    """Return the samples of a LATENT if they are one whole frame.

    Args:
        latent: value of the socket.
        why: reason for the message: who says how many frames there will be.

    Raises:
        ValueError: they are not, or there is a noise mask.
    """
    samples = frames_of(latent, "use Empty Latent Image with a batch_size of 1")
    if samples.shape[0] != 1 or "noise_mask" in latent:
        masked = " with a noise mask" if "noise_mask" in latent else ""
        raise ValueError(
            f"latent is {tuple(samples.shape)}{masked}; expected one frame, [1, channels, height, width], without a "
            f"mask; set batch_size to 1: {why}."
        )
    return samples


def number_frames(latent: dict[str, Any], first: int = 0) -> list[int]:
    """Return the number of each frame of a LATENT: its ``batch_index``, where it has one, else from 0.

    Args:
        latent: value of the socket.
        first: number that 0 stands for, where the clip continues a longer video.

    Raises:
        ValueError: it numbers more or fewer frames than there are, or one below 0, for which there is no noise.
    """
    frames = len(latent["samples"])
    numbers = latent.get("batch_index") or range(frames)
    if len(numbers) != frames:
        raise ValueError(
            f"latent: batch_index has {len(numbers)} numbers for {frames} frames; expected one a frame; a node that "
            "changes the number of frames has kept it; leave out the Latent From Batch before that node."
        )
    frame_ids = [first + number for number in numbers]
    if min(frame_ids) < 0:
        raise ValueError(f"frame id {min(frame_ids)} is negative; expected 0 or more; raise frame_offset.")
    return frame_ids


def renew_frames(latent: dict[str, Any], samples: Clip) -> dict[str, Any]:
    """Return a LATENT with other frames, without what it says of its own: their numbers and their noise mask.

    Args:
        latent: value of the socket that the frames were made of.
        samples: new frames.
    """
    rest = {name: value for name, value in latent.items() if name not in ("batch_index", "noise_mask")}
    return {**rest, "samples": samples}


def check_finite(latent: Tensor) -> None:
    """Raise ValueError unless latents, [...], hold numbers."""
    if not torch.isfinite(latent).all():
        raise ValueError(
            "latent holds NaN or infinity; expected finite numbers; look at what made it: run the model in a wider "
            "dtype, or lower cfg."
        )


def check_masks(masks: Masks, frames: int) -> None:
    """Raise ValueError unless there is a mask for each frame."""
    if len(masks) != frames:
        raise ValueError(
            f"mask has {len(masks)} frames, the video has {frames}; expected one mask per frame; make the mask from "
            "the decoded frames."
        )
