"""Videos that FFmpeg reads, through PyAV: the times of their frames, and their decoding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ...models.errors import ClipError
from .cut import Timeline
from .source import Stamp, Video, check_size, check_unchanged, hash_files, stamp_of
from .upright import fit, upright_size

# Seconds before the first frame; frames right behind a keyframe may need frames before it.
_SEEK_SECONDS = 1.0
# Formats whose stamps belong to packets, not to pictures, and whose header also counts left out pictures.
_UNTIMED = ("avi",)
_ANIMATIONS = ("gif", "apng")
_RATE = Fraction(25)  # frames a second, as FFmpeg guesses, for a file without rate and times
_HDR = {16: "PQ", 18: "HLG"}  # name of the transfer curve by FFmpeg's number
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # decoders that read transparency; FFmpeg's own do not


class _Packet(NamedTuple):
    """The facts of a packet. Times are in the stream's units; None: not known."""

    pts: int | None
    dts: int | None
    duration: int
    is_discard: bool


@dataclass(frozen=True)
class StreamFrames:
    """Frames of a file's first video stream.

    Attributes:
        path, stamp: path and stamp of the file.
        marks: rising marks of the frames: their stamps in the stream's units, or else their numbers.
        by_stamp: True if the marks are stamps.
    """

    path: Path
    stamp: Stamp
    marks: tuple[int, ...]
    by_stamp: bool

    def read(self, width: int, height: int) -> list[Tensor]:
        """See ``source.Frames``."""
        check_unchanged(self.path, self.stamp)
        frames = self.decode(width, height, seek=True) if self.by_stamp else []
        if len(frames) < len(self.marks):
            frames = self.decode(width, height, seek=False)
        if len(frames) < len(self.marks):
            raise ClipError(f"is damaged: {len(frames)} of {len(self.marks)} frames could be decoded")
        return frames

    def decode(self, width: int, height: int, *, seek: bool) -> list[Tensor]:
        """Return the frames that can be decoded; none if the jump landed behind the first one."""
        from av.error import FFmpegError

        taken: list[Tensor] = []
        with _open(self.path) as (source, stream):
            if seek:
                early = self.marks[0] - int(_SEEK_SECONDS / stream.time_base)
                try:
                    source.seek(max(early, 0), stream=stream)
                except FFmpegError:  # an animated PNG can't be jumped in
                    return []
            shown = (frame for frame in _decoded(source, stream) if frame.pts is None or frame.pts >= 0)
            for number, frame in enumerate(shown):
                at = frame.pts if self.by_stamp else number
                if at is None:
                    continue
                if seek and not taken and at > self.marks[0]:
                    return []
                if at >= self.marks[len(taken)]:
                    if frame.is_corrupt:
                        raise ClipError(f"is damaged: frame {len(taken)} of the clip can't be decoded")
                    taken.append(fit(frame, width, height, _aspect(stream)))
                if len(taken) == len(self.marks):
                    break
        return taken


def look_through_stream(path: Path) -> Video:
    """Read a file and the times of its frames. Only the first frame is decoded.

    Raises:
        ClipError: the file is no video, or not whole. The message has the reason without the name.
        FFmpegError: FFmpeg can't read it.
    """
    stamp = stamp_of(path)
    with _open(path) as (source, stream):
        first, packets, decoder = None, [], _decoder(stream)
        for packet in source.demux(stream):
            first = first or next(iter(_decode(packet, decoder)), None)
            if packet.size:
                packets.append(_Packet(packet.pts, packet.dts, packet.duration or 0, packet.is_discard))
        if first is None:
            raise ClipError("holds no frame that can be decoded")
        _refuse_hdr(first, stream)
        if source.format.name not in _UNTIMED and len(packets) < stream.frames:
            raise ClipError(f"is cut short: {len(packets)} of {stream.frames} frames are there")
        shown = [each for each in packets if not each.is_discard and (each.pts is None or each.pts >= 0)]
        marks, timeline, notes = _timeline(shown, stream, source.format.name)
        width, height = upright_size(first, _aspect(stream))

    def pick(numbers: tuple[int, ...]) -> StreamFrames:
        chosen = tuple(marks[number] for number in numbers) if marks else numbers
        return StreamFrames(path, stamp, chosen, bool(marks))

    return Video(hash_files([path]), width, height, timeline, pick, notes)


def _timeline(packets: list[_Packet], stream: Any, form: str) -> tuple[list[int], Timeline, tuple[str, ...]]:
    """Return the stamps that identify frames (empty if they can't), the times of frames, and remarks.

    If stamps are missing, or time jumps back, as in recordings that were joined, the file is read at its average rate.
    If two frames have one stamp, numbers identify frames. The pictures of an AVI are shown at the places of its
    packets.
    """
    if not packets:
        raise ClipError("holds no frame that is shown")
    unit, last = stream.time_base, packets[-1].duration
    sent = [each.dts for each in packets if each.dts is not None]
    stamps = sorted(each.pts for each in packets if each.pts is not None)
    if form in _UNTIMED:
        has_times, stamps = len(set(sent)) == len(packets), sorted(sent)
    else:
        has_times = len(stamps) == len(packets) and all(before <= after for before, after in pairwise(sent))
    names = stamps if has_times and form not in _UNTIMED and len(set(stamps)) == len(stamps) else []
    if form in _ANIMATIONS:
        return names, Timeline.from_durations([each.duration for each in packets], unit), ()
    if has_times:
        return names, Timeline.from_stamps(stamps, last, unit), ()
    rate = Fraction(stream.average_rate or stream.guessed_rate or _RATE)
    notes = (f"has times that are missing or jump back; it counts as {float(rate):g} frames a second",)
    return [], Timeline.from_stamps(range(len(packets)), 1, 1 / rate), notes if stamps else ()


@contextmanager
def _open(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file's first video stream.

    Some formats are lists of other files and addresses, which FFmpeg would open. So it gets the bytes of this file
    alone, and may open nothing else.
    """
    import av

    # Titles in old files are often not UTF-8. They are not used here.
    rules: dict[str, Any] = {"options": {"protocol_whitelist": "none"}, "metadata_errors": "replace"}
    with path.open("rb") as file, av.open(file, **rules) as source:
        if not source.streams.video:
            raise ClipError("has no pictures")
        stream = source.streams.video[0]
        if stream.codec_context is None:
            raise ClipError("is coded in a way that this FFmpeg doesn't know")
        check_size(stream.codec_context.width, stream.codec_context.height)
        yield source, stream


def _decoder(stream: Any) -> Any:
    """Return a special decoder for a stream with transparency that FFmpeg's own ignores; None: the stream's own."""
    from av.codec import CodecContext
    from av.codec.codec import UnknownCodecError

    has_alpha = any(name.lower() == "alpha_mode" and value == "1" for name, value in stream.metadata.items())
    name = _WITH_ALPHA.get(stream.codec_context.name) if has_alpha else None
    if name is None:
        return None
    try:
        return CodecContext.create(name, "r")
    except UnknownCodecError as error:
        raise ClipError(f"has transparent parts, for which this FFmpeg lacks {name}") from error


def _decode(packet: Any, decoder: Any) -> Any:
    if decoder is None:
        return packet.decode()
    return decoder.decode(packet if packet.size else None)


def _decoded(source: Any, stream: Any) -> Iterator[Any]:
    decoder = _decoder(stream)
    for packet in source.demux(stream):
        yield from _decode(packet, decoder)


def _aspect(stream: Any) -> Fraction:
    """Return the width of a stored pixel for a height of 1."""
    return Fraction(stream.sample_aspect_ratio or 1)


def _refuse_hdr(first: Any, stream: Any) -> None:
    curve = _HDR.get(getattr(first, "color_trc", None) or stream.codec_context.color_trc)
    if curve is not None:
        raise ClipError(
            f"is HDR ({curve}), whose colours would come out wrong; expected a video in ordinary colours "
            "(SDR, BT.709); convert it"
        )
