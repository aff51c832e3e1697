"""The nodes that a converted graph is written with: their inputs in order, and their outputs.

``tests/models/test_convert.py`` holds this table against the nodes themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TEXT, CHOICE = "STRING", "COMBO"
_TYPES = {float: "FLOAT", int: "INT", bool: "BOOLEAN", str: TEXT}


@dataclass(frozen=True, slots=True)
class Choice:
    """A value that is chosen from a list; its default."""

    default: str


@dataclass(frozen=True, slots=True)
class Rate:
    """Frames a second, which may come by a link of a whole number, too; its default."""

    default: float


@dataclass(frozen=True, slots=True)
class Dynamic(Choice):
    """A value that is chosen from a list, and brings inputs of its own."""


@dataclass(frozen=True, slots=True)
class Target:
    """A node.

    Attributes:
        title: name that the editor shows.
        sockets: type of each input that is linked.
        values: default of each value, in order.
        outputs: type of each output by name.
        extra: names of the values behind which the editor keeps another: what happens to a seed.
    """

    title: str
    sockets: dict[str, str]
    values: dict[str, Any]
    outputs: dict[str, str]
    extra: dict[str, Any] | None = None

    def type_of(self, name: str) -> str:
        """Return the type of an input."""
        if name in self.sockets:
            return self.sockets[name]
        default = self.values[name]
        if isinstance(default, Dynamic):
            return "COMFY_DYNAMICCOMBO_V3"
        if isinstance(default, Rate):
            return "FLOAT,INT"
        return CHOICE if isinstance(default, Choice) else _TYPES[type(default)]

    def default(self, name: str) -> Any:
        """Return the default of a value."""
        default = self.values[name]
        return default.default if isinstance(default, Choice | Rate) else default


_MODEL = {"model": "MODEL"}
_MOTION = {"motion": "FRAMELOOM_MOTION"}
_PICTURE = _MOTION | {"vae": "VAE", "latent": "LATENT", "images": "IMAGE"}
_SPARSE = {"sparse_control": "FRAMELOOM_SPARSE_CONTROL"}
_SIDES = {"positive": "CONDITIONING", "negative": "CONDITIONING"}
_FACTORS = {"frames": 16, "strength": "0: 1\n-1: 0.5", "between": Choice("linear"), "by_step": "1"}
_SEED = {"noise_seed": "fixed"}

LOAD, LORA, APPLY = (
    "Frameloom_MotionModuleLoader",
    "Frameloom_MotionLoRALoader",
    "Frameloom_ApplyMotionModule",
)
STRENGTH, CONTEXT = "Frameloom_MotionStrength", "Frameloom_ContextWindows"
FREE_NOISE, FREE_INIT, NOISE = "Frameloom_FreeNoise", "Frameloom_FreeInit", "Frameloom_VideoNoise"
TRAVEL, CONTROL = "Frameloom_PromptTravel", "Frameloom_ControlSchedule"
BLEND = "Frameloom_BlendNoise"
CAMERA, APPLY_CAMERA = "Frameloom_CameraPresets", "Frameloom_ApplyCameraCtrl"
POSITIONS, CFG = "Frameloom_StretchPositions", "Frameloom_CFGSchedule"
ADJUST = "Frameloom_AdjustMotionWeights"
PIA_PICTURE, LCM_PICTURE = "Frameloom_PIAPicture", "Frameloom_AnimateLCMPicture"
PICK = "Frameloom_PickFrames"
LOAD_SPARSE, APPLY_SPARSE = "Frameloom_SparseControlLoader", "Frameloom_ApplySparseControl"

TARGETS: dict[str, Target] = {
    LOAD: Target("Load Motion Module", {}, {"file": Choice("")}, _MOTION),
    LORA: Target("Load Motion LoRA", _MOTION, {"file": Choice(""), "strength": 1.0}, _MOTION),
    APPLY: Target(
        "Apply Motion Module",
        _MODEL | _MOTION,
        {
            "strength": 1.0,
            "start_percent": 0.0,
            "end_percent": 1.0,
            "beta_schedule": Choice("auto"),
            "frames_at_once": 0,
        },
        _MODEL,
    ),
    STRENGTH: Target(
        "Motion Strength",
        _MOTION | {"mask": "MASK"},
        _FACTORS | {"scale": 1.0, "scale_by_frame": "1"},
        _MOTION | {"chart": "IMAGE"},
    ),
    ADJUST: Target(
        "Adjust Motion Weights", _MOTION, {"kind": Choice("all"), "add": 0.0, "multiply": 1.0}, _MOTION
    ),
    POSITIONS: Target("Stretch Positions", _MOTION, {"known_frames": 16, "frames": 32}, _MOTION),
    PIA_PICTURE: Target(
        "PIA Picture",
        _PICTURE,
        {"frames": "0", "affinity": Choice("small motion"), "affinities": "1, 0.9, 0.8"},
        _MOTION,
    ),
    LCM_PICTURE: Target("AnimateLCM Picture", _PICTURE, {"drift": 0.8}, _MOTION),
    CAMERA: Target(
        "Camera Presets",
        {},
        {"frames": 16, "moves": "0: pan left 1"},
        {"poses": "FRAMELOOM_CAMERA", "picture": "IMAGE"},
    ),
    APPLY_CAMERA: Target(
        "Apply CameraCtrl",
        _MODEL | {"poses": "FRAMELOOM_CAMERA"},
        {"file": Choice(""), "strength": "1", "start_percent": 0.0, "end_percent": 1.0},
        _MODEL,
    ),
    LOAD_SPARSE: Target("Load SparseCtrl", {}, {"file": Choice("")}, _SPARSE),
    APPLY_SPARSE: Target(
        "Apply SparseCtrl",
        _MODEL | _SPARSE | {"latent": "LATENT", "images": "IMAGE", "vae": "VAE"},
        {
            "frames": "0",
            "strength": 1.0,
            "start_percent": 0.0,
            "end_percent": 1.0,
            "other_frames": 1.0,
            "mask_value": 1.0,
            "flash": Choice("as drawn"),
        },
        _MODEL,
    ),
    CONTEXT: Target(
        "Context Windows",
        _MODEL,
        {
            "length": 16,
            "overlap": 4,
            "schedule": Choice("static"),
            "stride": 1,
            "weights": Choice("pyramid"),
            "frames": 32,
            "anchor": Choice("on models of video"),
        },
        _MODEL | {"plan": "IMAGE"},
    ),
    CFG: Target("CFG Schedule", _MODEL | {"mask": "MASK"}, _FACTORS, _MODEL | {"chart": "IMAGE"}),
    FREE_NOISE: Target(
        "Free Noise",
        _MODEL,
        {"window_length": 16, "stride": 4, "seed": 0, "reshuffle": True, "fuse": True},
        _MODEL,
        {"seed": "fixed"},
    ),
    FREE_INIT: Target(
        "Free Init",
        _MODEL,
        {
            "extra_iterations": 2,
            "filter": Choice("butterworth"),
            "spatial_stop": 0.25,
            "temporal_stop": 0.25,
            "order": 4,
            "coarse_to_fine": False,
        },
        _MODEL,
    ),
    NOISE: Target(
        "Video Noise",
        {},
        {"noise_seed": 0, "mode": Choice("independent"), "correlation": 0.5, "frame_offset": 0},
        {"noise": "NOISE"},
        _SEED,
    ),
    BLEND: Target(
        "Blend Noise",
        {"noise": "NOISE", "other": "NOISE", "mask": "MASK"},
        {"blend": Choice("normalised"), "weight": 0.2},
        {"noise": "NOISE"},
    ),
    TRAVEL: Target(
        "Prompt Travel",
        {"clip": "CLIP", "storyboard": "FRAMELOOM_STORYBOARD", "model": "MODEL"},
        {
            "text": "0: a red circle\n100%: a blue cross",
            "frames": 16,
            "interpolation": Choice("linear"),
            "prepend": "",
            "append": "",
        },
        {"conditioning": "CONDITIONING", "schedule": "STRING", "frames": "INT"},
    ),
    CONTROL: Target(
        "Control Schedule",
        _SIDES | {"mask": "MASK"},
        _FACTORS
        | {"strength": "0: 1\n-1: 0", "soft": 1.0, "negative_strength": 1.0, "which": Choice("last")},
        _SIDES | {"chart": "IMAGE"},
    ),
    PICK: Target(
        "Pick Frames",
        {"images": "IMAGE"},
        {
            "source_fps": Rate(8.0),
            "force_rate": Rate(0.0),
            "skip_first_frames": 0,
            "select_every_nth": 1,
            "frame_cap": 0,
        },
        {"images": "IMAGE", "fps": "FLOAT", "frames": "INT"},
    ),
    # ComfyUI's own
    "EmptyLatentImage": Target(
        "Empty Latent Image", {}, {"width": 512, "height": 512, "batch_size": 1}, {"LATENT": "LATENT"}
    ),
    "CheckpointLoaderSimple": Target(
        "Load Checkpoint", {}, {"ckpt_name": Choice("")}, {"MODEL": "MODEL", "CLIP": "CLIP", "VAE": "VAE"}
    ),
    "ModelSamplingDiscrete": Target(
        "ModelSamplingDiscrete", _MODEL, {"sampling": Choice("eps"), "zsnr": False}, {"MODEL": "MODEL"}
    ),
    "SamplerCustomAdvanced": Target(
        "SamplerCustomAdvanced",
        {
            "noise": "NOISE",
            "guider": "GUIDER",
            "sampler": "SAMPLER",
            "sigmas": "SIGMAS",
            "latent_image": "LATENT",
        },
        {},
        {"output": "LATENT", "denoised_output": "LATENT"},
    ),
    "CFGGuider": Target("CFGGuider", _MODEL | _SIDES, {"cfg": 8.0}, {"GUIDER": "GUIDER"}),
    "KSamplerSelect": Target("KSamplerSelect", {}, {"sampler_name": Choice("")}, {"SAMPLER": "SAMPLER"}),
    "BasicScheduler": Target(
        "BasicScheduler", _MODEL, {"scheduler": Choice(""), "steps": 20, "denoise": 1.0}, {"SIGMAS": "SIGMAS"}
    ),
    "KSampler": Target(
        "KSampler",
        _MODEL | _SIDES | {"latent_image": "LATENT"},
        {
            "seed": 0,
            "steps": 20,
            "cfg": 8.0,
            "sampler_name": Choice("euler"),
            "scheduler": Choice("normal"),
            "denoise": 1.0,
        },
        {"LATENT": "LATENT"},
        {"seed": "fixed"},
    ),
    "RepeatLatentBatch": Target(
        "Repeat Latent Batch", {"samples": "LATENT"}, {"amount": 1}, {"LATENT": "LATENT"}
    ),
    "VAEDecode": Target("VAE Decode", {"samples": "LATENT", "vae": "VAE"}, {}, {"IMAGE": "IMAGE"}),
    "CLIPTextEncode": Target(
        "CLIP Text Encode (Prompt)", {"clip": "CLIP"}, {"text": ""}, {"CONDITIONING": "CONDITIONING"}
    ),
    "ConditioningAverage": Target(
        "ConditioningAverage",
        {"conditioning_to": "CONDITIONING", "conditioning_from": "CONDITIONING"},
        {"conditioning_to_strength": 1.0},
        {"CONDITIONING": "CONDITIONING"},
    ),
    "CreateVideo": Target(
        "Create Video",
        {"images": "IMAGE", "audio": "AUDIO"},
        {"fps": 30.0, "bit_depth": 8},
        {"VIDEO": "VIDEO"},
    ),
    "SaveVideo": Target(
        "Save Video",
        {"video": "VIDEO"},
        {
            "filename_prefix": "video/ComfyUI",
            "format": Dynamic("mp4"),
            "format.codec": Dynamic("auto"),
            "codec": Dynamic("auto"),
        },
        {"video": "VIDEO"},
    ),
    "LoadVideo": Target("Load Video", {}, {"file": Choice("")}, {"VIDEO": "VIDEO"}),
    "GetVideoComponents": Target(
        "Get Video Components",
        {"video": "VIDEO"},
        {},
        {"images": "IMAGE", "audio": "AUDIO", "fps": "FLOAT", "bit_depth": "INT", "color_space": "COMBO"},
    ),
    "ImageFromBatch": Target(
        "Get Image from Batch", {"image": "IMAGE"}, {"batch_index": 0, "length": 1}, {"IMAGE": "IMAGE"}
    ),
    "ImageScale": Target(
        "Upscale Image",
        {"image": "IMAGE"},
        {"upscale_method": Choice("lanczos"), "width": 512, "height": 512, "crop": Choice("center")},
        {"IMAGE": "IMAGE"},
    ),
    "GetImageSize": Target(
        "Get Image Size", {"image": "IMAGE"}, {}, {"width": "INT", "height": "INT", "batch_size": "INT"}
    ),
    "ControlNetLoader": Target(
        "Load ControlNet Model", {}, {"control_net_name": Choice("")}, {"CONTROL_NET": "CONTROL_NET"}
    ),
    "ControlNetApplyAdvanced": Target(
        "Apply ControlNet",
        _SIDES | {"control_net": "CONTROL_NET", "image": "IMAGE", "vae": "VAE"},
        {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0},
        _SIDES,
    ),
    "RandomNoise": Target("RandomNoise", {}, {"noise_seed": 0}, {"NOISE": "NOISE"}, _SEED),
    "DisableNoise": Target("DisableNoise", {}, {}, {"NOISE": "NOISE"}),
    "MarkdownNote": Target("Note", {}, {"": ""}, {}),
}
