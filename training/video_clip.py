"""Clips cut from video files: which frames, how large, and their decoding through FFmpeg (PyAV) when asked.

Owns one file at a time: what it holds, and what is wrong with it. Which files there are is ``video_folder``'s.

The cut is that of AnimateDiff's official data loader (Guo et al. 2023, https://arxiv.org/abs/2307.04725): evenly
spaced frames, the short side resized, the centre kept. It differs in two ways, because latents are made once and kept:
clips start at fixed places instead of a random one, and a mirrored copy takes the place of random mirroring.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..models.errors import ClipError

MAX_PIXELS = 64 * 1024 * 1024  # of a frame, as it is stored and as it is scaled
_FORMAT = "frameloom-clip/2"  # of keys; a change of what is decoded or how it is scaled must change it
_SEEK_SECONDS = 1.0  # before the first frame: those right behind a keyframe may lean on frames before it
_BLOCK = 1 << 20
_UNTIMED = (
    "avi",
)  # its stamps are of packets, not of pictures, and its header counts those that were left out, too
Stamp = tuple[int, int]  # size in bytes, time of change in nanoseconds


@dataclass(frozen=True)
class Cut:
    """How clips are cut.

    Attributes:
        frames: F of each.
        stride: source frames from one to the next.
        width, height: in pixels, after scaling and cropping.
        clips_per_video: at most; from one file, at evenly spread starts.
        mirror: whether every clip comes a second time, with left and right exchanged.
    """

    frames: int
    stride: int
    width: int
    height: int
    clips_per_video: int = 1
    mirror: bool = False

    def choose(self, count: int) -> list[tuple[int, ...]]:
        """Return the numbers of the frames of each clip of a video.

        A video shorter than ``(frames - 1) * stride + 1`` gives frames evenly spread over what there is.

        Args:
            count: frames of the video.

        Raises:
            ClipError: it has fewer than ``frames``.

        Examples:
            >>> Cut(frames=4, stride=4, width=64, height=64).choose(15)
            [(1, 5, 9, 13)]
            >>> Cut(frames=4, stride=4, width=64, height=64, clips_per_video=2).choose(15)
            [(0, 4, 8, 12), (2, 6, 10, 14)]
            >>> Cut(frames=4, stride=4, width=64, height=64).choose(8)
            [(0, 2, 4, 7)]
        """
        if count < self.frames:
            raise ClipError(f"has {count} frame{'s' * (count != 1)}; expected at least {self.frames}")
        reach = min(count - 1, (self.frames - 1) * self.stride)
        spare = count - 1 - reach
        last = self.clips_per_video - 1
        starts = [spare // 2] if not last else sorted({spare * place // last for place in range(last + 1)})
        gaps = max(self.frames - 1, 1)
        return [tuple(start + reach * place // gaps for place in range(self.frames)) for start in starts]


@dataclass(frozen=True)
class Video:
    """A file that was looked through.

    Attributes:
        path: where it is.
        content: SHA-256 of its bytes.
        stamp: tells whether it was changed since.
        width, height: of its frames in pixels.
        times: when each frame is shown, rising, in the stream's units; or the frames' numbers where it has no times.
        has_times: which of them.
    """

    path: Path
    content: str
    stamp: Stamp
    width: int
    height: int
    times: tuple[int, ...]
    has_times: bool


@dataclass(frozen=True)
class VideoClip:
    """Some frames of a video file; nothing is decoded before ``pictures``.

    Attributes:
        name: of the file, for messages.
        caption: what it shows.
        key: the same for the same pictures, whatever the file is called and wherever it lies.
        path, stamp, has_times: see ``Video``.
        times: of its frames.
        width, height: of its pictures.
        mirrored: whether left and right are exchanged.
    """

    name: str
    caption: str
    key: str
    path: Path
    stamp: Stamp
    times: tuple[int, ...]
    has_times: bool
    width: int
    height: int
    mirrored: bool

    def pictures(self) -> Tensor:
        """Decode it.

        Returns:
            [F, 3, H, W] float32, -1..1.

        Raises:
            ClipError: the file is gone, was changed, or is damaged.
        """
        with _named_errors():
            if _stamp(self.path) != self.stamp:
                raise ClipError("was changed since it was looked through; queue again")
            frames = self._decode(seek=True) if self.has_times else []
            if len(frames) < len(self.times):
                frames = self._decode(seek=False)
        if len(frames) < len(self.times):
            raise ClipError(f"is damaged: {len(frames)} of {len(self.times)} frames could be decoded")
        pictures = torch.stack(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
        return pictures.flip(-1) if self.mirrored else pictures.contiguous()

    def _decode(self, *, seek: bool) -> list[Tensor]:
        """Return the frames as [H, W, 3] bytes; none where the jump landed behind the first one."""
        taken: list[Tensor] = []
        with _open(self.path) as (source, stream):
            if seek:
                early = self.times[0] - int(_SEEK_SECONDS / stream.time_base)
                source.seek(max(early, 0), stream=stream)
            for number, frame in enumerate(source.decode(stream)):
                at = frame.pts if self.has_times else number
                if at is None or at < 0:
                    continue
                if seek and not taken and at > self.times[0]:
                    return []
                if at >= self.times[len(taken)]:
                    if frame.is_corrupt:
                        raise ClipError(f"is damaged: frame {len(taken)} of the clip can't be decoded")
                    taken.append(_fit(frame, self.width, self.height))
                if len(taken) == len(self.times):
                    break
        return taken


def look_through(path: Path) -> Video:
    """Read a file: what it holds, and when its frames are shown. Only the first frame is decoded.

    Raises:
        ClipError: it is no video, or not a whole one; says what is wrong, without the name.
    """
    with _named_errors():
        stamp = _stamp(path)
        if not stamp[0]:
            raise ClipError("is empty (0 bytes)")
        with _open(path) as (source, stream):
            first, packets, times = None, 0, []
            for packet in source.demux(stream):
                first = first or next(iter(packet.decode()), None)
                packets += bool(packet.size)
                if packet.size and not packet.is_discard and (packet.pts is None or packet.pts >= 0):
                    times.append(packet.pts)
            if first is None:
                raise ClipError("holds no frame that can be decoded")
            is_timed = source.format.name not in _UNTIMED
            if is_timed and packets < stream.frames:
                raise ClipError(f"is cut short: {packets} of {stream.frames} frames are there")
            has_times = is_timed and None not in times
            shown = tuple(sorted(times)) if has_times else tuple(range(len(times)))
            return Video(path, _hash(path), stamp, first.width, first.height, shown, has_times)


def cut_clips(video: Video, name: str, caption: str, cut: Cut) -> list[VideoClip]:
    """Return the clips of a video.

    Raises:
        ClipError: it is too short or too large.
    """
    scale = max(1.0, _scale(video.width, video.height, cut.width, cut.height))
    if video.width * video.height * scale * scale > MAX_PIXELS:
        raise ClipError(
            f"is {video.width}x{video.height}, which is too large to cut {cut.width}x{cut.height} from; expected at "
            f"most {MAX_PIXELS:,} pixels"
        )
    clips = []
    for chosen in cut.choose(len(video.times)):
        for mirrored in (False, True) if cut.mirror else (False,):
            facts = [_FORMAT, video.content, chosen, cut.width, cut.height, mirrored]
            key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
            times = tuple(video.times[number] for number in chosen)
            place = (video.path, video.stamp, times, video.has_times)
            clips.append(VideoClip(name, caption, key, *place, cut.width, cut.height, mirrored))
    return clips


@contextmanager
def _open(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file's first video stream.

    Some formats are lists of other files and addresses, which FFmpeg would open; it is given the bytes of this one, and
    leave to open nothing.
    """
    import av

    # Titles in old files are often no UTF-8; nobody reads them here.
    rules: dict[str, Any] = {"options": {"protocol_whitelist": "none"}, "metadata_errors": "replace"}
    with path.open("rb") as file, av.open(file, **rules) as source:
        if not source.streams.video:
            raise ClipError("has no pictures")
        stream = source.streams.video[0]
        if stream.codec_context is None:
            raise ClipError("is coded in a way that this FFmpeg doesn't know")
        if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
            size = f"{stream.codec_context.width}x{stream.codec_context.height}"
            raise ClipError(f"is {size}; expected at most {MAX_PIXELS:,} pixels")
        yield source, stream


@contextmanager
def _named_errors() -> Iterator[None]:
    """Turn what FFmpeg and the file system raise into a reason."""
    from av.error import FFmpegError

    try:
        yield
    except FileNotFoundError as error:
        raise ClipError("is gone") from error
    except FFmpegError as error:
        raise ClipError(f"is no video that FFmpeg can read, or a damaged one ({error.strerror})") from error
    except OSError as error:
        raise ClipError(f"can't be read ({error.strerror or error})") from error


def _scale(width: int, height: int, wanted_width: int, wanted_height: int) -> float:
    """Return by how much a picture grows until it covers the wanted one."""
    return max(wanted_width / width, wanted_height / height)


def _fit(frame: Any, width: int, height: int) -> Tensor:
    """Scale a frame until it covers the size, upright, and keep the centre. Returns [H, W, 3] uint8."""
    turns = round(frame.rotation / 90) % 4
    if turns % 2:
        width, height = height, width
    scale = _scale(frame.width, frame.height, width, height)
    wide, high = max(width, round(frame.width * scale)), max(height, round(frame.height * scale))
    pixels = torch.from_numpy(frame.reformat(wide, high, "rgb24", interpolation="BICUBIC").to_ndarray())
    top, left = (high - height) // 2, (wide - width) // 2
    return torch.rot90(pixels[top : top + height, left : left + width], turns).clone()


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
