"""A long video on a model of video: clips between exact keyframes, each a job of its own, joined in pixels.

With K keyframes, and clips of L frames,

    N = (K - 1) (L - 1) + 1 frames;    job i has frames i (L - 1) to (i + 1) (L - 1), from keyframe i to keyframe i + 1

so two neighbours share one frame, which both have from the keyframe. A job knows nothing of the others: errors cannot
add up as they do where a clip begins with the end of the one before, and the order of jobs changes no bit. A part of
the keyframes makes that part of the video, bit for bit, if its first job is told the number that it has in the whole.

What a job samples are latents, and these are what is kept: a clip of 81 frames at 832 x 480 takes 8 MB, where its
pictures take 388 MB. They are decoded by themselves, since a decoder is causal: behind a seam in latents it would make
other frames. No autoencoder gives a picture back bit for bit, so the keyframes are put into the decoded frames.

The jobs are those of NUWA-XL's last level (Yin et al. 2023), https://arxiv.org/abs/2303.12346, section 3.2.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..errors import HostError
from ..files.disk_tensor import disk_tensor
from ..files.keys import hash_settings
from ..network.time_law import TimeLaw
from ..video.guards import check_frames
from ..video.noise import draw_noise, mix_seeds
from ..video.shapes import Images
from .job_folder import JobFolder
from .prompt_travel import MAX_FRAMES

logger = logging.getLogger(__name__)

Watch = Callable[[int, Tensor | None], None]
"""Told how many steps of a job are done, and a preview if there is one."""


@dataclass(frozen=True)
class ClipJob:
    """One clip between two keyframes."""

    index: int  # i
    frames: range  # of the video
    number: int  # n: place among all clips of the longer video that this one may be a part of

    @property
    def keyframes(self) -> slice:
        """Which of the keyframes are its ends."""
        return slice(self.index, self.index + 2)

    def __str__(self) -> str:
        return f"clip {self.index + 1} (frames {self.frames[0]} to {self.frames[-1]})"


@dataclass(frozen=True)
class KeyframedPlan:
    """Which jobs a video has.

    Raises:
        ValueError: there are fewer than two keyframes, or too many frames; or a clip's length is none that the model
            has.
    """

    keyframes: int  # K
    length: int  # L
    law: TimeLaw
    first: int = 0  # number of the first clip

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_length(self.length, self.law)
        check_number(self.keyframes)
        if self.frames > MAX_FRAMES:
            raise ValueError(
                f"keyframes: {self.keyframes} with clips of {self.length} make {self.frames:,} frames; expected at "
                f"most {MAX_FRAMES:,}; take fewer keyframes, or lower length."
            )

    @property
    def frames(self) -> int:
        """N.

        Examples:
            >>> KeyframedPlan(3, 5, TimeLaw(4)).frames
            9
        """
        return (self.keyframes - 1) * (self.length - 1) + 1

    @property
    def jobs(self) -> Iterator[ClipJob]:
        """The jobs in order."""
        for index in range(self.keyframes - 1):
            first = index * (self.length - 1)
            yield ClipJob(index, range(first, first + self.length), self.first + index)


class ClipWork(Protocol):
    """What every job does; it acts the same whatever was done before."""

    @property
    def steps(self) -> int:
        """How many steps a job takes."""
        ...

    @property
    def shape(self) -> Sequence[int]:
        """Shape of a clip's latents, [1, C, T, H, W]."""
        ...

    def sample(self, job: ClipJob, ends: Images, watch: Watch) -> Tensor:
        """Return the latents of a clip from one picture to another."""
        ...

    def decode(self, job: ClipJob, latents: Tensor) -> Images:
        """Return the pictures of a clip, [F, H, W, 3], of its latents, [1, C, T, H, W]."""
        ...


def check_number(keyframes: int) -> None:
    """Check that there are keyframes for a clip.

    Raises:
        ValueError: there are fewer than two.
    """
    if keyframes < 2:
        raise ValueError(
            f"keyframes: got {keyframes}; expected 2 or more, since a clip goes from one picture to the next; connect "
            "a batch of pictures (core's Batch Images makes one)."
        )


def check_length(length: int, law: TimeLaw) -> None:
    """Check that clips of a model can have a length, and something between two ends.

    Raises:
        ValueError: they can't; names the nearest lengths that they can have.
    """
    below = law.stride * (law.latents(length) - 1) + 1
    if below == length > 2:
        return
    legal = [each for each in (below, below + law.stride) if each > 2] or [2 * law.stride + 1]
    raise ValueError(
        f"length={length}; expected a clip that this model has, of {law.stride} n + 1 frames: "
        f"{' or '.join(map(str, legal))} is nearest; set length to that."
    )


def job_seed(seed: int, job: ClipJob) -> int:
    """Return the seed of a clip: by its place, whatever is made before."""
    return mix_seeds(seed, job.number)


def job_noise(seed: int, job: ClipJob, shape: Sequence[int]) -> Tensor:
    """Draw the noise of a clip, [1, C, T, H, W] float32 on the CPU.

    Args:
        seed: seed of the video.
        job: job of the clip.
        shape: shape of the noise.
    """
    _, channels, latents, *size = shape
    drawn = draw_noise(job_seed(seed, job), range(latents), (channels, *size))
    return drawn.movedim(0, 1)[None].contiguous()


class JoinedVideo:
    """A video that is being made, clip by clip.

    Attributes:
        frames: frames of the video, [N, H, W, 3] float32, in a file beside the finished jobs: memory holds one clip.
        kept: number of jobs that were not sampled, since the folder had them.

    Raises:
        OSError: the disk has no room for the frames.
    """

    def __init__(self, plan: KeyframedPlan, keyframes: Images, folder: JobFolder) -> None:
        self.plan, self.kept = plan, 0
        self._keyframes, self._folder = keyframes, folder
        self.frames = disk_tensor((plan.frames, *keyframes.shape[1:]), folder.path)

    def make(self, job: ClipJob, work: ClipWork, watch: Watch) -> None:
        """Sample a clip, or find its latents; decode it, and put it between its keyframes.

        Raises:
            PredictionError: a frame is not finite.
            HostError: what is decoded does not have the keyframes' size, or another number of frames.
            OSError: its file can't be written. What was finished before is kept.
        """
        ends = self._keyframes[job.keyframes]
        name = f"clip-{job.number:05}-{hash_settings(ends=ends)[:16]}"
        latents = self._folder.load(name, work.shape)
        if latents is None:
            latents = work.sample(job, ends, watch)
            self._folder.save(name, latents)
        else:
            self.kept += 1
        pictures = work.decode(job, latents)
        if pictures.shape != (len(job.frames), *ends.shape[1:]):
            raise HostError(
                f"{job}: the VAE made frames of {list(pictures.shape)}; expected {[len(job.frames), *ends.shape[1:]]}; "
                "load the VAE of this model."
            )
        check_frames(pictures, str(job), job.frames[0])
        self.frames[job.frames.start : job.frames.stop] = pictures
        self.frames[[job.frames[0], job.frames[-1]]] = ends.to(self.frames)


def make_video(
    video: JoinedVideo, work: ClipWork, watch: Watch, check_interrupt: Callable[[], None]
) -> Images:
    """Make all clips here, one after another; returns the frames of the video.

    Args:
        video: video to fill.
        work: work of a job.
        watch: function that is told of the steps of all jobs together.
        check_interrupt: function that is called before each job, and raises to stop.
    """
    left = video.plan.keyframes - 1
    for job in video.plan.jobs:
        check_interrupt()
        before, started, kept = job.index * work.steps, time.perf_counter(), video.kept
        video.make(job, work, lambda done, preview, before=before: watch(before + done, preview))
        watch(before + work.steps, None)
        left -= 1
        if video.kept == kept:
            seconds = time.perf_counter() - started
            logger.info("%s took %.1f s; %d are left, about %.0f s.", job, seconds, left, left * seconds)
    if video.kept:
        logger.info("%d of %d clips were finished before.", video.kept, video.plan.keyframes - 1)
    return video.frames


def grey_ends(keyframes: Images) -> Images:
    """Return two grey pictures of the keyframes' size, which models are asked about to tell one from another."""
    return torch.full((2, *keyframes.shape[1:]), 0.5)
