"""Clips cut from a video: the numbers of their frames, and their size. Nothing is decoded before a clip is asked for.

This file reads one video of any kind, and finds its faults. ``folder`` finds the videos.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ...models.errors import ClipError
from .cut import Cut
from .moving_picture import look_through_webp
from .picture_folder import look_through_pictures
from .source import MAX_PIXELS, Frames, Video, named_errors
from .stream import look_through_stream
from .upright import scale_to_cover

_FORMAT = "frameloom-clip/3"  # version of keys; it must change when decoding or scaling changes


@dataclass(frozen=True)
class VideoClip:
    """Some frames of a video.

    Attributes:
        name: name of the file or folder, for messages.
        caption: description of the clip.
        key: key of the pictures; equal for equal pictures, whatever the file's name and place.
        frames: reader of the frames, each once.
        order: number in ``frames`` of each frame of the clip.
        width, height: size of the pictures.
        mirrored: True if left and right are exchanged.
    """

    name: str
    caption: str
    key: str
    frames: Frames
    order: tuple[int, ...]
    width: int
    height: int
    mirrored: bool

    def pictures(self) -> Tensor:
        """Decode the clip.

        Returns:
            [F, 3, H, W] float32, -1..1.

        Raises:
            ClipError: the file is gone, was changed, or is damaged.
        """
        with named_errors():
            frames = self.frames.read(self.width, self.height)
        pictures = (
            torch.stack([frames[place] for place in self.order]).permute(0, 3, 1, 2).float() / 127.5 - 1
        )
        return pictures.flip(-1) if self.mirrored else pictures.contiguous()


def look_through(path: Path, pictures: Sequence[str] = ()) -> Video:
    """Read a video and the times of its frames. Usually only the first frame is decoded.

    Args:
        path: path of the file, or the folder that ``pictures`` are relative to.
        pictures: names of the numbered pictures that are the frames.

    Raises:
        ClipError: it is no video, or not a whole one; says what is wrong, without the name.
    """
    with named_errors():
        if pictures:
            return look_through_pictures(path, pictures)
        if not path.stat().st_size:
            raise ClipError("is empty (0 bytes)")
        return look_through_webp(path) or look_through_stream(path)


def cut_clips(video: Video, name: str, caption: str, cut: Cut) -> list[VideoClip]:
    """Return the clips of a video.

    If clips go round, a last frame that equals the first one to the last bit is left out.

    Raises:
        ClipError: the video is too short or too large, or its ends can't be compared.
    """
    scale = max(1.0, scale_to_cover(video.width, video.height, cut.width, cut.height))
    if video.width * video.height * scale * scale > MAX_PIXELS:
        raise ClipError(
            f"is {video.width}x{video.height}, which is too large to cut {cut.width}x{cut.height} from; expected at "
            f"most {MAX_PIXELS:,} pixels"
        )
    if cut.loop and _comes_back(video):
        video = replace(video, timeline=video.timeline.without_last())
    clips = []
    for chosen in cut.clips(video.timeline):
        numbers = tuple(sorted(set(chosen)))
        frames, order = video.pick(numbers), tuple(numbers.index(number) for number in chosen)
        for mirrored in (False, True) if cut.mirror else (False,):
            facts = [_FORMAT, video.content, chosen, cut.width, cut.height, mirrored]
            key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
            clips.append(VideoClip(name, caption, key, frames, order, cut.width, cut.height, mirrored))
    return clips


def _comes_back(video: Video) -> bool:
    """Tell whether the last frame of a video equals its first one."""
    last = len(video.timeline.times) - 1
    if last < 2:
        return False
    with named_errors():
        first, again = video.pick((0, last)).read(video.width, video.height)
    return torch.equal(first, again)
