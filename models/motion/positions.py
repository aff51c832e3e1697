"""A motion module's positional encoding stretched over more frames than it was trained on, or drawn together.

Of the encodings P_0 ... P_(L-1) of the first L frames, frame j of L' gets the one at place (j + 1/2) L / L' - 1/2, held
within 0 ... L - 1 and interpolated linearly between whole places: torch's ``interpolate`` without aligned corners.

Source: AnimateDiff-Evolved's "sweetspot" setting, https://github.com/Kosinkadink/ComfyUI-AnimateDiff-Evolved.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch.nn.functional import interpolate

from .checkpoint import MotionWeights

_ENCODING = "pos_encoder.pe"


def stretch_positions(weights: MotionWeights, known: int, frames: int) -> MotionWeights:
    """Return a module whose positional encoding of its first frames is stretched over others' number.

    Args:
        weights: weights of the module; they stay as they are, and all other tensors are shared.
        known: number of first frames whose encodings are taken, L.
        frames: number of frames that they are stretched over, L'; the module takes so many at once.

    Raises:
        ValueError: the module has fewer encodings than are to be taken.
    """
    if known > weights.size.max_frames:
        raise ValueError(
            f"known_frames: got {known}; expected at most {weights.size.max_frames}, the frames that {weights.name} "
            f"has encodings for; lower it to {weights.size.max_frames}, or to 16, the clips that most were trained on."
        )
    state = {
        key: _stretch(value[:, :known], frames) if key.endswith(_ENCODING) else value
        for key, value in weights.state.items()
    }
    return replace(weights, size=replace(weights.size, max_frames=frames), state=state)


def _stretch(encoding: Tensor, frames: int) -> Tensor:
    """Stretch [1, L, C] to [1, L', C], in its dtype."""
    return interpolate(encoding.float().mT, frames, mode="linear").mT.to(encoding).contiguous()
