"""Motion modules: load one, stack motion LoRAs on it, put it into a model."""

from __future__ import annotations

from typing import Any

from ...host import api
from ...models.files.weight_file import fingerprint
from ...models.motion.checkpoint import MODULE_KINDS, WANTED, read_motion_weights
from ...models.motion.edit import motion_edit
from ...models.motion.lora import read_motion_lora
from ...models.video.schedules import (
    ANIMATEDIFF,
    ANIMATEDIFF_SDXL,
    STABLE_DIFFUSION,
    BetaSchedule,
    MeanSchedule,
)
from ..early import check_early, check_kind, check_range
from ..widgets import choice, found, number, out, percent, schema, socket, whole

io = api.io
Motion = io.Custom("FRAMELOOM_MOTION")

MODULE_FILES, LORA_FILES = "animatediff_models", "animatediff_motion_lora"
AUTO = "auto"
BETA_SCHEDULES = {
    "sqrt_linear (AnimateDiff)": ANIMATEDIFF,
    "linear (Stable Diffusion)": STABLE_DIFFUSION,
    "use model's own": None,
    "linear (AnimateDiff-SDXL)": ANIMATEDIFF_SDXL,
    "avg(sqrt_linear,linear)": MeanSchedule(),
    "sqrt": BetaSchedule("sqrt"),
    "cosine": BetaSchedule("cosine"),
    "squaredcos_cap_v2": BetaSchedule("squaredcos_cap_v2"),
}


class MotionModuleLoader(io.ComfyNode):
    """Load a motion module: temporal layers, trained once on video, that animate any SD1.5 or SDXL model.

    Reads AnimateDiff v1, v2 and v3, AnimateLCM, also for image to video, PIA, diffusers' MotionAdapter and
    Frameloom's own; for SDXL AnimateDiff-SDXL and HotshotXL. For a file that is something else, an error says what
    it is.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Load Motion Module", "motion",
            aliases=[
                "animate", "Load AnimateDiff Model",
                "AnimateDiff", "AnimateDiff Loader", "ADE_LoadAnimateDiffModel", "ADE_AnimateDiffLoaderGen1",
                "ADE_AnimateDiffLoaderWithContext", "MotionAdapter", "PIA", "HotshotXL", "SDXL",
            ],
            inputs=[
                found("file", api.port().list_files(MODULE_FILES),
                    "A file in ComfyUI's models/animatediff_models. Of a diffusers folder in there, take its "
                    "diffusion_pytorch_model.safetensors. An AnimateDiff-Lightning file is a v2 module by "
                    "its keys; only its name tells: sample it with Few Step Settings."),
            ],
            outputs=[out(Motion, "motion", "The motion module, for Apply Motion Module.")],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        """Refuse a file of another kind."""
        return check_early(check_kind, MODULE_FILES, MODULE_KINDS, WANTED, file)

    @classmethod
    def fingerprint_inputs(cls, file: str) -> str:
        """Load again when the file changed."""
        return fingerprint(api.port().resolve(MODULE_FILES, file))

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        """Run the node."""
        port = api.port()
        return io.NodeOutput(port.load_motion(read_motion_weights(port.resolve(MODULE_FILES, file))))


class MotionLoRALoader(io.ComfyNode):
    """Add a motion LoRA (a camera move such as zoom, pan, tilt or roll) to a motion module.

    Chain several to combine moves. AnimateDiff's own eight are for its v2 module. A mask adapter loads here,
    too: with it, the module is told which frames a noise mask holds, such as a first frame, or the ends of
    Nuwa Interpolate's jobs. Empty the frames that are to be made: as copies of a given one they stand still.
    So does a PIA adapter, with which PIA Picture can give the module a picture.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Load Motion LoRA", "motion",
            aliases=[
                "Load AnimateDiff LoRA", "camera pan", "camera zoom", "AnimateDiff LoRA",
                "ADE_AnimateDiffLoRALoader", "camera motion",
            ],
            inputs=[
                socket(Motion, "motion", "The motion module to add it to; a copy is returned."),
                found("file", api.port().list_files(LORA_FILES),
                    "A file in ComfyUI's models/animatediff_motion_lora."),
                number("strength", 1.0, -10.0, 10.0, 0.01,
                    "Factor on the motion LoRA. A negative one takes it away, which turns some moves round; "
                    "0 leaves it out. What a mask adapter tells of given frames is scaled as well."),
            ],
            outputs=[out(Motion, "motion", "The motion module with the LoRA added.")],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        """Refuse a file of another kind."""
        return check_early(check_kind, LORA_FILES, ("motion_lora",), "a motion LoRA of AnimateDiff", file)

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: Any) -> str:
        """Load again when the file changed."""
        return fingerprint(api.port().resolve(LORA_FILES, file))

    @classmethod
    def execute(cls, motion: Any, file: str, strength: float) -> io.NodeOutput:
        """Run the node."""
        lora = read_motion_lora(api.port().resolve(LORA_FILES, file)).fit(motion.weights)
        return io.NodeOutput(motion.with_lora(lora, strength) if strength else motion)


class ApplyMotionModule(io.ComfyNode):
    """Put a motion module into a model, so that a batch of latents becomes the frames of one video.

    Sample an Empty Latent Image with batch_size 16. The model's own weights stay as they are. Wire the model
    that comes out to the sampler and to any scheduler node.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Apply Motion Module", "motion",
            aliases=[
                "animate", "text to video", "Apply AnimateDiff Model", "Use Evolved Sampling",
                "AnimateDiff", "ADE_ApplyAnimateDiffModel", "ADE_ApplyAnimateDiffModelSimple",
                "ADE_UseEvolvedSampling", "ADE_AnimateDiffLoaderGen1",
            ],
            inputs=[
                socket(io.Model, "model",
                    "The model that samples: SD1.5, SDXL with a module for it, or the demo model with the demo's "
                    "motion module."),
                socket(Motion, "motion",
                    "A motion module from Load Motion Module, with or without motion LoRAs."),
                number("strength", 1.0, 0.0, 10.0, 0.01,
                    "Factor on what the module adds to each block. 0 returns the model unchanged."),
                percent("start_percent", 0.0,
                    "Point of sampling where the module starts to act; 0 is the first step's noise."),
                percent("end_percent", 1.0, "Point of sampling where the module stops; 1 is the end."),
                choice("beta_schedule", [AUTO, *BETA_SCHEDULES],
                    "Noise schedule to sample with. auto takes the one that this module was trained with; "
                    "AnimateDiff on the plain Stable Diffusion schedule flickers and looks washed out. Of AnimateLCM "
                    "auto takes its authors' sqrt_linear, which for its image-to-video module ends at 0.014; linear "
                    "is what AnimateDiff-Evolved takes for it. For its lcm schedules put core's Model Sampling "
                    "Discrete, set to lcm, before this node."),
                whole("frames_at_once", 0, 0, 100_000,
                    "Number of frames that go through the model at once. Fewer need less memory, for hardly more "
                    "time; the video stays the same. 0 takes as many as there is room for.", optional=True),
            ],
            outputs=[out(io.Model, "model", "A copy of the model, with the motion module.")],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, start_percent: float | None, end_percent: float | None) -> bool | str:
        """Refuse an end before the start."""
        return check_early(check_range, start_percent, end_percent)

    @classmethod
    def execute(
        cls,
        model: Any,
        motion: Any,
        strength: float,
        start_percent: float,
        end_percent: float,
        beta_schedule: str,
        frames_at_once: int = 0,
    ) -> io.NodeOutput:
        """Run the node."""
        if strength == 0:
            return io.NodeOutput(model)
        check_range(start_percent, end_percent)
        schedule = motion.weights.beta_schedule if beta_schedule == AUTO else BETA_SCHEDULES[beta_schedule]
        edit = motion_edit(
            "motion module",
            motion,
            schedule,
            frames_at_once,
            strength=strength,
            start_percent=start_percent,
            end_percent=end_percent,
        )
        return io.NodeOutput(api.port().install(model, edit))


NODES: list[type] = [MotionModuleLoader, MotionLoRALoader, ApplyMotionModule]
