"""NUWA-XL's tree: keyframes over a whole video, and jobs that fill the gaps between neighbours, level by level.

With L frames a job, level 1 is one job, the keyframes. Every gap between neighbouring frames of a level is a job of the
next: its ends are given, its L - 2 frames between are new. After m levels there are

    N = (L - 1)^m + 1 frames;    job i of level l has i (L - 1) s to (i + 1) (L - 1) s, a step s = (L - 1)^(m - l) apart

Jobs of a level do not depend on each other, so with enough devices a video takes as long as one job a level,
however long it is.

Source: NUWA-XL (Yin et al. 2023), https://arxiv.org/abs/2303.12346, section 3.2 ("diffusion over diffusion").
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from .prompt_text import Keys
from .prompt_travel import MAX_FRAMES, Blend, Interpolation, plan_travel

MAX_DEPTH = 12


@dataclass(frozen=True, order=True)
class Job:
    """One sampling of L frames; the first and the last are given, but for level 1."""

    level: int  # l; 1 has the keyframes
    index: int  # i
    frame_ids: tuple[int, ...]

    def __str__(self) -> str:
        return (
            f"level {self.level}, job {self.index + 1} (frames {self.frame_ids[0]} to {self.frame_ids[-1]})"
        )


@dataclass(frozen=True)
class Tree:
    """What a FRAMELOOM_TREE socket carries: a video's jobs and prompts."""

    length: int  # L, 3 or more, so that something is between two ends
    depth: int  # m, 1 to ``MAX_DEPTH``
    prompts: Keys  # the first frame has one
    interpolation: Interpolation = "linear"  # way from one prompt's encoding to the next

    def __post_init__(self) -> None:
        """Check that there are not too many frames, and prompts for the first one and none behind the last."""
        check_size(self.length, self.depth)
        if 0 not in self.prompts or max(self.prompts) >= self.frames:
            raise ValueError(
                f"prompts: got them for frames {', '.join(map(str, sorted(self.prompts)))}; expected one for frame 0, "
                f"and none behind frame {self.frames - 1}; lay the prompts out over {self.frames} frames."
            )

    @property
    def frames(self) -> int:
        """N = (L - 1)^m + 1."""
        return count_frames(self.length, self.depth)

    @property
    def local_jobs(self) -> int:
        """How many jobs fill gaps: all but the keyframes' own."""
        return sum((self.length - 1) ** level for level in range(1, self.depth))

    @property
    def keyframes(self) -> Job:
        """The job of level 1."""
        return self.job(1, 0)

    def job(self, level: int, index: int) -> Job:
        """Return a job by its place."""
        s = (self.length - 1) ** (self.depth - level)
        first = index * (self.length - 1) * s
        return Job(level, index, tuple(first + s * place for place in range(self.length)))

    def level(self, frame: int) -> int:
        """Return the level on which a frame is new."""
        strides = ((self.length - 1) ** (self.depth - level) for level in range(1, self.depth + 1))
        return next(level for level, stride in enumerate(strides, 1) if frame % stride == 0)

    def below(self, job: Job) -> Iterator[Job]:
        """Return the jobs that fill a job's gaps; none below the last level."""
        if job.level < self.depth:
            first = job.index * (self.length - 1)
            for index in range(first, first + self.length - 1):
                yield self.job(job.level + 1, index)

    def blends(self) -> list[Blend]:
        """Return what every frame's prompt is mixed of."""
        return plan_travel(self.prompts, self.frames, self.interpolation)


def count_frames(length: int, depth: int) -> int:
    """Return (L - 1)^m + 1.

    Examples:
        >>> count_frames(16, 2), count_frames(16, 3), count_frames(9, 3)
        (226, 3376, 513)
    """
    return (length - 1) ** depth + 1


def check_size(length: int, depth: int) -> None:
    """Check a tree's numbers.

    Raises:
        ValueError: there are more than ``MAX_FRAMES`` frames.
    """
    if count_frames(length, depth) > MAX_FRAMES:
        raise ValueError(
            f"length={length} and depth={depth} make {count_frames(length, depth):,} frames; expected at most "
            f"{MAX_FRAMES:,}; lower depth."
        )


def read_keyframe_prompts(text: str, length: int, depth: int) -> Keys:
    r"""Read the keyframes' prompts by frame: one a line, L of them, or a single one for all.

    Raises:
        ValueError: the tree's numbers are wrong, there are more or fewer lines, or one is empty; names it.

    Examples:
        >>> read_keyframe_prompts("a red circle\na blue circle\na cross", 3, 2)
        {0: 'a red circle', 2: 'a blue circle', 4: 'a cross'}
    """
    check_size(length, depth)
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) == 1 and lines[0]:
        return {0: lines[0]}
    if "" in lines or not lines:
        number = lines.index("") + 1 if lines else 1
        raise ValueError(
            f"prompts line {number}: got nothing; expected keyframe {number}'s prompt; write it, or take out the line."
        )
    if len(lines) != length:
        fault = (
            f"there is none for keyframe {len(lines) + 1}"
            if len(lines) < length
            else f"{lines[length]!r} is too many"
        )
        raise ValueError(
            f"prompts: got {len(lines)} lines, and {fault}; expected {length}, one for each keyframe, or one for all; "
            f"write them, or set length to {len(lines)}."
        )
    stride = (length - 1) ** (depth - 1)
    return {stride * place: line for place, line in enumerate(lines)}


def spread_prompts(keys: Keys, frames: int, length: int, depth: int) -> Keys:
    """Lay prompts by frame of a whole, such as a storyboard's, out over a tree's; of several on one frame, the last.

    Examples:
        >>> spread_prompts({0: "a", 24: "b"}, 32, 3, 3)
        {0: 'a', 7: 'b'}
    """
    check_size(length, depth)
    last = count_frames(length, depth) - 1
    return {-(-frame * last // max(frames - 1, 1)): prompt for frame, prompt in sorted(keys.items())}


def find_makespan(tree: Tree, workers: int) -> int:
    """Return how long a tree takes, in jobs' durations: every job as soon as its ends exist and a worker is free.

    Equal durations. With one worker it is the number of jobs, with many the number of levels.

    Examples:
        >>> tree = Tree(9, 3, {0: "a"})
        >>> [find_makespan(tree, workers) for workers in (1, 2, 64)]
        [73, 37, 3]
    """
    waiting, now = [tree.keyframes], 0
    running: list[tuple[int, Job]] = []
    while waiting or running:
        while waiting and len(running) < workers:
            heapq.heappush(running, (now + 1, heapq.heappop(waiting)))
        now = running[0][0]
        while running and running[0][0] == now:
            for job in tree.below(heapq.heappop(running)[1]):
                heapq.heappush(waiting, job)
    return now
