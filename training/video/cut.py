"""Choose the frames of a clip from a video, by their number or by the time at which they are shown.

This file computes with numbers and times alone, and opens no file.

The cut is that of AnimateDiff's official data loader (Guo et al. 2023, https://arxiv.org/abs/2307.04725): evenly
spaced frames from one start. Two things differ, since latents are made once and kept: clips start at fixed places
instead of a random one, and a mirrored copy replaces random mirroring.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, pairwise
from statistics import median

from ...models.errors import ClipError

# Seconds; browsers show shorter frames of animations for the second time.
_SHORTEST, _INSTEAD = Fraction(1, 100), Fraction(1, 10)
_ROUNDED = Fraction(1, 1000)  # seconds; times in shorter units may be rounded, longer units are exact
_UNEVEN = 1.5  # ratio of the longest to the shortest frame; rounding alone makes less of an even rate


@dataclass(frozen=True)
class Timeline:
    """The times at which the frames of a video are shown.

    Attributes:
        times: rising times of all frames, in units; the first one is 0.
        end: time at which the last frame disappears, in units.
        unit: length of a unit in seconds; None: there are no times, and a unit is one step of the rate at
            which the video is read.
    """

    times: tuple[int, ...]
    end: int
    unit: Fraction | None

    @staticmethod
    def from_stamps(stamps: Sequence[int], last: int, unit: Fraction | None) -> Timeline:
        """Return the timeline of rising stamps, which may begin anywhere.

        Args:
            stamps: times of all frames, in units; at least one.
            last: duration of the last frame, in units. 0: not known; then it lasts as long as most others.
            unit: length of a unit in seconds, as in ``Timeline``.
        """
        times = tuple(stamp - stamps[0] for stamp in stamps)
        gaps = [after - before for before, after in pairwise(times)]
        return Timeline(times, times[-1] + max(1, last or round(median(gaps or [1]))), unit)

    @staticmethod
    def from_durations(durations: Sequence[int], unit: Fraction) -> Timeline:
        """Return the timeline of an animated picture.

        Args:
            durations: durations of all frames, in units. Shorter than browsers show a frame counts as long as
                they show it.
            unit: length of a unit in seconds.
        """
        shown = [each if each * unit > _SHORTEST else round(_INSTEAD / unit) for each in durations]
        *times, end = accumulate(shown, initial=0)
        return Timeline(tuple(times), end, unit)

    @property
    def is_uneven(self) -> bool:
        """True if some frames are shown for clearly longer than others. The last one does not count."""
        gaps = [after - before for before, after in pairwise(self.times)]
        return bool(self.unit and gaps) and max(gaps) - 1 > _UNEVEN * (min(gaps) + 1)

    def without_last(self) -> Timeline:
        """Return the timeline that ends where the last frame begins."""
        return replace(self, times=self.times[:-1], end=self.times[-1])

    def length(self, fps: Fraction) -> Fraction:
        """Return the length in steps of a rate; at rate 0 the number of frames."""
        return self.end * self._step(fps) if fps else Fraction(len(self.times))

    def steps(self, fps: Fraction) -> int:
        """Return how many steps of a rate begin before the end; at rate 0 the number of frames."""
        return math.ceil((self.end - self._slack(fps)) * self._step(fps)) if fps else len(self.times)

    def shown(self, place: Fraction, fps: Fraction) -> int:
        """Return the number of the frame that a player shows ``place / fps`` seconds after the first.

        Stamps are whole units, so a frame may be marked a unit late: at 24 frames a second, Matroska says 42
        milliseconds for the frame of 41.67. A frame that begins within that slack counts as shown.
        """
        if not fps:
            return math.floor(place)
        moment = math.floor(place / self._step(fps) + self._slack(fps))
        return max(0, bisect_right(self.times, moment) - 1)

    def _step(self, fps: Fraction) -> Fraction:
        """Return the number of steps of a rate in one unit."""
        return Fraction(1) if self.unit is None else self.unit * fps

    def _slack(self, fps: Fraction) -> Fraction:
        """Return the units by which stamps may be late: one if they are rounded, but never much of a frame."""
        if self.unit is None or self.unit > _ROUNDED:
            return Fraction(0)
        return min(Fraction(1), Fraction(self.end, len(self.times)) / 4, 1 / self._step(fps) / 4)


@dataclass(frozen=True)
class Cut:
    """Settings by which clips are cut.

    Attributes:
        frames: number of frames of each clip, F.
        stride: source frames from one frame of a clip to the next; of a video read by time, steps of its
            rate.
        width, height: size of the clips in pixels, after scaling and cropping.
        clips_per_video: largest number of clips from one file; their starts are spread evenly.
        mirror: True if every clip comes a second time, with left and right exchanged.
        fps: frames a second at which videos are read, whatever rates they have; 0: their own frames, one after another.
        loop: True if every clip goes round its whole video, so that its last frame leads to its first one.
    """

    frames: int
    stride: int
    width: int
    height: int
    clips_per_video: int = 1
    mirror: bool = False
    fps: float = 0.0
    loop: bool = False

    def clips(self, timeline: Timeline) -> list[tuple[int, ...]]:
        """Return the frame numbers of each clip of a video. A number may come more than once.

        Args:
            timeline: times of the video's frames.

        Raises:
            ClipError: the video has too few frames, or is too short.
        """
        fps = Fraction(self.fps).limit_denominator(1001)
        if self.loop:
            return self._rounds(timeline, fps)
        steps = timeline.steps(fps)
        if fps and steps < self.frames:
            raise ClipError(
                f"has {steps} frame{'s' * (steps != 1)} at fps={self.fps:g}; expected at least {self.frames}"
            )
        clips = [
            tuple(timeline.shown(Fraction(place), fps) for place in chosen) for chosen in self.choose(steps)
        ]
        return list(dict.fromkeys(clips))

    def choose(self, count: int) -> list[tuple[int, ...]]:
        """Return the frame numbers of each clip of a video of evenly spaced frames that is not a loop.

        A video shorter than ``(frames - 1) * stride + 1`` gives frames that are evenly spread over it.

        Args:
            count: number of frames of the video.

        Raises:
            ClipError: the video has fewer than ``frames``.

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

    def _rounds(self, timeline: Timeline, fps: Fraction) -> list[tuple[int, ...]]:
        """Return clips that go round a video a whole number of times.

        The number of rounds, at least one, brings the step between frames closest to ``stride``. The step from the last
        frame to the first is like all others. Starts are evenly spread over the round.
        """
        if len(timeline.times) < 2:
            raise ClipError("has 1 frame; expected at least 2 for a loop")
        length = timeline.length(fps)
        rounds = max(1, math.floor(self.frames * self.stride / length + Fraction(1, 2)))
        step, starts = rounds * length / self.frames, range(self.clips_per_video)
        clips = [
            tuple(
                timeline.shown((length * start / len(starts) + place * step) % length, fps)
                for place in range(self.frames)
            )
            for start in starts
        ]
        return list(dict.fromkeys(clips))
