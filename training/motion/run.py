"""A run of motion training as the user sees it: log, samples, and progress.

The node and the command share it. Each says where files go, and shows progress in its own way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from ...host.contract import Host, Motion
from ...models.files.whole_file import whole_file
from ...models.motion.checkpoint import MotionWeights
from ...models.motion.edit import motion_edit
from ...models.motion.few_steps import SCHEDULER
from ...models.motion.lora import merge_loras
from ...models.motion.pia import PiaPicture, read_affinity
from ..team import ALONE, Team
from ..video.captions import as_prompt
from .dataset import Dataset
from .job import MotionJob, run_job
from .lessons import Learned
from .training import Trained

logger = logging.getLogger(__name__)

SHOW_EVERY = 10  # steps between lines of the log
SAMPLE_STEPS, SAMPLE_CFG, SAMPLE_AFFINITY = 12, 5.0, "medium motion"


class Show(Protocol):
    """The display of a run. ``clip`` and ``step`` may raise to stop it; if there are several processes, all must."""

    def clip(self, done: int) -> None:
        """Show the number of encoded clips."""
        ...

    def step(self, step: int, losses: Sequence[float]) -> None:
        """Show a 0-based step, with all losses since the command began."""
        ...

    def sample(self, strip: Tensor) -> None:
        """Show a sample, [H, F*W, 3] in 0..1: the frames of a clip side by side."""
        ...


@dataclass
class MotionRun:
    """One run, of the node or of the command. Nothing starts before ``train``.

    Attributes:
        port: the host.
        parts: MODEL, CLIP and VAE.
        dataset: the clips.
        job: target and settings of the training.
        motion: module to go on with, or to put a LoRA on; None: a new one.
        show: display of progress and samples.
        team: processes that train together; the main one alone logs and draws samples.
    """

    port: Host
    parts: tuple[Any, Any, Any]
    dataset: Dataset
    job: MotionJob
    motion: Motion | None
    show: Show
    team: Team = ALONE

    def __post_init__(self) -> None:
        """Begin without losses."""
        self._start = None if self.motion is None else (self.motion.weights, self.motion.loras)
        self._losses: list[float] = []
        self._stops, self._path = False, Path()

    def train(self, folder: Callable[[str], Path]) -> Trained:
        """Train, from the place where an earlier run was stopped.

        Args:
            folder: function from the key of everything that the run depends on to the folder of its files.
        """

        def place(key: str) -> Path:
            self._path = folder(key)
            return self._path

        return run_job(
            self.port,
            self.job,
            self.parts,
            self.dataset,
            self._start,
            place,
            self.show.clip,
            self._step,
            self._checkpoint,
            self.team,
        )

    def motion_of(self, learned: Learned) -> Any:
        """Return the result as a MOTION."""
        if isinstance(learned, MotionWeights):
            return self.port.load_motion(learned)
        return self.port.load_motion(merge_loras(*self._start)).with_lora(learned, 1.0)  # type: ignore[misc]  a LoRA is on one

    def _step(self, step: int, loss: float) -> None:
        self._losses.append(loss)
        if (step + 1) % SHOW_EVERY == 0 and self.team.rank == 0:
            recent = self._losses[-50:]
            mean, steps = sum(recent) / len(recent), self.job.settings.loop.steps
            logger.info("%s: step %d of %d, loss %.5f.", self.job.name, step + 1, steps, mean)
        self._stops = True
        self.show.step(step, self._losses)
        self._stops = False

    def _checkpoint(self, steps: int, learned: Learned) -> None:
        """Draw a sample of the first caption: for a mask adapter between given ends, for PIA of the first frame.

        A run that stops draws none.

        A run that goes on draws the sample of its checkpoint if it is missing, since the earlier run may have been
        killed.
        """
        path = self._path / f"sample-{steps:06}.png"
        if self._stops or (not self._losses and path.exists()):
            return
        try:
            with torch.inference_mode():
                strip = torch.cat(list(self._sample(learned)), 1)
            with whole_file(path) as part:
                Image.fromarray(strip.mul(255).byte().cpu().numpy()).save(part, "PNG")
        # No memory, a full disk, or the video is gone.
        except (ArithmeticError, OSError, RuntimeError, ValueError) as error:
            logger.warning("%s: this checkpoint has no sample (%s).", self.job.name, error)
            return
        self.show.sample(strip)

    def _sample(self, learned: Learned) -> Tensor:
        """Return a clip, [F, H, W, 3]."""
        port, (model, clip, vae), dataset = self.port, self.parts, self.dataset
        motion = self.motion_of(learned)
        if motion.weights.size.picture_encoder:
            first = port.encode(vae, dataset.pictures(0)[:1].movedim(1, -1) / 2 + 0.5)["samples"]
            near = read_affinity(SAMPLE_AFFINITY, "", dataset.frames)
            motion = motion.with_picture(PiaPicture.of(first, [0], near))
        moving = port.install(model, motion_edit("sample", motion, motion.weights.beta_schedule))
        texts = as_prompt(dataset.captions[0]), ""
        positive, negative = (port.encode_text(clip, text)[0] for text in texts)
        latents, mask = torch.zeros(dataset.frames, 4, dataset.height // 8, dataset.width // 8), None
        noise = torch.randn(
            latents.shape, generator=torch.Generator().manual_seed(self.job.settings.loop.seed)
        )
        if self.job.target == "mask adapter":
            ends, mask = [0, -1], torch.ones_like(latents[:, :1])
            pictures = dataset.pictures(0)[ends].movedim(1, -1) / 2 + 0.5
            latents[ends], mask[ends] = port.encode(vae, pictures)["samples"].to(latents), 0.0
        steps, scheduler, cfg = SAMPLE_STEPS, "normal", SAMPLE_CFG
        if few := self.job.settings.few:
            steps, scheduler, cfg = few.steps, SCHEDULER, 1.0
        latent = port.sample(
            moving,
            positive,
            negative,
            {"samples": latents},
            noise=noise,
            mask=mask,
            sigmas=port.sigmas(moving, steps, scheduler),
            sampler="euler",
            cfg=cfg,
        )
        return port.decode(vae, latent)
