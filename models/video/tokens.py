"""Which latent frame each token of a video transformer is of.

Tokens of a clip go frame by frame, each frame row by row. Tokens of references, which are of no frame, may stand before
them and behind them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .shapes import Ids

NO_FRAME = -1


def frames_of_tokens(count: int, frame_ids: Ids, places: int, front: int = 0) -> Tensor:
    """Return the latent frame of each of some tokens.

    Args:
        count: number of tokens in all.
        frame_ids: latent frames that are sampled, in order.
        places: tokens of a frame.
        front: tokens of references that stand before the clip's; what is left stands behind them.

    Returns:
        [count] long; ``NO_FRAME`` for tokens of references.

    Raises:
        ValueError: there are fewer tokens.

    Examples:
        >>> frames_of_tokens(6, [4, 5], 2, front=1).tolist()
        [-1, 4, 4, 5, 5, -1]
    """
    own = torch.tensor(list(frame_ids)).repeat_interleave(places)
    behind = count - front - len(own)
    if behind < 0:
        raise ValueError(
            f"attention has {count} tokens; expected {front + len(own)} at least: {front} of references and "
            f"{len(own)} of {len(frame_ids)} latent frames; take nodes that change the number of tokens out of the "
            "model."
        )
    return torch.cat([own.new_full((front,), NO_FRAME), own, own.new_full((behind,), NO_FRAME)])
