"""Fold and unfold frames: the one place that knows how a clip lies in a batch.

Video-major: frames of one video are contiguous, index ``b * F + f``.
"""

from __future__ import annotations

from collections.abc import Sequence

from einops import rearrange
from torch import Tensor

from .shapes import Hidden, Tokens

# Of a condition's options, what may have a row for each frame; so have its tokens, and its ControlNets' hints.
PER_FRAME = ("mask", "concat_latent_image", "concat_mask", "pooled_output")


def count_videos(batch: int, frames: int) -> int:
    """Return how many videos of ``frames`` frames a batch is; ValueError unless it is a whole number of them.

    Examples:
        >>> count_videos(32, 16)
        2
    """
    if frames < 1 or batch % frames:
        raise ValueError(
            f"batch={batch} is not a whole number of videos of frames={frames}; give latents whose first axis is a "
            "multiple of frames."
        )
    return batch // frames


def pick_frames(batch: Tensor, frame_ids: Sequence[int]) -> Tensor:
    """Return the rows of some frames, of a batch [N, ...] with a row for each frame of a clip: [F, ...].

    A batch of one row is for all frames, and returned itself. One with fewer rows than the clip has frames begins
    again, as ComfyUI's ControlNets have it.
    """
    return batch if len(batch) == 1 else batch[[frame % len(batch) for frame in frame_ids]]


def check_length(frame_ids: Sequence[int], length: int) -> None:
    """Raise ValueError unless a scene of a length has the frames that are sampled."""
    if max(frame_ids) >= length:
        raise ValueError(
            f"layout: got frame {max(frame_ids)} to sample; expected frames below {length}, the scene's length; make "
            "latents of as many frames as the scene has."
        )


def frames_to_tokens(hidden: Hidden, frames: int) -> Tokens:
    """Lay time out as the token axis: [B*F, C, H, W] -> [B*H*W, F, C], newly allocated or aliased."""
    count_videos(hidden.shape[0], frames)
    return rearrange(hidden, "(b f) c h w -> (b h w) f c", f=frames)


def tokens_to_frames(tokens: Tokens, height: int, width: int) -> Hidden:
    """Undo ``frames_to_tokens``: [B*H*W, F, C] -> [B*F, C, H, W]."""
    return rearrange(tokens, "(b h w) f c -> (b f) c h w", h=height, w=width)
