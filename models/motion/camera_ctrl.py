"""CameraCtrl: a motion module that is told from where each frame is seen.

An encoder makes maps c_0, c_1, ... of the rays of a clip's cameras, one for each level of the UNet. In every temporal
transformer the first attention reads, in place of its tokens y = LN(z) + P,

    y + s (W (y + c) + b)

with the map of its level and a projection W, b of its own; queries, keys and values all come from it. The encoder puts
8 x 8 pixels side by side, and then for each level, at half the sides of the one before: twice a residual block and a
transformer over time.

Its attention knows 16 frames. A longer clip is encoded in windows of so many that overlap by half.

Source: CameraCtrl (He et al. 2024), https://arxiv.org/abs/2404.02101, section 3.3 and figure 2, and its authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pixel_unshuffle, relu

from ..edits.call import Call
from ..edits.edit import Edit, Part
from ..errors import CheckpointError
from ..network.layers import Attend, attend
from ..network.unet import SD1, UNetSize, layer_grid
from ..video.frames import frames_to_tokens, tokens_to_frames
from ..video.shapes import Hidden, Tokens
from ..video.windows import WindowPlan
from .camera import CameraPoses, rays
from .module import MotionSize, TemporalBlock

RAY_CHANNELS, PIXELS = 6, 8
"""Numbers of a ray; sides of what is one cell of latents."""
ROWS_IN_PARTS = 4


@dataclass(frozen=True, slots=True)
class CameraSize:
    """Sizes of CameraCtrl's network.

    Attributes:
        widths: channels of each level, the finest first.
        merges: width of every temporal slot that has a projection, by its name.
        blocks: residual blocks a level.
        max_frames: frames that the encoder's attention knows.
        heads: attention heads; files do not store it and it is 8.
    """

    widths: tuple[int, ...]
    merges: Mapping[str, int]
    blocks: int = 2
    max_frames: int = 16
    heads: int = 8


@dataclass(frozen=True)
class CameraWeights:
    """What a file of CameraCtrl's holds.

    Attributes:
        name: name of the file, for messages.
        size: sizes of the network.
        state: tensors keyed as ``CameraNetwork.state_dict()``.
    """

    name: str
    size: CameraSize
    state: Mapping[str, Tensor]

    def check_fit(self, network: UNetSize) -> None:
        """Raise CheckpointError unless it is for a UNet of these widths."""
        slot = next(
            (slot for slot, width in self.size.merges.items() if network.slots.get(slot) != width), None
        )
        if slot is not None or self.size.widths != network.widths:
            raise CheckpointError(
                f"{self.name}: its levels are {self.size.widths} channels wide, the model's {network.widths}; expected "
                "CameraCtrl and a model of one family; use CameraCtrl's file with SD1.5."
            )


class _Residual(nn.Module):
    """Two convolutions beside their input, which halves its sides and takes another width where they begin a level."""

    def __init__(self, before: int, channels: int, operations: Any, *, halves: bool, **factory: Any) -> None:
        super().__init__()
        self.halves = halves
        self.in_conv = operations.Conv2d(before, channels, 1, **factory) if before != channels else None
        self.block1 = operations.Conv2d(channels, channels, 3, padding=1, **factory)
        self.block2 = operations.Conv2d(channels, channels, 1, **factory)

    def forward(self, hidden: Hidden) -> Hidden:
        if self.halves:
            hidden = avg_pool2d(hidden, 2)
        if self.in_conv is not None:
            hidden = self.in_conv(hidden)
        return hidden + self.block2(relu(self.block1(hidden)))


class CameraNetwork(nn.Module):
    """The encoder of cameras, and the projections in the temporal slots.

    State:
        encoder_conv_in, encoder_down_conv_blocks.{level}.{i}, encoder_down_attention_blocks.{level}.{i};
        merges.{slot, with - for .}.
    """

    def __init__(
        self, size: CameraSize, *, operations: Any = nn, attend: Attend = attend, **factory: Any
    ) -> None:
        """Build the layers.

        Args:
            size: sizes of the network.
            operations: namespace with Conv2d, Linear and LayerNorm.
            attend: attention function.
            factory: ``dtype`` and ``device`` for the layers.
        """
        super().__init__()
        self.size = size
        over_time = MotionSize({}, size.max_frames, size.heads, attentions=1)
        self.encoder_conv_in = operations.Conv2d(
            RAY_CHANNELS * PIXELS**2, size.widths[0], 3, padding=1, **factory
        )
        self.encoder_down_conv_blocks = nn.ModuleList(
            nn.ModuleList(
                _Residual(width if i else before, width, operations, halves=level > 0 and i == 0, **factory)
                for i in range(size.blocks)
            )
            for level, (before, width) in enumerate(
                zip((size.widths[0], *size.widths), size.widths, strict=False)
            )
        )
        self.encoder_down_attention_blocks = nn.ModuleList(
            nn.ModuleList(
                TemporalBlock(width, over_time, operations, attend, **factory) for _ in range(size.blocks)
            )
            for width in size.widths
        )
        self.merges = nn.ModuleDict(
            {_place(slot): operations.Linear(width, width, **factory) for slot, width in size.merges.items()}
        )

    def merge(self, slot: str) -> nn.Module:
        """Return a slot's projection."""
        return self.merges[_place(slot)]

    def forward(self, embedding: Tensor, rows: int = 0) -> list[Hidden]:
        """Return a clip's maps, one for each level.

        Args:
            embedding: [F, 6, H, W]. Rays of the pixels; both sides multiples of 8 times 2 to the number of halvings.
            rows: rows of places that are worked out at a time, for less memory; 0: all.

        Returns:
            [F, C, H / 8, W / 8], and others at half the sides of the one before.
        """
        hidden, maps = self.encoder_conv_in(pixel_unshuffle(embedding, PIXELS)), list[Hidden]()
        levels = zip(self.encoder_down_conv_blocks, self.encoder_down_attention_blocks, strict=True)
        for residuals, blocks in levels:
            for residual, block in zip(residuals.children(), blocks.children(), strict=True):
                hidden = residual(hidden)
                parts = hidden.split(rows or hidden.shape[2], dim=2)
                hidden = torch.cat([self._over_time(block, part) for part in parts], dim=2)
            maps.append(hidden)
        return maps

    def _over_time(self, block: nn.Module, hidden: Hidden) -> Hidden:
        tokens, plan = frames_to_tokens(hidden, len(hidden)), windows_over(self.size.max_frames)
        if not plan.is_needed(len(hidden)):
            return tokens_to_frames(block(tokens), *hidden.shape[-2:])
        total, counts = torch.zeros_like(tokens), tokens.new_zeros(len(hidden), 1)
        for window in plan.windows(len(hidden), 0):
            seen = slice(window[0], window[-1] + 1)
            weights = tokens.new_tensor(plan.weigh(window, len(hidden)))[:, None]
            total[:, seen] += weights * block(tokens[:, seen])
            counts[seen] += weights
        return tokens_to_frames(total / counts, *hidden.shape[-2:])


def windows_over(frames: int) -> WindowPlan:
    """Return the windows in which the encoder's attention goes over a clip, of the frames that it knows."""
    return WindowPlan(frames, frames // 2)


def _place(slot: str) -> str:
    return slot.replace(".", "-")


@dataclass(frozen=True, slots=True, eq=False)
class PoseMerge:
    """What the cameras change in the tokens of one slot's first attention.

    Attributes:
        project: projection of the slot.
        cameras: map of the slot's level, [F, C, H, W].
        strength: factor of each frame, [F, 1].
    """

    project: nn.Module
    cameras: Hidden
    strength: Tensor

    def rows(self, rows: slice) -> PoseMerge:
        """Return the same for some rows of places."""
        return replace(self, cameras=self.cameras[:, :, rows])

    def merge(self, tokens: Tokens, frames: slice) -> Tokens:
        """Return tokens, [N, f, C], of some frames of all videos, position included, with the cameras merged in."""
        cameras = frames_to_tokens(self.cameras, len(self.cameras))[:, frames]
        seen = tokens + cameras.repeat(len(tokens) // len(cameras), 1, 1)
        return tokens + self.strength[frames] * self.project(seen)


@dataclass(frozen=True, slots=True, eq=False)
class CameraEdit(Part):
    """Tell the motion modules of a model from where each frame is seen.

    Of a context window the first frame's camera stands at 0, as in every clip of the training.

    Attributes:
        weights: content of the file.
        poses: camera of each frame.
        strength: [F] float. Factor s of each frame; of a longer clip the last goes on.
        start_percent, end_percent: part of sampling in which it acts, compared with ``Call.progress``.
        network: ``CameraNetwork``, as the host loaded it.
    """

    weights: CameraWeights
    poses: CameraPoses
    strength: Tensor
    start_percent: float = 0.0
    end_percent: float = 1.0
    network: Any = field(default=None, compare=False)

    def acts(self, call: Call) -> bool:
        """Tell whether it acts: within its part of sampling, and on more than a single frame."""
        return self.start_percent <= call.progress <= self.end_percent and call.frames > 1

    @property
    def networks(self) -> tuple[Any, ...]:
        """The network."""
        return (self.network,)

    def with_networks(self, networks: Sequence[Any]) -> CameraEdit:
        """Return the same edit with another network."""
        (network,) = networks
        return replace(self, network=network)

    def check_fit(self, network: UNetSize) -> None:
        """Check that the weights are for a network."""
        self.weights.check_fit(network)

    def check(self, edits: Sequence[Edit], conditions: Sequence[Mapping[str, Any]]) -> None:
        """Check that there is a motion module to tell."""
        del conditions
        if all(edit.slots is None for edit in edits):
            raise ValueError(
                "Apply CameraCtrl: got a model without a motion module; expected one with AnimateDiff's v3 module, "
                "which CameraCtrl was trained with; put Apply Motion Module on the model."
            )

    def memory(self) -> dict[Any, list[Hidden]]:
        """Return what it remembers of a run: nothing yet."""
        return {}

    def merges(
        self, slot: str, hidden: Hidden, call: Call, memory: dict[Any, list[Hidden]]
    ) -> PoseMerge | None:
        """Return what it changes in a slot; None: nothing."""
        if slot not in self.weights.size.merges:
            return None
        asked = (call.frame_ids, call.size)
        if asked not in memory:
            memory.clear()  # maps of one window are as much as is kept
            memory[asked] = self._encode(hidden, call)
        last = len(self.strength) - 1
        strength = self.strength[[min(frame, last) for frame in call.frame_ids], None]
        level = next(place.level for place in SD1.places if place.slot == slot)
        return PoseMerge(self.network.merge(slot), memory[asked][level], strength.to(hidden))

    def _encode(self, hidden: Hidden, call: Call) -> list[Hidden]:
        """Return the maps of a call's frames, each as large as the network's level.

        The encoder halves sides that are even. So rays are taken beyond the picture's right and lower edges, where
        the cameras look as well, and what becomes of them is cut off.
        """
        step = 2 ** (len(self.weights.size.widths) - 1)
        height, width = (PIXELS * side for side in call.size)
        canvas = (PIXELS * step * -(-call.size[0] // step), PIXELS * step * -(-call.size[1] // step))
        seen = rays(self.poses.pick(call.frame_ids), (height, width), canvas, hidden.device)
        with torch.no_grad():
            maps = self.network(seen.to(hidden), ROWS_IN_PARTS if call.parts > 1 else 0)
        grids = [layer_grid(call.size, level) for level in range(len(maps))]
        return [each[:, :, :rows, :columns] for each, (rows, columns) in zip(maps, grids, strict=True)]
