"""SparseCtrl as an edit: some frames of a clip are given as pictures, and the others are drawn to go with them.

A network beside the UNet reads the given frames, and zeros where none is given (``sparse_network``). Its features times
``strength`` are added to the UNet's, on both sides of guidance. What it makes of a picture before it reads the prompt
is worked out once a run.

Source: SparseCtrl (Guo et al. 2023), https://arxiv.org/abs/2311.16933; of a context window without a given frame:
ComfyUI-Advanced-ControlNet's ``nearest_hint``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..edits.call import Call, Plan
from ..edits.edit import Added, Part, Time
from ..edits.lockstep import Cut, Lockstep
from ..errors import CheckpointError
from ..network.unet import UNetSize
from ..video.chunked_decode import PIXELS_A_CELL
from ..video.held_frames import place_frames, read_frames
from ..video.schedules import TRAIN_TIMESTEPS
from ..video.shapes import Clip, Hidden, Ids, Tokens
from .edit import ROWS_IN_PARTS
from .sparse_checkpoint import SparseWeights
from .sparse_network import SparseSize

# How pictures lie in a clip -> how many more would lie before and behind them, as far apart.
_ENDS = {"uniform": (0, 0), "starting": (0, 1), "ending": (1, 0), "center": (1, 1)}
NONE = -1  # number of the picture of a frame that has none


@dataclass(frozen=True)
class SparseNetwork:
    """A SparseCtrl network that a host has loaded: what a FRAMELOOM_SPARSE_CONTROL socket carries.

    Attributes:
        name: name of its file.
        size: sizes of the network.
        network: network as the host runs it, or the host's handle on it.
    """

    name: str
    size: SparseSize
    network: Any = field(compare=False)

    @classmethod
    def of(cls, weights: SparseWeights, network: Any) -> SparseNetwork:
        """Return the network of some weights."""
        return cls(weights.name, weights.size, network)


def place_pictures(text: str, pictures: int, frames: int) -> tuple[int, ...]:
    """Return the frame of each picture, by numbers such as ``0, 8, -1``, or spread.

    Spread evenly: ``uniform`` from the first frame to the last, ``starting`` and ``ending`` without a picture at the
    other end, ``center`` without one at both.

    Raises:
        ValueError: it is neither, has too few numbers, one that the clip lacks, or one twice; or there are more
            pictures than frames.

    Examples:
        >>> place_pictures("0, -1", 2, 16), place_pictures("uniform", 3, 16), place_pictures("center", 2, 16)
        ((0, 15), (0, 7, 15), (5, 10))
    """
    spread, spare = text.strip().lower(), frames - pictures
    if spare < 0:
        raise ValueError(
            f"images: got {pictures} pictures for a clip of {frames} frames; expected one a frame at most; give fewer."
        )
    if spread in _ENDS:
        ahead, behind = _ENDS[spread] if sum(_ENDS[spread]) <= spare else (0, min(spare, _ENDS[spread][1]))
        steps = max(1, pictures + ahead + behind - 1)
        places = [(frames - 1) * number // steps for number in range(ahead, ahead + pictures)]
    else:
        numbers = read_frames(text, pictures, f", or one of {', '.join(_ENDS)}")
        places = place_frames(numbers, frames)
    twice = [frame for number, frame in enumerate(places) if frame in places[:number]]
    if twice:
        raise ValueError(
            f"frames: got frame {twice[0]} twice; expected a frame for each picture; write another number, or give "
            "fewer pictures."
        )
    return tuple(places)


def check_places(text: str) -> None:
    """Refuse a text that names no place in any clip, as ``place_pictures`` does."""
    place_pictures(text, 1, 10**8)


def choose_pictures(frame_ids: Ids, places: Sequence[int]) -> list[int]:
    """Return the number of each frame's picture, or -1.

    Args:
        frame_ids: numbers of a window's frames in the clip.
        places: frame of each picture. Where none is in the window, the nearest is at the end of the window that it is
            nearest to; two ends may be as near.
    """
    chosen = [places.index(frame) if frame in places else NONE for frame in frame_ids]
    if max(chosen) == NONE:
        nearest = {
            end: min((abs(frame - frame_ids[end]), number) for number, frame in enumerate(places))
            for end in (0, -1)
        }
        least = min(distance for distance, _ in nearest.values())
        for end, (distance, number) in nearest.items():
            if distance == least:
                chosen[end] = number
    return chosen


@dataclass(frozen=True, eq=False)
class SparseControlEdit(Part):
    """Add what a SparseCtrl network makes of given frames; an ``Edit``'s ``residuals``.

    Attributes:
        control: the network.
        pictures: pictures that are given: latents in the model's scale, [K, 4, H, W], or [K, 3, 8 H, 8 W] in 0..1.
        places: frame of each.
        frames: frames of the clip.
        strength: factor on what is added. 0 leaves the model bit-identical.
        others: further factor for frames without a picture.
        mask_value: number that marks given frames for the network; 1 in training.
        start_percent, end_percent: part of sampling in which it acts, compared with ``Call.progress``.
        network: ``SparseControl`` that runs in the place of the control's own; None: the control's.
    """

    control: SparseNetwork
    pictures: Clip
    places: tuple[int, ...]
    frames: int
    strength: float = 1.0
    others: float = 1.0
    mask_value: float = 1.0
    start_percent: float = 0.0
    end_percent: float = 1.0
    network: Any = field(default=None, compare=False)

    def acts(self, call: Call) -> bool:
        """Tell whether it acts: within its part of sampling."""
        return self.strength != 0 and self.start_percent <= call.progress <= self.end_percent

    @property
    def networks(self) -> tuple[Any, ...]:
        """The network."""
        return (self._running,)

    def with_networks(self, networks: Sequence[Any]) -> SparseControlEdit:
        """Return the same edit that runs another network."""
        (network,) = networks
        return replace(self, network=network)

    def check_fit(self, network: UNetSize) -> None:
        """Check that it is for a network."""
        own = self.control.size.unet
        if (own.widths, own.context_dim) != (network.widths, network.context_dim):
            raise CheckpointError(
                f"{self.control.name}: made for a UNet of widths {own.widths} and text width {own.context_dim}, the "
                f"model has {network.widths} and {network.context_dim}; expected a SparseCtrl network and a model of "
                "one family; use the demo's with the demo model, others with SD1.5."
            )

    def note(self, plan: Plan) -> str | None:
        """Say that another clip is sampled than pictures were placed in."""
        return None if plan.frames == self.frames else _other_length(plan.frames, self.frames)

    def memory(self) -> dict[str, Hidden]:
        """Return what the network makes of pictures, once it has."""
        return {}

    def residuals(self, tokens: Tokens, call: Call, time: Time | None, memory: dict[str, Hidden]) -> Added:
        """Return what is added in a model call."""
        self._check(call, time)
        if "embedded" not in memory:
            memory["embedded"] = self._embed(tokens)
        chosen = choose_pictures(call.frame_ids, self.places)
        clips = len(call.conditions) * call.videos
        hidden = memory["embedded"][chosen].repeat(clips, 1, 1, 1)
        added = self._run(hidden, tokens, call, time)
        factors = self._factors(chosen, clips, tokens)
        if not isinstance(factors, Tensor) and factors == 1:
            return Added(tuple(added[:-1]), added[-1])
        return Added(tuple(each * factors for each in added[:-1]), added[-1] * factors)

    def _embed(self, like: Tensor) -> Hidden:
        """Return what the network makes of each picture, and last, as -1 has it, of none: [K + 1, C, H, W]."""
        given = torch.cat([self.pictures, torch.zeros_like(self.pictures[:1])]).to(like)
        mask = torch.tensor([self.mask_value] * len(self.pictures) + [0.0])
        return self._running.embed(given, mask.to(like))

    def _run(self, hidden: Hidden, tokens: Tokens, call: Call, time: Time | None) -> list[Hidden]:
        """Run the network on all frames, in as many parts as the UNet's own layers."""
        network, timestep = self._running, (1 - call.progress) * (TRAIN_TIMESTEPS - 1)

        def slot(name: str, hidden: Hidden, rows: int = 0) -> Hidden:
            return network.run_slot(name, hidden, call.frames, time, rows)

        if call.parts == 1:
            return network(hidden, timestep, tokens, slot)
        videos = len(hidden) // call.frames
        lockstep = Lockstep(Cut(videos, call.frames, -(-call.frames // call.parts)))

        def meet(name: str, part: Hidden) -> Hidden:
            return lockstep.meet(partial(slot, name, rows=ROWS_IN_PARTS), part)

        return lockstep.run(lambda part: network(part[0], timestep, part[1], meet), (hidden, tokens))

    def _factors(self, chosen: Sequence[int], clips: int, like: Tensor) -> float | Tensor:
        """Return the factor on what is added, or [N, 1, 1, 1] where it is not the same for all frames."""
        if self.others == 1:
            return self.strength
        factors = [self.strength * (self.others if number == NONE else 1) for number in chosen]
        return torch.tensor(factors).to(like).repeat(clips)[:, None, None, None]

    def _check(self, call: Call, time: Time | None) -> None:
        cells = tuple(self.pictures.shape[-2:])
        if not self.control.size.reads_latents:
            cells = (cells[0] // PIXELS_A_CELL, cells[1] // PIXELS_A_CELL)
        if cells != call.size:
            raise ValueError(
                f"Apply SparseCtrl: got {call.size[0]} x {call.size[1]} cells to sample, of pictures for "
                f"{cells[0]} x {cells[1]}; expected one size; connect the latent that is sampled to its latent, and "
                "take areas of conditions out of the graph."
            )
        frames = max(call.frame_ids) + 1 if call.is_part else call.frames
        if frames > self.frames or (frames != self.frames and not call.is_part):
            raise ValueError(_other_length(frames, self.frames))
        longest = self.control.size.max_frames
        at_once = time.length if time is not None and time.is_needed(call.frames) else call.frames
        if at_once > longest:
            raise ValueError(
                f"Apply SparseCtrl: got {at_once} frames at once; expected at most {longest}, which the positional "
                f"encoding of {self.control.name} holds; add Frameloom's Context Windows or Free Noise of {longest} "
                "frames or fewer, or lower batch_size."
            )

    @property
    def _running(self) -> Any:
        return self.control.network if self.network is None else self.network


def _other_length(frames: int, expected: int) -> str:
    return (
        f"Apply SparseCtrl: got a clip of {frames} frames; expected {expected}, the frames of its latent, in which the "
        "pictures have their places; connect the latent that is sampled to it."
    )
