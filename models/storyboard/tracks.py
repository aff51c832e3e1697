"""Boxes as tracks: the ways of points through a clip, as Wan's ATI and Wan-Move are told them.

A point keeps its share of its box, so it goes along and spreads where the box grows. Both models carry what the first
picture shows at a point to where the point is later; a thing that is absent there has nothing to carry.

Sources: ATI (Wang et al. 2025), https://arxiv.org/abs/2505.22944; Wan-Move (Chu et al. 2025),
https://arxiv.org/abs/2512.08765; and ComfyUI's nodes for them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from .scenes import Entity, Scene

ATI_POINTS = 121
"""Places of a track that ComfyUI's WanTrackToVideo reads, however long the clip is."""
ABSENT = -1.0
"""Coordinates, in pixels, of a point that is not to be seen in a frame, as Wan-Move has it."""
_DIGITS = 2


@dataclass(frozen=True, eq=False)
class Track:
    """The way of a point.

    Attributes:
        places: [F, 2] float64. Place in each frame, right and down, in pixels.
        present: [F] bool. True where it is to be seen; always in frame 0.
    """

    places: Tensor
    present: Tensor

    @property
    def seen(self) -> int:
        """Frames up to the first in which it is not to be seen."""
        return int(self.present.long().cumprod(0).sum())


def scene_tracks(scene: Scene, entity: str, width: int, height: int, grid: int) -> dict[str, list[Track]]:
    """Return the tracks of a scene's entities, by their ids.

    Args:
        scene: entities, some with boxes.
        entity: id of one; empty: all of them.
        width: width of the picture, in pixels.
        height: height of it.
        grid: points across a box, and down; 1 is its middle.

    Returns:
        grid * grid tracks of each entity; none of one that is absent in frame 0.

    Raises:
        ValueError: no such entity has boxes, or none has one in frame 0.
    """
    found = {
        each.id: _tracks(each, scene.frames, width, height, grid) for each in scene.choose_placed(entity)
    }
    if not any(found.values()):
        raise ValueError(
            f"storyboard: none of {', '.join(map(repr, found))} has a box in frame 0 of scene {scene.id}; expected one "
            "that has, since a track carries what the first picture shows there; give it a box at frame 0."
        )
    return found


def _tracks(entity: Entity, frames: int, width: int, height: int, grid: int) -> list[Track]:
    boxes, present = entity.boxes_at(frames)
    if not present[0]:
        return []
    corner, end = boxes[:, :2].double(), boxes[:, 2:].double()
    size = torch.tensor([width, height], dtype=torch.float64)
    shares = [(i + 0.5) / grid for i in range(grid)]
    return [
        Track((corner + torch.tensor([across, down], dtype=torch.float64) * (end - corner)) * size, present)
        for down, across in product(shares, shares)
    ]


def ati_text(tracks: Sequence[Track]) -> str:
    """Return tracks as WanTrackToVideo reads them: JSON with ``ATI_POINTS`` places for the whole clip.

    A track ends where its thing is first absent: that node takes places as far as they go, and has no way to say that
    a thing comes back.
    """
    return _write([_spread(track) for track in tracks])


def _spread(track: Track) -> Tensor:
    """Return a track's places where WanTrackToVideo reads them, and between these in straight lines."""
    frames = len(track.places)
    numbers, times = _read_at(frames)
    after = torch.searchsorted(numbers, torch.arange(ATI_POINTS)).clamp(1, len(numbers) - 1)
    share = (torch.arange(ATI_POINTS) - numbers[after - 1]) / (numbers[after] - numbers[after - 1])
    time = torch.lerp(times[after - 1], times[after], share.double().clamp(max=1))
    time = time[time <= track.seen - 1]
    before = time.floor().long()
    return torch.lerp(
        track.places[before], track.places[(before + 1).clamp(max=frames - 1)], (time - before)[:, None]
    )


def _read_at(frames: int) -> tuple[Tensor, Tensor]:
    """Return the numbers of places, and the frames that WanTrackToVideo reads them for; of a long clip not all frames.

    It repeats every place but the first b times and takes each a-th of them from the second on, where a / b is
    (ATI_POINTS - 1) / (frames - 1) in lowest terms.
    """
    common = math.gcd(ATI_POINTS - 1, frames - 1)
    step, repeats = (ATI_POINTS - 1) // common, (frames - 1) // common
    read = {1 + (step * (frame - 1) + 1) // repeats: frame for frame in range(frames - 1, 0, -1)}
    read |= {0: 0} if frames > 1 else {0: 0, 1: 0}
    return torch.tensor(sorted(read)), torch.tensor(sorted(read.values()), dtype=torch.float64)


def wan_move_text(tracks: Sequence[Track]) -> str:
    """Return tracks as WanMoveTracksFromCoords reads them: JSON with a place for each frame."""
    return _write([track.places.where(track.present[:, None], ABSENT) for track in tracks])


def _write(tracks: Sequence[Tensor]) -> str:
    return json.dumps([[_place(each) for each in track] for track in tracks])


def _place(place: Tensor) -> dict[str, float]:
    return {"x": round(float(place[0]), _DIGITS), "y": round(float(place[1]), _DIGITS)}


def describe_tracks(found: dict[str, list[Track]], frames: int) -> str:
    """Return a line for each entity: how many points it has, and from which frame on it is not followed."""
    return "\n".join(_describe(name, tracks, frames) for name, tracks in found.items())


def _describe(name: str, tracks: Sequence[Track], frames: int) -> str:
    if not tracks:
        return f"{name}: left out, since it is not in frame 0"
    seen = tracks[0].seen
    points = f"{len(tracks)} point{'s' if len(tracks) > 1 else ''}"
    return f"{name}: {points}" + ("" if seen == frames else f", absent from frame {seen} on")
