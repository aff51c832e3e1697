"""The graphs that ``same.py`` runs: one or more for each seam, short trainings, and the demo workflows, shortened.

All is data for ComfyUI's HTTP API or ``frameloom run``: nothing here knows the pack's code, so that a graph means the
same at every revision. Files named ``same_...`` are ``same_weights.py``'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Graph = dict[str, dict[str, Any]]
Link = list[Any]

FRAMES, SIZE, STEPS = 6, 64, 3
MOTION = "frameloom_demo_motion.safetensors"
STORYBOARD = {
    "version": 1, "fps": 8.0, "size": [SIZE, SIZE],
    "scenes": [{
        "id": 1, "prompt": "a small red circle and a small blue cross on a navy background", "frames": FRAMES,
        "entities": [
            {"id": "circle", "text": "a small red circle", "track": [
                {"f": 0, "box": [0.0, 0.25, 0.5, 0.75]}, {"f": FRAMES - 1, "box": [0.5, 0.25, 1.0, 0.75]}]},
            {"id": "cross", "text": "a small blue cross", "track": [
                {"f": 0, "box": [0.5, 0.0, 1.0, 0.5]}, {"f": FRAMES - 1, "box": [0.5, 0.5, 1.0, 1.0]}]},
        ],
    }],
}  # fmt: skip


class Scene:
    """A graph that grows: the demo model, two prompts and empty latents, then what a case adds to them."""

    def __init__(self) -> None:
        self.graph: Graph = {}
        self.model, self.clip, self.vae = self.add("Frameloom_DemoModelLoader", outputs=3)
        self.positive = self.text("a big red circle moving right on a navy background")
        self.negative = self.text("")
        self.frames(FRAMES)

    def add(self, class_type: str, outputs: int = 1, **inputs: Any) -> list[Link]:
        """Add a node; return its outputs."""
        name = str(len(self.graph) + 1)
        self.graph[name] = {"class_type": class_type, "inputs": inputs}
        return [[name, index] for index in range(outputs)]

    def text(self, text: str) -> Link:
        """Return a prompt as a condition."""
        return self.add("CLIPTextEncode", text=text, clip=self.clip)[0]

    def frames(self, count: int) -> None:
        """Start from empty latents of so many frames."""
        (self.latent,) = self.add("EmptyLatentImage", width=SIZE, height=SIZE, batch_size=count)

    def edit(self, name: str, outputs: int = 1, **inputs: Any) -> list[Link]:
        """Edit the model by a node of ours; return its other outputs."""
        self.model, *others = self.add(f"Frameloom_{name}", outputs, model=self.model, **inputs)
        return others

    def module(self, file: str = MOTION, lora: str | None = None, share: float = 1.0) -> Link:
        """Return a motion module, with a motion LoRA or mask adapter on it."""
        (motion,) = self.add("Frameloom_MotionModuleLoader", file=file)
        if lora is not None:
            (motion,) = self.add("Frameloom_MotionLoRALoader", motion=motion, file=lora, strength=share)
        return motion

    def motion(
        self, file: str = MOTION, lora: str | None = None, schedule: str = "auto", **inputs: Any
    ) -> None:
        """Put a motion module on the model."""
        part: dict[str, Any] = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0} | inputs
        self.edit("ApplyMotionModule", motion=self.module(file, lora), beta_schedule=schedule, **part)

    def cross_frame(self, anchor: str = "first", **inputs: Any) -> None:
        """Let frames read other frames."""
        part = {
            "frame": 0, "strength": 1.0, "start_percent": 0.0, "end_percent": 1.0,
            "levels": "0, 1, 2, 3", "in_controlnet": True,
        }  # fmt: skip
        self.edit("CrossFrameAttnPatch", anchor=anchor, **part | inputs)

    def windows(self, length: int = 4, schedule: str = "static", **inputs: Any) -> None:
        """Cut the clip into windows."""
        part = {"overlap": 2, "stride": 1, "weights": "pyramid", "frames": FRAMES}
        self.edit("ContextWindows", length=length, schedule=schedule, **part | inputs)

    def free_noise(self, fuse: bool = True, **inputs: Any) -> None:
        """Let noise recur, and perhaps cut the temporal attention into windows."""
        part = {"window_length": 4, "stride": 2, "seed": 5, "reshuffle": True, "fuse": fuse}
        self.edit("FreeNoise", **part | inputs)

    def free_init(self, **inputs: Any) -> None:
        """Sample more than once."""
        part = {"filter": "butterworth", "spatial_stop": 0.25, "temporal_stop": 0.25, "order": 4}
        self.edit("FreeInit", extra_iterations=1, coarse_to_fine=False, **part | inputs)

    def storyboard(self) -> Link:
        """Return two things on their ways."""
        return self.add(
            "Frameloom_LayoutFromText", text=json.dumps(STORYBOARD), format="Frameloom JSON", file="none",
            frames=FRAMES, fps=8.0, width=SIZE, height=SIZE, export_as="Frameloom JSON",
        )[0]  # fmt: skip

    def layout(self, method: str = "bias", chain: bool = False, **inputs: Any) -> None:
        """Draw things in their boxes."""
        part: dict[str, Any] = {
            "prompt": "", "strength": 8.0, "end_percent": 0.7, "gather_percent": 1.0, "gligen_percent": 0.3,
            "energy_strength": 200.0,
        }  # fmt: skip
        if chain:
            part["conditioning"] = self.positive
        board = self.storyboard()
        (self.positive,) = self.edit(
            "LayoutConditioning", 2, clip=self.clip, storyboard=board, method=method, **part | inputs
        )

    def gligen(self, file: str = "same_gligen.safetensors", **inputs: Any) -> None:
        """Draw things in their boxes by GLIGEN's layers."""
        (network,) = self.add("GLIGENLoader", gligen_name=file)
        self.layout(gligen=network, gligen_percent=1.0, **inputs)

    def control(self, file: str = "same_control.safetensors", strength: float = 1.0) -> None:
        """Hang a ControlNet on both prompts, each frame with the same hint."""
        (net,) = self.add("ControlNetLoader", control_net_name=file)
        self.positive, self.negative = self.add(
            "ControlNetApplyAdvanced", 2, positive=self.positive, negative=self.negative, control_net=net,
            image=self.add("LoadImage", image="frameloom_first_frame.png")[0],
            strength=strength, start_percent=0.0, end_percent=1.0,
        )  # fmt: skip

    def given(self) -> None:
        """Give the first frame: all others are to be made."""
        (picture,) = self.add("LoadImage", image="frameloom_first_frame.png")
        (first,) = self.add("VAEEncode", pixels=self.scaled(picture), vae=self.vae)
        (held,) = self.add("RepeatLatentBatch", samples=first, amount=FRAMES)
        (black,) = self.add("EmptyImage", width=SIZE, height=SIZE, batch_size=1, color=0)
        (white,) = self.add("EmptyImage", width=SIZE, height=SIZE, batch_size=FRAMES - 1, color=0xFFFFFF)
        (both,) = self.add("ImageBatch", image1=black, image2=white)
        (mask,) = self.add("ImageToMask", image=both, channel="red")
        (self.latent,) = self.add("SetLatentNoiseMask", samples=held, mask=mask)

    def scaled(self, picture: Link) -> Link:
        """Return a picture at the clip's size."""
        return self.add(
            "ImageScale", image=picture, upscale_method="bilinear", width=SIZE, height=SIZE, crop="disabled"
        )[0]

    def sample(self, **settings: Any) -> Link:
        """Return the clip by the plain sampler."""
        part: dict[str, Any] = {
            "seed": 7, "steps": STEPS, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
        }  # fmt: skip
        return self.add(
            "KSampler", model=self.model, positive=self.positive, negative=self.negative,
            latent_image=self.latent, **part | settings,
        )[0]  # fmt: skip

    def sample_custom(self, noise: Link, sampler: str = "euler") -> Link:
        """Return the clip from given noise."""
        (guider,) = self.add(
            "CFGGuider", model=self.model, positive=self.positive, negative=self.negative, cfg=3.0
        )
        (sigmas,) = self.add("BasicScheduler", model=self.model, scheduler="normal", steps=STEPS, denoise=1.0)
        (chosen,) = self.add("KSamplerSelect", sampler_name=sampler)
        return self.add(
            "SamplerCustomAdvanced", noise=noise, guider=guider, sampler=chosen, sigmas=sigmas,
            latent_image=self.latent,
        )[0]  # fmt: skip

    def save(self, latent: Link) -> None:
        """Write latents."""
        self.add("SaveLatent", samples=latent, filename_prefix="same")

    def save_images(self, images: Link) -> None:
        """Write pictures."""
        self.add("SaveImage", images=images, filename_prefix="same")

    def path(self) -> Link:
        """Return a way of the whole picture."""
        return self.add(
            "Frameloom_MotionPath", kind="translation", frames=4, motion_field_strength_x=24.0,
            motion_field_strength_y=12.0, canvas="512 x 512 (paper)", width=SIZE, height=SIZE, move_right=0.0,
            move_down=0.0, zoom=1.0, angle=0.0, keyframes="0: 0 0", scene=0, entity="",
        )[0]  # fmt: skip

    def train(self, target: str, name: str, **inputs: Any) -> None:
        """Train three steps, and write what was learned."""
        (data,) = self.add(
            "Frameloom_VideoDataset", source="shapes", folder="none", frames=4, stride=4, width=SIZE, height=SIZE,
            caption_dropout=0.1, missing_captions="skip", clips_per_video=1, flip=False, clips=4, motion="circle",
            seed=1, fps=0.0, loop=False,
        )  # fmt: skip
        part: dict[str, Any] = {
            "steps": STEPS, "learning_rate": 0.001, "seed": 1, "batch": 1, "accumulation": 1, "warmup": 1,
            "ema_decay": 0.5, "precision": "fp32", "save_memory": False, "min_snr": 0.0, "noise_bias": 1.0,
            "checkpoint_every": 250, "rank": 4, "max_frames": 8, "middle_block": False,
            "beta_schedule": "linear (Stable Diffusion)", "final_rate": 1.0, "frames_per_step": 0,
        }  # fmt: skip
        (learned,) = self.add(
            "Frameloom_TrainMotionModule", model=self.model, clip=self.clip, vae=self.vae, dataset=data,
            target=target, name=name, **part | inputs,
        )  # fmt: skip
        what = "module" if target == "module" else "motion LoRA"
        self.add(
            "Frameloom_SaveMotionModule", motion=learned, filename_prefix="same", what=what, folder="output",
            dtype="fp32",
        )  # fmt: skip


def _noise(scene: Scene, mode: str, offset: int = 0) -> Link:
    return scene.add("Frameloom_VideoNoise", noise_seed=3, mode=mode, correlation=0.5, frame_offset=offset)[0]


def _masked(scene: Scene, mask: Link) -> None:
    """Write a mask as what it leaves of a clip."""
    clip = scene.sample()
    (nothing,) = scene.add("EmptyLatentImage", width=SIZE, height=SIZE, batch_size=FRAMES)
    (masked,) = scene.add(
        "LatentCompositeMasked", destination=nothing, source=clip, x=0, y=0, resize_source=False, mask=mask
    )
    scene.save(masked)


def _foreground(scene: Scene, method: str) -> None:
    found = scene.add(
        "Frameloom_ForegroundMask", model=scene.model, clip=scene.clip,
        prompt="a big red circle on a navy background", phrase="red circle", latent=scene.sample(), method=method,
        seed=3, passes=1, at_percent=0.6, levels="0, 1, 2, 3", threshold=0.4, dilation=1, hold=0,
    )  # fmt: skip
    _masked(scene, found[0])


def _zero_shot(scene: Scene, **inputs: Any) -> None:
    scene.frames(1)
    part: dict[str, Any] = {
        "seed": 1, "steps": 6, "cfg": 3.0, "sampler_name": "ddim", "scheduler": "normal", "t0": 640.0,
        "t1": 800.0, "level_unit": "timestep", "chunk_size": 0, "keep": 0.4,
    }  # fmt: skip
    (clip,) = scene.add(
        "Frameloom_ZeroShotSampler", model=scene.model, positive=scene.positive, negative=scene.negative,
        latent=scene.latent, path=scene.path(), **part | inputs,
    )  # fmt: skip
    scene.save(clip)


def _scene_start(scene: Scene) -> None:
    _, scene.latent, noise = scene.add(
        "Frameloom_SceneStart", 3, storyboard=scene.storyboard(), noise_seed=4, mode="mixed", entity_share=0.8
    )
    scene.save(scene.sample_custom(noise))


def _travel(scene: Scene) -> None:
    (scene.positive,) = scene.add(
        "Frameloom_PromptTravel", clip=scene.clip, text="0: a red circle\n50%: a blue cross\n100%: a green square",
        frames=FRAMES, interpolation="linear", prepend="", append="",
    )  # fmt: skip


def _nuwa(scene: Scene, start: str) -> None:
    (tree,) = scene.add(
        "Frameloom_NuwaPlan", prompts="a red circle\na red circle\na blue cross\na blue cross", length=4, depth=2,
        interpolation="linear", width=SIZE, height=SIZE, seconds_per_job=0.0, prompt_levels=2, prompt_seed=0,
    )  # fmt: skip
    scene.frames(1)
    settings: dict[str, Any] = {
        "clip": scene.clip, "tree": tree, "negative": scene.negative, "seed": 2, "steps": STEPS, "cfg": 3.0,
        "sampler_name": "euler", "scheduler": "normal",
    }  # fmt: skip
    (keyframes,) = scene.add(
        "Frameloom_NuwaKeyframes", model=scene.model, latent=scene.latent, shared_noise=0.4, shared_attention=1.0,
        **settings,
    )  # fmt: skip
    scene.motion(lora="frameloom_demo_mask_adapter.safetensors")
    (clip,) = scene.add(
        "Frameloom_NuwaInterpolate", model=scene.model, keyframes=keyframes, start=start, correlation=0.7,
        resample_rounds=2, resample_share=0.4, denoise=0.75, **settings,
    )  # fmt: skip
    scene.save(clip)


def _train_layouts(scene: Scene) -> None:
    """Three steps of a layout prior; its file goes to the folder of models."""
    *_, plot = scene.add(
        "Frameloom_TrainLayoutPrior", 3, source="shapes", text="", name="same", steps=STEPS, batch_size=4,
        learning_rate=0.006, keyframes=2, width=44, layers=2, context=160, seed=0,
    )  # fmt: skip
    scene.save_images(plot)


def _lora(scene: Scene) -> None:
    (scene.model,) = scene.add(
        "LoraLoaderModelOnly", model=scene.model, lora_name="same_lora.safetensors", strength_model=0.8
    )


Steps = Callable[[Scene], object]
# Each does something to a scene, in this order; where none saves anything, the clip is sampled and saved.
SCENES: dict[str, list[Steps]] = {
    "plain/one-clip": [],
    "plain/dpmpp-2m": [lambda s: s.save(s.sample(sampler_name="dpmpp_2m", scheduler="karras"))],
    "plain/lora": [_lora],
    "plain/control": [Scene.control],
    "schedule/linear": [lambda s: s.motion(schedule="linear (Stable Diffusion)")],
    "schedule/sqrt-linear": [lambda s: s.motion(schedule="sqrt_linear (AnimateDiff)")],
    "schedule/last-of-two": [
        lambda s: s.motion(schedule="sqrt_linear (AnimateDiff)"),
        lambda s: s.motion("same_motion.safetensors", schedule="linear (Stable Diffusion)"),
    ],
    "noise/mixed": [Scene.motion, lambda s: s.save(s.sample_custom(_noise(s, "mixed")))],
    "noise/progressive": [lambda s: s.save(s.sample_custom(_noise(s, "progressive", 2)))],
    "noise/free-noise": [Scene.motion, lambda s: s.free_noise(fuse=False)],
    "noise/last-of-two": [Scene.motion, Scene.free_noise, lambda s: s.free_noise(fuse=False, seed=6)],
    "noise/scene-start": [_scene_start],
    "run/free-init": [Scene.motion, Scene.free_init],
    "run/coarse-to-fine": [Scene.motion, lambda s: s.free_init(filter="gaussian")],
    "run/last-of-two": [Scene.motion, Scene.free_init, lambda s: s.free_init(filter="ideal")],
    "run/free-init-of-free-noise": [Scene.motion, Scene.free_noise, Scene.free_init],
    "windows/static": [Scene.motion, Scene.windows],
    "windows/looped": [Scene.motion, lambda s: s.windows(schedule="looped", weights="flat")],
    "windows/uniform": [Scene.motion, lambda s: s.windows(schedule="uniform", stride=2)],
    "windows/last-of-two": [Scene.motion, Scene.windows, lambda s: s.windows(5, schedule="batched")],
    "windows/control": [Scene.motion, Scene.windows, Scene.control],
    "conditions/gather": [lambda s: s.layout("bias + gather")],
    "conditions/gather-twice": [
        lambda s: s.layout("bias + gather"),
        lambda s: s.layout("bias + gather", chain=True, strength=4.0),
    ],
    "conditions/travel": [Scene.motion, _travel],
    "conditions/travel-in-windows": [Scene.motion, _travel, Scene.windows],
    "guide/energy": [lambda s: s.layout("bias + energy (experimental)")],
    "guide/energy-with-motion": [Scene.motion, lambda s: s.layout("bias + energy (experimental)")],
    "input/mask-adapter": [lambda s: s.motion(lora="frameloom_demo_mask_adapter.safetensors"), Scene.given],
    "input/mask-adapter-in-windows": [
        lambda s: s.motion(lora="frameloom_demo_mask_adapter.safetensors"), Scene.windows, Scene.given,
    ],
    "input/given-without-adapter": [Scene.motion, Scene.given],
    "slots/motion": [Scene.motion],
    "slots/part-of-the-run": [lambda s: s.motion(strength=0.5, start_percent=0.3, end_percent=0.8)],
    "slots/motion-lora": [lambda s: s.motion(lora="frameloom_demo_pan_left.safetensors")],
    "slots/two-modules": [Scene.motion, lambda s: s.motion("same_motion.safetensors", strength=0.6)],
    "time/clip-norm": [lambda s: s.motion("same_v1.safetensors")],
    "time/clip-norm-in-windows": [lambda s: s.motion("same_v1.safetensors"), Scene.windows],
    "time/fusion": [Scene.motion, Scene.free_noise],
    "time/fusion-of-two-modules": [
        Scene.motion, lambda s: s.motion("same_motion.safetensors"), Scene.free_noise,
    ],
    "self-attention/first": [Scene.cross_frame],
    "self-attention/half": [lambda s: s.cross_frame("first + previous", strength=0.5, levels="0, 1")],
    "self-attention/two": [Scene.cross_frame, lambda s: s.cross_frame("previous", strength=0.5)],
    "self-attention/two-halves": [
        lambda s: s.cross_frame(strength=0.5), lambda s: s.cross_frame("previous", strength=0.5),
    ],
    "self-attention/with-motion": [Scene.motion, Scene.cross_frame],
    "self-attention/in-windows": [Scene.motion, Scene.cross_frame, Scene.windows],
    "self-attention/in-controlnet": [Scene.cross_frame, Scene.control],
    "self-attention/not-in-controlnet": [lambda s: s.cross_frame(in_controlnet=False), Scene.control],
    "between/gligen": [Scene.gligen],
    "between/last-of-two": [
        Scene.gligen, lambda s: s.gligen("same_gligen_2.safetensors", chain=True),
    ],
    "between/with-motion-in-windows": [Scene.motion, Scene.gligen, Scene.windows],
    "cross-attention/bias": [Scene.layout],
    "cross-attention/two-biases": [Scene.layout, lambda s: s.layout(chain=True, strength=3.0)],
    "cross-attention/with-motion": [Scene.motion, Scene.layout],
    "observe/foreground": [lambda s: _foreground(s, "attention")],
    "observe/contrast": [lambda s: _foreground(s, "contrast")],
    "observe/beside-others": [Scene.cross_frame, Scene.layout, lambda s: _foreground(s, "attention")],
    "many/motion-cross-frame-layout-windows": [
        Scene.motion, Scene.cross_frame, lambda s: s.layout("bias + gather"), Scene.windows, Scene.control,
    ],
    "many/zero-shot": [_zero_shot],
    "many/zero-shot-in-chunks": [Scene.cross_frame, lambda s: _zero_shot(s, chunk_size=2)],
    "many/nuwa": [lambda s: _nuwa(s, "own noise")],
    "many/nuwa-turned-noise": [lambda s: _nuwa(s, "turned noise")],
    "training/module": [lambda s: s.train("module", "module")],
    "training/module-goes-on": [lambda s: s.train("module", "on", motion=s.module())],
    "training/lora": [lambda s: s.train("motion LoRA", "lora", motion=s.module())],
    "training/mask-adapter": [lambda s: s.train("mask adapter", "adapter", motion=s.module())],
    "training/cross-frame": [Scene.cross_frame, lambda s: s.train("module", "cross")],
    "training/gligen-installed": [Scene.gligen, lambda s: s.train("module", "gligen")],
    "training/layout-prior": [_train_layouts],
}  # fmt: skip


def scene_graphs() -> dict[str, Graph]:
    """Return the graph of every scene, by name."""
    graphs = {}
    for name, steps in SCENES.items():
        scene = Scene()
        for step in steps:
            step(scene)
        kinds = [node["class_type"].removeprefix("Frameloom_") for node in scene.graph.values()]
        if not any(kind.startswith("Save") for kind in kinds):
            scene.save(scene.sample())
        graphs[name] = scene.graph
    return graphs


# A workflow with one of these needs a file or a server of the user's.
_NOT_BUNDLED = (
    "CheckpointLoader", "ControlNetLoader", "GLIGENLoader", "LoraLoader", "LoadVideo", "Frameloom_LLMEndpoint",
    "Frameloom_LocalLLM",
)  # fmt: skip
# x264 may write other bytes each time; latents and pictures say the same.
_VIDEO_FILES = ("CreateVideo", "SaveVideo", "Frameloom_DecodeToVideo")
# Inputs that are lowered to keep a workflow short: of every node, then of those whose class holds a word.
_MOST = {"steps": 4, "clips": 2, "frames": 8}
_MOST_OF = {
    "EmptyLatentImage": {"batch_size": 8},
    "ContextWindows": {"length": 6, "overlap": 2},
    "FreeNoise": {"window_length": 4, "stride": 2},
    "SplitSigmas": {"step": 1},
    "ZeroShotSampler": {"steps": 12},
    "NuwaPlan": {"length": 4},
    "NuwaKeyframes": {"steps": 2},
    "NuwaInterpolate": {"steps": 2},
    "Train": {"steps": 3, "batch_size": 4},
}


def workflow_graphs(folder: Path) -> dict[str, Graph]:
    """Return the demo workflows, shortened, by name.

    Args:
        folder: folder of files in ComfyUI's API form. Those that need more than the bundled files are left out.
    """
    graphs = {}
    for path in sorted(folder.glob("*.json")):
        graph: Graph = json.loads(path.read_text())
        if not any(node["class_type"].startswith(_NOT_BUNDLED) for node in graph.values()):
            graphs[f"workflows/{path.stem}"] = shortened(graph)
    return graphs


def shortened(graph: Graph) -> Graph:
    """Return a graph of fewer steps and frames, which writes latents beside pictures and no videos."""
    short: Graph = {}
    for name, node in graph.items():
        kind: str = node["class_type"]
        inputs: dict[str, Any] = dict(node["inputs"])
        if kind in ("VAEDecode", "Frameloom_DecodeToVideo"):
            samples = inputs["samples" if kind == "VAEDecode" else "latent"]
            latents = {"samples": samples, "filename_prefix": "same"}
            short[f"latents-{name}"] = {"class_type": "SaveLatent", "inputs": latents}
        if kind == "Frameloom_LayoutPreview":
            sheet = {"images": [name, 1], "filename_prefix": f"sheet-{name}"}
            short[f"sheet-{name}"] = {"class_type": "SaveImage", "inputs": sheet}
        if kind in _VIDEO_FILES:
            continue
        if kind == "PreviewImage":  # ComfyUI gives previews names of chance
            kind, inputs = "SaveImage", inputs | {"filename_prefix": f"preview-{name}"}
        most = _MOST | next((more for part, more in _MOST_OF.items() if part in kind), {})
        inputs |= {
            key: min(inputs[key], limit) for key, limit in most.items() if isinstance(inputs.get(key), int)
        }
        if kind == "Frameloom_NuwaPlan":
            inputs["prompts"] = "\n".join(inputs["prompts"].splitlines()[: inputs["length"]])
        short[name] = {"class_type": kind, "inputs": inputs}
    return short
