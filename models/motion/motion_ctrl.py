"""MotionCtrl's camera: what a motion module reads of it between its attentions over time.

With z what a temporal block has before its last attention, and e the twelve numbers of the frame's view [R | t], row by
row, from the axes of the first frame's camera to its own,

    z <- P [z, e] + b

For the negative prompt e is 0. The last attention and its norm were trained with P, and take the place of the module's.

Source: MotionCtrl (Wang et al. 2023), https://arxiv.org/abs/2312.03641, section 3.2, and its authors' code for
AnimateDiff.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..edits.call import Call
from ..errors import CheckpointError
from ..files.weight_file import open_weights
from ..files.weight_kind import expect
from .camera import CameraPoses
from .checkpoint import MotionWeights, motion_key
from .module import MotionModel

WANTED = "MotionCtrl's camera module (CMCM)"
_INSTEAD = "load AnimateDiff's v3_sd15_mm.ckpt in Load Motion Module, which it was trained on"


@dataclass(frozen=True, eq=False)
class ModuleCamera:
    """A camera for a motion module with MotionCtrl's projections.

    Of a context window the first frame's camera stands at 0, as in every clip of the training.

    Attributes:
        poses: camera of each frame; their lenses are not read.
    """

    poses: CameraPoses

    def views(self, call: Call) -> Tensor:
        """Return the numbers e of each video's frames, [B, F, 12] float64, in the order of a call's batch."""
        view = self.poses.pick(call.frame_ids).view
        bottom = view.new_tensor([[[0.0, 0.0, 0.0, 1.0]]]).expand(len(view), 1, 4)
        whole = torch.cat([view, bottom], dim=1)
        numbers = (whole @ whole[0].inverse())[:, :3].flatten(1)
        sides = [numbers if each.index == 0 else torch.zeros_like(numbers) for each in call.conditions]
        return torch.stack(sides).repeat_interleave(call.videos, dim=0)


@dataclass(frozen=True)
class MotionCtrlWeights:
    """What a file of MotionCtrl's camera holds.

    Attributes:
        name: name of the file, for messages.
        state: tensors keyed as ``MotionModel.state_dict()``.
    """

    name: str
    state: Mapping[str, Tensor]

    def put_on(self, weights: MotionWeights) -> MotionWeights:
        """Return a motion module with the projections, and with what was trained along with them.

        Raises:
            CheckpointError: it has other slots, or other sizes.
        """
        size = replace(weights.size, camera=True)
        wanted = {key: value.shape for key, value in MotionModel(size, device="meta").state_dict().items()}
        state = {**weights.state, **self.state}
        for key in (*wanted, *state):
            needed, got = wanted.get(key), state[key].shape if key in state else None
            if needed != got:
                raise CheckpointError(
                    f"{self.name} does not fit {weights.name}: {key} is {_size(got)}; expected {_size(needed)}; "
                    f"{_INSTEAD}."
                )
        return replace(weights, size=size, state=state)


def read_motion_ctrl(path: str | Path) -> MotionCtrlWeights:
    """Read the file of MotionCtrl's camera.

    Raises:
        CheckpointError: the file can't be read, is something else (said which, and where that belongs), or holds more.
    """
    file = open_weights(path)
    expect(file.name, file.shapes, ("motionctrl_cmcm",), WANTED)
    keys = {motion_key(key): key for key in file.shapes}
    if None in keys or len(keys) < len(file.shapes):
        extra = keys.get(None, "a tensor twice")
        raise CheckpointError(
            f"{file.name}: holds {extra}, which is of no temporal block; expected {WANTED} alone; choose its authors' "
            "file, or download it again."
        )
    state = file.load(keys.values())
    return MotionCtrlWeights(file.name, {str(ours): state[key] for ours, key in keys.items()})


def _size(shape: torch.Size | None) -> str:
    return "not there" if shape is None else f"{tuple(shape)}"
