"""Some frames of a clip: at another rate, from one on, every nth, and at most so many."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

MOST_FRAMES = 100_000


def frames_at_rate(count: int, source: float, rate: float) -> Iterator[int]:
    """Yield the numbers of the frames that a clip shows at another rate: each is the first one that is not too early.

    Frame ``n`` of ``rate`` is due at ``n / rate`` seconds, and frame ``ceil(n * source / rate)`` of the clip is taken.
    The time is summed up frame by frame, as VideoHelperSuite sums it, so that the sums are rounded alike.

    Args:
        count: number of frames of the clip.
        source: frames a second of the clip.
        rate: frames a second that are wanted.

    Examples:
        >>> list(frames_at_rate(8, 16, 8)), list(frames_at_rate(3, 8, 16))
        ([0, 2, 4, 6], [0, 1, 1, 2, 2])
    """
    step, due = 1 / source, 1 / rate
    time = due
    for frame in range(count):
        while time >= due:
            yield frame
            time -= due
        time += step


def choose_frames(
    count: int, source: float, rate: float = 0.0, skip: int = 0, every: int = 1, cap: int = 0
) -> list[int]:
    """Return the numbers of the frames that are picked: first by rate, then behind some, then every nth, then a cap.

    Args:
        count: number of frames of the clip.
        source: frames a second of the clip.
        rate: frames a second that are wanted; 0 keeps all frames.
        skip: number of frames to leave out at the start, counted at the new rate.
        every: distance from one frame to the next, counted at the new rate.
        cap: number of frames at which to stop; 0 for all.

    Raises:
        ValueError: no frame is left, or there would be very many.

    Examples:
        >>> choose_frames(32, source=16, rate=8, skip=2, every=3, cap=4)
        [4, 10, 16, 22]
    """
    frames = iter(range(count)) if rate == 0 else frames_at_rate(count, source, rate)
    chosen = list(islice(islice(frames, skip, None, every), cap or MOST_FRAMES + 1))
    if not chosen:
        at = f" at {rate:g} frames a second" if rate else ""
        raise ValueError(
            f"skip_first_frames: got {skip} of a clip of {count} frames{at}; expected fewer than it has; lower it."
        )
    if len(chosen) > MOST_FRAMES:
        raise ValueError(
            f"force_rate: got {rate:g} for {count} frames at {source:g} frames a second, which is more than "
            f"{MOST_FRAMES:,} frames; expected fewer; lower it, or set frame_cap."
        )
    return chosen
