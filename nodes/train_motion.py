"""Train a motion module on clips."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..host import api
from ..models.edit import Edit, TemporalEdit
from ..models.motion_checkpoint import MotionWeights
from ..models.motion_lora import MotionLoRA, merge_loras
from .motion import Motion
from .plot import Panel, draw_panels
from .save_motion import ADAPTER, LORA, MODULE
from .sockets import DatasetType

io = api.io
logger = logging.getLogger(__name__)

SCHEDULES = {"sqrt_linear (AnimateDiff)": "sqrt_linear", "linear (Stable Diffusion)": "linear"}
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
TRAINING = "training"  # folder in the user's
SHOW_EVERY = 10  # steps between pictures of the curve
SAMPLE_STEPS, SAMPLE_CFG = 12, 5.0


class TrainMotionModule(io.ComfyNode):
    """Frameloom_TrainMotionModule."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return io.Schema(
            node_id="Frameloom_TrainMotionModule",
            display_name="Train Motion Module",
            category="frameloom/training",
            description="Train a motion module on clips, by the error of the predicted noise on video, as AnimateDiff "
            "was. The model itself is frozen: its weights are hashed before and after. A run that is stopped keeps a "
            "checkpoint in the user folder, in frameloom/training, with a motion.safetensors that can be used as it "
            "is; the same graph goes on from there.",
            search_aliases=[
                "AnimateDiff training",
                "train motion LoRA",
                "MotionDirector",
                "finetune",
                "ADMD",
            ],
            inputs=[*_part_inputs(), *_what_inputs(), *_how_inputs(), *_optional_inputs()],
            outputs=[
                Motion.Output(
                    "motion", display_name="motion", tooltip="What was learned, averaged over the last steps."
                ),
                io.Image.Output("curve", display_name="curve", tooltip="The loss of every step."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        clip: Any,
        vae: Any,
        dataset: Any,
        target: str,
        steps: int,
        learning_rate: float,
        seed: int,
        name: str,
        batch: int,
        accumulation: int,
        warmup: int,
        ema_decay: float,
        precision: Any,
        save_memory: bool,
        min_snr: float,
        noise_bias: float,
        checkpoint_every: int,
        rank: int,
        max_frames: int,
        middle_block: bool,
        beta_schedule: str,
        motion: Any = None,
    ) -> io.NodeOutput:
        """Run the node."""
        loop = _loop(steps, learning_rate, warmup, ema_decay, seed, accumulation, precision)
        settings = _settings(loop, batch, min_snr, noise_bias, save_memory, checkpoint_every)
        job = _job(target, name, settings, rank, middle_block, max_frames, beta_schedule)
        run = _Run((model, clip, vae), dataset, job, motion)
        trained = run.train()
        logger.info("%s: the base is unchanged, SHA-256 %s.", job.name, trained.base[:12])
        return io.NodeOutput(run.motion_of(trained.learned), _curve(trained.losses))


def _part_inputs() -> list[Any]:
    return [
        io.Model.Input("model", tooltip="The base, without a motion module: SD1.5, or the demo model."),
        io.Clip.Input("clip", tooltip="Its text encoder, for captions."),
        io.Vae.Input("vae", tooltip="Its VAE, for the clips."),
        DatasetType.Input("dataset", tooltip="From Video Dataset."),
    ]


def _what_inputs() -> list[Any]:
    return [
        io.Combo.Input(
            "target",
            options=[MODULE, LORA, ADAPTER],
            default=MODULE,
            tooltip="module: all of a motion module, a new one, or motion's goes on learning. motion LoRA: a small "
            "change of motion's, for one kind of movement; a few dozen clips are enough. mask adapter: a motion LoRA "
            "that is also told which frames are given, so that motion goes on from them, or from one to another.",
        ),
        io.Int.Input("steps", default=1000, min=1, max=10_000_000, tooltip="Optimiser steps in all."),
        io.Float.Input(
            "learning_rate",
            default=1e-4,
            min=0.0,
            max=1.0,
            step=1e-6,
            tooltip="AdamW's; 0.0001 is AnimateDiff's. The demo model learns with 0.001, a LoRA on it with 0.004.",
        ),
        io.Int.Input(
            "seed", default=0, min=0, max=0xFFFFFFFF, tooltip="Of every draw: same seed, same training."
        ),
        io.String.Input("name", default="trained", tooltip="What the result is called in messages."),
    ]


def _how_inputs() -> list[Any]:
    return [
        io.Int.Input("batch", default=1, min=1, max=1024, tooltip="Clips at once."),
        io.Int.Input(
            "accumulation",
            default=1,
            min=1,
            max=1024,
            tooltip="Batches whose gradients make one step: a larger batch in the same memory.",
        ),
        io.Int.Input(
            "warmup",
            default=50,
            min=0,
            max=100_000,
            tooltip="Steps in which the rate grows to learning_rate.",
        ),
        io.Float.Input(
            "ema_decay",
            default=0.995,
            min=0.0,
            max=0.99999,
            step=0.00001,
            tooltip="Of the averaged weights, which are the result. 0: the last step's.",
        ),
        io.Combo.Input(
            "precision",
            options=list(PRECISIONS),
            default="auto",
            tooltip="Of the computation; what learns stays fp32. auto: bf16, or fp16, on a GPU, fp32 on the CPU.",
        ),
        io.Boolean.Input(
            "save_memory",
            default=False,
            tooltip="Work blocks out again for gradients (gradient checkpointing): much less memory, about a third "
            "more time, the same numbers.",
        ),
        io.Float.Input(
            "min_snr",
            default=0.0,
            min=0.0,
            max=100.0,
            step=0.1,
            tooltip="Gamma of Min-SNR weighting, 5 in its paper; 0: all noise levels count alike, as for AnimateDiff.",
        ),
        io.Float.Input(
            "noise_bias",
            default=1.0,
            min=1.0,
            max=10.0,
            step=0.1,
            tooltip="Above 1, more of the training is at high noise, where motion is decided. The demo model wants 3.",
        ),
        io.Int.Input(
            "checkpoint_every",
            default=250,
            min=1,
            max=100_000,
            tooltip="Steps between checkpoints, each with a sample of the first caption.",
        ),
    ]


def _optional_inputs() -> list[Any]:
    return [
        io.Int.Input(
            "rank",
            default=16,
            min=1,
            max=1024,
            tooltip="Of a motion LoRA or mask adapter; AnimateDiff's LoRAs have 64.",
        ),
        io.Int.Input(
            "max_frames",
            default=32,
            min=2,
            max=1024,
            tooltip="That a new module holds. Keep 32 for AnimateDiff-Evolved, which takes others for v1.",
        ),
        io.Boolean.Input(
            "middle_block", default=False, tooltip="A new module also acts in the middle, as AnimateDiff v2."
        ),
        io.Combo.Input(
            "beta_schedule",
            options=list(SCHEDULES),
            default=next(iter(SCHEDULES)),
            tooltip="A new module's noise schedule; the demo model wants Stable Diffusion's.",
        ),
        Motion.Input(
            "motion",
            optional=True,
            tooltip="The module to go on with, or to put a motion LoRA or mask adapter on.",
        ),
    ]


def _loop(
    steps: int,
    rate: float,
    warmup: int,
    ema_decay: float,
    seed: int,
    accumulation: int,
    precision: Any,
) -> Any:
    """Return how to optimise, a ``training.loop.LoopSettings``: at a constant rate, with AnimateDiff's AdamW."""
    from ..training.loop import LoopSettings
    from ..training.motion_training import pick_precision

    if precision == "auto":
        precision = pick_precision(api.port().compute_device())
    return LoopSettings(
        steps,
        rate,
        warmup,
        final_rate=1.0,
        betas=(0.9, 0.999),
        ema_decay=ema_decay,
        seed=seed,
        accumulation=accumulation,
        precision=precision,
    )


def _settings(
    loop: Any, batch: int, min_snr: float, noise_bias: float, save_memory: bool, checkpoint_every: int
) -> Any:
    """Return how to train, a ``training.motion_training.MotionSettings``; captions are left out as the dataset says."""
    from ..training.motion_training import MotionSettings

    return MotionSettings(
        loop,
        batch,
        min_snr=min_snr,
        timestep_power=noise_bias,
        save_memory=save_memory,
        checkpoint_every=checkpoint_every,
    )


def _job(
    target: Any, name: str, settings: Any, rank: int, middle: bool, max_frames: int, schedule: str
) -> Any:
    """Return what to learn, a ``training.motion_job.MotionJob``."""
    from ..training.motion_job import MotionJob

    beta: Any = SCHEDULES[schedule]
    return MotionJob(target, name, settings, rank, middle, max_frames, beta)


class _Run:
    """Trains, and shows it: a bar with the curve for a preview, samples, and what it logs."""

    def __init__(self, parts: tuple[Any, Any, Any], dataset: Any, job: Any, motion: Any) -> None:
        self._parts, self._dataset, self._job = parts, dataset, job
        self._start = None if motion is None else (motion.weights, motion.loras)
        self._losses: list[float] = []
        self._stopped, self._path = False, Path()
        self._bar = api.port().progress(len(dataset) + job.settings.loop.steps)

    def train(self) -> Any:
        """Return a ``training.motion_training.Trained``."""
        from ..training.motion_job import run_job

        return run_job(
            api.port(),
            self._job,
            self._parts,
            self._dataset,
            self._start,
            self.folder,
            self.clip,
            self.step,
            self.checkpoint,
        )

    def folder(self, key: str) -> Path:
        """Return where the files of a run are."""
        self._path = api.port().user_dir() / TRAINING / key[:16]
        return self._path

    def clip(self, done: int) -> None:
        """Show that clips are encoded."""
        self._bar.update(done)

    def step(self, step: int, loss: float) -> None:
        """Show a step."""
        self._losses.append(loss)
        steps, shown = self._job.settings.loop.steps, (step + 1) % SHOW_EVERY == 0
        if shown:
            recent = self._losses[-50:]
            mean = sum(recent) / len(recent)
            logger.info("%s: step %d of %d, loss %.5f.", self._job.name, step + 1, steps, mean)
        self._stopped = True
        self._bar.update(len(self._dataset) + step + 1, _curve(self._losses)[0] if shown else None)
        api.port().check_interrupt()
        self._stopped = False

    def checkpoint(self, learned: MotionWeights | MotionLoRA) -> None:
        """Draw a sample of the first caption, but for a run that stops."""
        if self._stopped:
            return
        with torch.inference_mode():
            strip = torch.cat(list(self._sample(learned)), 1)
        name = f"sample-{len(list(self._path.glob('sample-*.png'))):04}.png"
        Image.fromarray(strip.mul(255).byte().cpu().numpy()).save(self._path / name)

    def motion_of(self, learned: MotionWeights | MotionLoRA) -> Any:
        """Return what was learned as a MOTION."""
        port = api.port()
        if isinstance(learned, MotionWeights):
            return port.load_motion(learned)
        return port.load_motion(merge_loras(*self._start)).with_lora(learned, 1.0)  # type: ignore[misc]  a LoRA is on one

    def _sample(self, learned: MotionWeights | MotionLoRA) -> Tensor:
        """Return a clip, [F, H, W, 3]."""
        port, (model, clip, vae), dataset = api.port(), self._parts, self._dataset
        motion = self.motion_of(learned)
        moving = port.install(model, Edit("sample", TemporalEdit(motion), motion.weights.beta_schedule))
        positive, negative = (port.encode_text(clip, text)[0] for text in (dataset.captions[0], ""))
        shape = (dataset.frames, 4, dataset.height // 8, dataset.width // 8)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(self._job.settings.loop.seed))
        latent = port.sample(
            moving,
            positive,
            negative,
            {"samples": torch.zeros(shape)},
            noise=noise,
            sigmas=port.sigmas(moving, SAMPLE_STEPS, "normal"),
            sampler="euler",
            cfg=SAMPLE_CFG,
        )
        return port.decode(vae, latent)


def _curve(losses: Sequence[float]) -> Tensor:
    """Draw every step's loss, and its average over the last fifty."""
    averages, mean = [], losses[0]
    for index, loss in enumerate(losses):
        mean += (loss - mean) / min(50, index + 1)
        averages.append(mean)
    return draw_panels([Panel("loss by step", {"loss": list(losses), "average": averages}, 1, 1)])


NODES: list[type] = [TrainMotionModule]
