"""Train a motion module on clips."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..host import api
from ..models.family import check_is_sd1, check_makes_pictures, check_tokens
from ..models.whole_file import try_folder
from .early import UNLINKED, check_early
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
            "was. The model is frozen: training goes through its UNet, whose weights are hashed before and after. A "
            "run that is stopped keeps a checkpoint in the user folder, in frameloom/training, with a "
            "motion.safetensors that can be used as it is; the log names the run's own folder. The same graph goes on "
            "from there.",
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
    def validate_inputs(cls, target: str | None, motion: Any = UNLINKED) -> bool | str:
        """Refuse to learn on a module that is not there, and a folder that can't be written to."""
        return check_early(_check_start, target, motion is not UNLINKED)

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
        final_rate: float,
        frames_per_step: int,
        motion: Any = None,
    ) -> io.NodeOutput:
        """Run the node."""
        from ..training.motion_run import MotionRun

        job = make_job(
            target, steps, learning_rate, seed, name, batch, accumulation, warmup, ema_decay, precision, save_memory,
            min_snr, noise_bias, checkpoint_every, rank, max_frames, middle_block, beta_schedule, final_rate,
            frames_per_step,
        )  # fmt: skip
        _check_family(model, clip, vae)
        show = _Show(job, dataset)
        run = MotionRun(api.port(), (model, clip, vae), dataset, job, motion, show)
        trained = run.train(lambda key: api.port().user_dir() / TRAINING / key[:16])
        logger.info("%s: the base is unchanged, SHA-256 %s.", job.name, trained.base[:12])
        return io.NodeOutput(run.motion_of(trained.learned), draw_curve(trained.losses))


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
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFF,
            control_after_generate=io.ControlAfterGenerate.fixed,
            tooltip="Of every draw: same seed, same training. Keep it fixed: another seed is another run, and begins "
            "at the first step.",
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
            tooltip="First steps, in which the rate grows evenly from nothing.",
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
            tooltip="Work blocks out again for gradients (gradient checkpointing): much less memory, about 40 % "
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
        io.Float.Input(
            "final_rate",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Share of learning_rate that is left at the last step, by a cosine. 1: the rate is constant, as "
            "AnimateDiff's, and a finished run can be gone on with by more steps.",
        ),
        io.Int.Input(
            "frames_per_step",
            default=0,
            min=0,
            max=1024,
            tooltip="Frames that a step sees of each clip, drawn anew each time, in order and with their places in "
            "time. 4, with a larger batch, teach where things go sooner, in the same time and memory. 0: all.",
        ),
        Motion.Input(
            "motion",
            optional=True,
            tooltip="The module to go on with, or to put a motion LoRA or mask adapter on.",
        ),
    ]


def _check_start(target: str, has_motion: bool) -> None:
    from ..training.motion_job import refuse_nothing

    if target != MODULE and not has_motion:
        refuse_nothing(target)
    try_folder(api.port().user_dir() / TRAINING)


def make_job(
    target: Any,
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
    beta_schedule: Any,
    final_rate: float,
    frames_per_step: int,
) -> Any:
    """Return what to learn and how, a ``training.motion_job.MotionJob``.

    The optimiser is AnimateDiff's AdamW, whose rate is constant at a ``final_rate`` of 1. The arguments are the node's
    inputs, in its order.
    """
    from ..training.loop import LoopSettings
    from ..training.motion_job import MotionJob
    from ..training.motion_training import MotionSettings, pick_precision

    loop = LoopSettings(
        steps,
        learning_rate,
        warmup,
        final_rate=final_rate,
        betas=(0.9, 0.999),
        ema_decay=ema_decay,
        seed=seed,
        accumulation=accumulation,
        precision=pick_precision(api.port().compute_device()) if precision == "auto" else precision,
    )
    settings = MotionSettings(
        loop,
        batch,
        min_snr=min_snr,
        timestep_power=noise_bias,
        save_memory=save_memory,
        checkpoint_every=checkpoint_every,
        frames_per_step=frames_per_step,
    )
    beta: Any = SCHEDULES[beta_schedule]
    return MotionJob(target, name, settings, rank, middle_block, max_frames, beta)


def _check_family(model: Any, clip: Any, vae: Any) -> None:
    """Refuse what can't be trained on, before clips are encoded, which can take hours."""
    port = api.port()
    family = port.family(model)
    check_is_sd1(family, "training", "train this one with a trainer of its family")
    check_tokens(family, port.encode_text(clip, "")[0], "clip")
    check_makes_pictures(port.family(vae), "training", "take the VAE of the model's own checkpoint", "vae")


class _Show:
    """A bar for the clips that are encoded, then one for steps, with the curve for a preview."""

    def __init__(self, job: Any, dataset: Any) -> None:
        self._clips = api.port().progress(len(dataset), "clip")
        self._total, self._steps = job.settings.loop.steps, None

    def clip(self, done: int) -> None:
        """Show that clips are encoded."""
        self._clips.update(done)

    def step(self, step: int, losses: Sequence[float]) -> None:
        """Show a step."""
        self._steps = self._steps or api.port().progress(self._total, "step")
        shown = (step + 1) % SHOW_EVERY == 0
        self._steps.update(step + 1, draw_curve(losses)[0] if shown else None)
        api.port().check_interrupt()

    def sample(self, strip: Tensor) -> None:
        """Show nothing: it is in the run's folder."""


def draw_curve(losses: Sequence[float]) -> Tensor:
    """Draw every step's loss, and its average over the last fifty."""
    averages, mean = [], 0.0
    for index, loss in enumerate(losses):
        mean += (loss - mean) / min(50, index + 1)
        averages.append(mean)
    return draw_panels([Panel("loss by step", {"loss": list(losses), "average": averages}, 1, 1)])


NODES: list[type] = [TrainMotionModule]
