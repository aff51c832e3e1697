"""Context windows: a long clip denoised as overlapping windows of a length that a motion module knows.

In every step the model is asked about each window w by itself. With d_w its prediction and h_w(f) what frame f counts
in the window, the clip's prediction is the weighted mean of those of the windows that a frame is in:

    d(f) = sum_w h_w(f) d_w(f) / sum_w h_w(f)

Steps of a sampler are affine in the prediction, so this is the least-squares fit to all windows.

Source: Gen-L-Video (Wang et al. 2023), https://arxiv.org/abs/2305.18264, equation 9; windows with an offset that
changes from step to step: AnimateDiff's community, "uniform" schedules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..network.time_law import TimeLaw

WindowSchedule = Literal["static", "uniform", "looped", "batched"]
WindowWeights = Literal["pyramid", "flat", "overlap-linear"]
Window = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """Which windows cover a clip in each step, and what a frame counts in each.

    Attributes:
        length: frames of a window.
        overlap: frames that windows which follow each other have in common; batched windows have none, but for a
            last one that is moved back.
        schedule: ``static`` windows are the same in every step, the last one moved back to end with the clip;
            ``uniform`` ones begin elsewhere in each step, so that no seam stays; ``looped`` ones do too, and run on
            from the clip's end to its beginning, of a short clip too, which is one window then; ``batched`` ones stand
            side by side, the last being what is left, or moved back too if that is one frame, in which nothing could
            move.
        stride: number of spacings that a uniform or looped schedule has beside each other: every frame, every second,
            every fourth, ..., as far as such a window fits into the clip.
        weights: ``flat``; ``pyramid``, which rises to the window's middle; ``overlap-linear``, which rises over the
            overlap alone.
    """

    length: int = 16
    overlap: int = 4
    schedule: WindowSchedule = "static"
    stride: int = 1
    weights: WindowWeights = "pyramid"

    def __post_init__(self) -> None:
        """Raise ValueError where windows overlap by their whole length, and so would not move on."""
        if not 0 <= self.overlap < self.length:
            raise ValueError(
                f"overlap={self.overlap} with windows of length={self.length}; expected 0 to {self.length - 1}, so "
                "that windows move on; lower overlap."
            )

    @property
    def anchored(self) -> bool:
        """Whether a window is asked about with the frame before it, of which the answer is not taken."""
        return False

    @property
    def is_moving(self) -> bool:
        """Windows begin elsewhere in each step."""
        return self.schedule in ("uniform", "looped")

    def is_needed(self, frames: int) -> bool:
        """Tell whether a clip is asked about in windows: one longer than a window, and every one that loops."""
        return frames > self.length or (self.schedule == "looped" and frames > 1)

    def windows(self, frames: int, step: int) -> list[Window]:
        """Return the windows of one step: absolute numbers of their frames, none twice in a window.

        Windows with frame 0 come first, so that others can read what they leave of it.

        Args:
            frames: length of the clip.
            step: number of the sampler's step, from 0.

        Returns:
            Windows of ``length`` frames (the last of a batched schedule may be shorter) that cover the clip.

        Examples:
            >>> [(window[0], window[-1]) for window in WindowPlan(16, 4).windows(32, 0)]
            [(0, 15), (12, 27), (16, 31)]
        """
        if not self.is_needed(frames):
            return [tuple(range(frames))]
        if frames <= self.length:
            return [_looped(frames, frames, 1, round(frames * _halving(step)))]
        if self.schedule == "static":
            return _spaced(frames, self.length, 1, range(0, frames, self.length - self.overlap))
        if self.schedule == "batched":
            starts = range(0, frames, self.length)
            if frames % self.length == 1:
                return _spaced(frames, self.length, 1, starts)
            return [tuple(range(start, min(start + self.length, frames))) for start in starts]
        spacings = [2**n for n in range(self.stride) if self.length * 2**n <= frames]
        made = [window for spacing in spacings for window in self._moving(frames, step, spacing)]
        return sorted(dict.fromkeys(made), key=lambda window: 0 not in window)

    def _moving(self, frames: int, step: int, spacing: int) -> list[Window]:
        """Return the windows of one step whose frames lie a spacing apart."""
        advance = self.length * spacing - self.overlap
        if self.schedule == "looped":
            shift = round(frames * _halving(step))
            starts = range(shift, shift + frames, advance)
            return [_looped(frames, self.length, spacing, start) for start in starts]
        shift = round(advance * _halving(step))
        return _spaced(frames, self.length, spacing, range(shift - advance, frames, advance))

    def weigh(self, window: Window, frames: int) -> list[float]:
        """Return what each frame of a window counts, more than 0.

        Args:
            window: one of ``windows``.
            frames: length of the clip.
        """
        count = len(window)
        if self.weights == "flat":
            return [1.0] * count
        if self.weights == "pyramid":
            return [float(min(place + 1, count - place)) for place in range(count)]
        ramp = min(self.overlap, count) + 1
        is_loop = self.schedule == "looped"
        return [
            min(
                1.0 if window[0] == 0 and not is_loop else (place + 1) / ramp,
                1.0 if window[-1] == frames - 1 and not is_loop else (count - place) / ramp,
                1.0,
            )
            for place in range(count)
        ]


@dataclass(frozen=True, slots=True)
class LatentWindowPlan(WindowPlan):
    """Windows of latent frames, for a model of video; all numbers are of these.

    Attributes:
        anchor: True: the latent frame before a window goes first in it, and its answer is not taken. Such a model takes
            the first latent frame for a single picture, which within a clip it is not.
    """

    anchor: bool = True

    @property
    def anchored(self) -> bool:
        """Whether a window is asked about with the frame before it, of which the answer is not taken."""
        return self.anchor


def latent_windows(plan: WindowPlan, law: TimeLaw, *, anchor: bool) -> LatentWindowPlan:
    """Return a plan of windows of frames as one of latent frames.

    Args:
        plan: windows of frames of the clip.
        law: time law of the model.
        anchor: choice that ``LatentWindowPlan`` has.

    Raises:
        ValueError: windows overlap by their whole length once they are of latent frames.

    Examples:
        >>> plan = latent_windows(WindowPlan(81, 16), TimeLaw(4), anchor=True)
        >>> plan.length, plan.overlap
        (21, 4)
    """
    length, overlap = law.latents(plan.length), law.latents(plan.overlap) if plan.overlap else 0
    if overlap >= length:
        raise ValueError(
            f"overlap={plan.overlap} with windows of length={plan.length}: got {overlap} and {length} latent frames of "
            f"{law.stride} frames; expected an overlap that is shorter; lower overlap, or raise length."
        )
    return LatentWindowPlan(length, overlap, plan.schedule, plan.stride, plan.weights, anchor)


def _spaced(frames: int, length: int, spacing: int, starts: range) -> list[Window]:
    """Return windows at their starts, moved into the clip where they stick out, each once."""
    last = frames - ((length - 1) * spacing + 1)
    inside = dict.fromkeys(min(max(start, 0), last) for start in starts)
    return [tuple(range(start, start + (length - 1) * spacing + 1, spacing)) for start in inside]


def _looped(frames: int, length: int, spacing: int, start: int) -> Window:
    return tuple((start + place * spacing) % frames for place in range(length))


def _halving(step: int) -> float:
    """Return 0, 1/2, 1/4, 3/4, 1/8, ...: the step's binary digits behind the point, mirrored (van der Corput)."""
    value, part = 0.0, 0.5
    while step:
        value += part * (step & 1)
        step, part = step >> 1, part / 2
    return value
