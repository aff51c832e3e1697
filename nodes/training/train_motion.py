"""Train a motion module on clips."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from torch import Tensor

from ...host import api
from ...models.files.whole_file import try_folder
from ...models.network.family import check_has_slots, check_makes_pictures, check_tokens
from ..drawing.plot import Panel, draw_panels
from ..early import UNLINKED, check_early
from ..motion.modules import BETA_SCHEDULES, Motion
from ..sockets import DatasetType
from ..widgets import choice, line, number, out, schema, seed, share, socket, switch, whole
from .save_motion import ADAPTER, LORA, MODULE, PIA_ADAPTER

io = api.io
logger = logging.getLogger(__name__)

SCHEDULES = ("sqrt_linear (AnimateDiff)", "linear (Stable Diffusion)", "linear (AnimateDiff-SDXL)")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
TRAINING = "training"  # folder in the user's
SHOW_EVERY = 10  # steps between pictures of the curve


class TrainMotionModule(io.ComfyNode):
    """Train a motion module on clips, as AnimateDiff was, by the error of the predicted noise; or to draw in few steps.

    The model is frozen: training goes through its UNet, whose weights are hashed before and after. A run that
    is stopped keeps a checkpoint in the user folder, in frameloom/training, with a motion.safetensors that
    can be used as it is; the log names the run's own folder. The same graph goes on from there.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Train Motion Module", "training",
            aliases=["AnimateDiff training", "train motion LoRA", "MotionDirector", "finetune", "ADMD"],
            inputs=[
                socket(io.Model, "model",
                    "The base model, without a motion module: SD1.5, SDXL, or the demo model."),
                socket(io.Clip, "clip", "The model's text encoder, or SDXL's two, for captions."),
                socket(io.Vae, "vae", "The model's VAE, for the clips."),
                socket(DatasetType, "dataset", "Clips from Video Dataset."),
                choice("target", [MODULE, LORA, ADAPTER, PIA_ADAPTER],
                    "Thing that is trained. module: all of a motion module, a new one, or motion's goes on learning. "
                    "motion LoRA: a small change of motion's, for one kind of movement; a few dozen clips are enough. "
                    "mask adapter: a motion LoRA that is also told which frames are given, so that motion goes on from "
                    "them, or from one to another. PIA adapter: one that is given a picture and how near each frame is "
                    "to it, by PIA Picture; a module that has one keeps learning with pictures. SDXL has no adapters."),
                whole("steps", 1000, 1, 10_000_000, "Steps of the optimiser in all."),
                number("learning_rate", 0.0001, 0.0, 1.0, 1e-6,
                    "Learning rate of AdamW; 0.0001 is AnimateDiff's. The demo model learns with 0.001, a "
                    "LoRA on it with 0.004."),
                seed(
                    "Seed of every draw: same seed, same training. Keep it fixed: another seed is another "
                    "run, and begins at the first step.",
                    most=2**32 - 1, after=io.ControlAfterGenerate.fixed),
                line("name", "trained", "Name of the result in messages."),
                whole("batch", 1, 1, 1024, "Clips at once."),
                whole("accumulation", 1, 1, 1024,
                    "Batches whose gradients make one step: a larger batch in the same memory."),
                whole("warmup", 50, 0, 100_000, "First steps, in which the rate grows evenly from nothing."),
                number("ema_decay", 0.995, 0.0, 0.99999, 1e-5,
                    "Decay of the averaged weights, which are the result. 0: the last step's."),
                choice("precision", PRECISIONS,
                    "Number format of the computation; what learns stays fp32. auto: bf16, or fp16, on a "
                    "GPU, fp32 on the CPU."),
                switch("save_memory", False,
                    "Gradient checkpointing: work blocks out again for gradients. It takes much less memory, "
                    "about 40 % more time, the same numbers."),
                number("min_snr", 0.0, 0.0, 100.0, 0.1,
                    "Gamma of Min-SNR weighting, 5 in its paper; 0: all noise levels count alike, as for "
                    "AnimateDiff."),
                number("noise_bias", 1.0, 1.0, 10.0, 0.1,
                    "Weight of high noise, where motion is decided: above 1, more of the training is there. "
                    "The demo model wants 3."),
                whole("checkpoint_every", 250, 1, 100_000,
                    "Steps between checkpoints, each with a sample of the first caption."),
                whole("rank", 16, 0, 1024,
                    "Rank of a motion LoRA or an adapter; AnimateDiff's have 64. 0: an adapter's convolution alone."),
                whole("max_frames", 32, 2, 1024,
                    "Most frames that a new module holds. Keep 32 for AnimateDiff-Evolved, which takes "
                    "others for v1."),
                switch("middle_block", False,
                    "Let a new module also act in the middle block, as AnimateDiff v2 does; not on SDXL."),
                choice("beta_schedule", SCHEDULES,
                    "Noise schedule of a new module: the demo model wants Stable Diffusion's, SDXL its own."),
                share("final_rate", 1.0,
                    "Share of learning_rate that is left at the last step, by a cosine. 1: the rate is "
                    "constant, as AnimateDiff's, and a finished run can be gone on with by more steps."),
                whole("frames_per_step", 0, 0, 1024,
                    "Frames that a step sees of each clip, drawn anew each time, in order and with their "
                    "places in time. 4, with a larger batch, teach where things go sooner, in the same time "
                    "and memory. 0: all."),
                socket(Motion, "motion",
                    "The motion module to go on with, or to put a motion LoRA or an adapter on.", optional=True),
                whole("few_steps", 0, 0, 16,
                    "Teach motion to draw a clip in so many steps, with euler, sgm_uniform and a cfg of 1, as it draws "
                    "one in teacher_steps with guidance: 4 stand for 40 calls of the model. 0: learn from the clips.",
                    optional=True),
                whole("teacher_steps", 20, 2, 1000,
                    "Steps of the teacher, which is motion as it was: a multiple of few_steps, 5 times for a start. "
                    "Training takes the longer the more there are.", optional=True),
                number("teacher_cfg", 7.5, 1.0, 100.0, 0.1,
                    "The teacher's cfg, which becomes part of what is learned; the demo model wants 3.",
                    optional=True),
            ],
            outputs=[
                out(Motion, "motion", "The motion module that was learned, averaged over the last steps."),
                out(io.Image, "curve", "A chart of the loss of every step."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls,
        target: str | None,
        min_snr: float | None,
        motion: Any = UNLINKED,
        few_steps: int | None = 0,
        teacher_steps: int | None = 20,
        rank: int | None = 16,
    ) -> bool | str:
        """Refuse to learn on a module that is not there, and a folder that can't be written to."""
        return check_early(
            _check_start, target, motion is not UNLINKED, min_snr, few_steps, teacher_steps, rank
        )

    @classmethod
    def execute(
        cls, model: Any, clip: Any, vae: Any, dataset: Any, motion: Any = None, **widgets: Any
    ) -> io.NodeOutput:
        """Run the node."""
        from ...training.motion.run import MotionRun

        job = make_job(**widgets)
        _check_family(model, clip, vae)
        show = _Show(job, dataset)
        run = MotionRun(api.port(), (model, clip, vae), dataset, job, motion, show)
        trained = run.train(lambda key: api.port().user_dir() / TRAINING / key[:16])
        logger.info("%s: the base is unchanged, SHA-256 %s.", job.name, trained.base[:12])
        return io.NodeOutput(run.motion_of(trained.learned), draw_curve(trained.losses))


def _check_start(
    target: str, has_motion: bool, min_snr: float, few_steps: int, teacher_steps: int, rank: int
) -> None:
    from ...training.motion.few_steps import FewSteps
    from ...training.motion.job import check_rank, refuse_nothing

    if few_steps:
        few = FewSteps(few_steps, teacher_steps)
        few.check(min_snr, taught=has_motion, gives=target == ADAPTER)
    check_rank(target, rank)
    if target != MODULE and not has_motion:
        refuse_nothing(target)
    try_folder(api.port().user_dir() / TRAINING)


def make_job(few_steps: int = 0, teacher_steps: int = 20, teacher_cfg: float = 7.5, **widgets: Any) -> Any:
    """Return what to learn and how, a ``training.motion.job.MotionJob``.

    The optimiser is AnimateDiff's AdamW, whose rate is constant at a ``final_rate`` of 1.

    Args:
        few_steps: number of steps to teach; 0: none.
        teacher_steps: number of the teacher's steps.
        teacher_cfg: the teacher's guidance.
        **widgets: values of the other widgets. Most have the name of the setting that they are.
    """
    from ...training.loop import LoopSettings
    from ...training.motion.few_steps import FewSteps
    from ...training.motion.job import MotionJob
    from ...training.motion.training import MotionSettings, pick_precision

    given = {**widgets, "betas": (0.9, 0.999), "beta_schedule": BETA_SCHEDULES[widgets["beta_schedule"]]}
    given |= {"timestep_power": widgets["noise_bias"], "middle": widgets["middle_block"]}
    if few_steps:
        given["few"] = FewSteps(few_steps, teacher_steps, teacher_cfg)
    if widgets["precision"] == "auto":
        given["precision"] = pick_precision(api.port().compute_device())

    def make(kind: Any, **parts: Any) -> Any:
        return kind(**parts, **{each.name: given[each.name] for each in fields(kind) if each.name in given})

    return make(MotionJob, settings=make(MotionSettings, loop=make(LoopSettings)))


def _check_family(model: Any, clip: Any, vae: Any) -> None:
    """Refuse what can't be trained on, before clips are encoded, which can take hours."""
    port = api.port()
    family = port.family(model)
    check_has_slots(family, "training", "train this one with a trainer of its family")
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
