"""Families of pictures and controls in a step: by our nodes, and by AnimateDiff-Evolved's and Advanced-ControlNet's.

Runs in ComfyUI's process, for ``in_comfyui.py``. Every family gets one picture at frame 0, and its paper's defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

PIA, I2V, CAMERA, TWO = "PIA", "AnimateLCM-I2V", "CameraCtrl", "two motion modules"
SPARSE, CONTROL = "SparseCtrl rgb", "ControlNet by frame"
RAVE, VIDTOME = "RAVE", "VidToMe"
FILES = {SPARSE: "sparse.safetensors", CAMERA: "camera.safetensors", CONTROL: "control.safetensors"}
ZOOM, SPEED, DRIFT = "zoom in", 1.0, 0.8
OWN = (
    "use model's own",
    "use existing",
)  # schedule of betas in both packs: they choose others for AnimateLCM's modules
ALL = {"start_percent": 0.0, "end_percent": 1.0}  # of sampling

Call = Callable[..., Any]  # of a node by its name, with its inputs; its first output, or with ``every`` all
Sides = list[Any]  # conditions: positive, negative


@dataclass(frozen=True)
class Scene:
    """The parts that both packs are given.

    Attributes:
        call: function that runs a node.
        load: the same for nodes that load, which remembers what it gave.
        latent: the clip.
        picture: picture of frame 0, [1, H, W, 3] in 0..1.
        vae: VAE of the demo model, whose latents are as large as SD1.5's.
        module: name of the motion module's file; none for controls, which go without one.
    """

    call: Call
    load: Call
    latent: dict[str, Any]
    picture: torch.Tensor
    vae: Any
    module: str

    @property
    def frames(self) -> int:
        """Number of frames of the clip."""
        return len(self.latent["samples"])


def ours(family: str, scene: Scene, model: Any, sides: Sides) -> tuple[Any, Sides]:
    """Return the model with a family's part, and the conditions, by our nodes."""
    call, clip = scene.call, {"vae": scene.vae, "latent": scene.latent, "images": scene.picture}
    if family == RAVE:
        return call("Frameloom_Rave", model=model, grid_size=3, seed=0), sides
    if family == VIDTOME:
        ratios = {"local_ratio": 0.9, "global_ratio": 0.8}
        return call("Frameloom_VidToMe", model=model, chunk_size=4, **ratios, seed=0), sides
    if family == SPARSE:
        network = scene.load("Frameloom_SparseControlLoader", file=FILES[SPARSE])
        more = {"other_frames": 1.0, "mask_value": 1.0}
        return call(
            "Frameloom_ApplySparseControl", model=model, sparse_control=network, **clip, frames="0", strength=1.0,
            **ALL, **more,
        ), sides  # fmt: skip
    if family == CONTROL:
        network = scene.load("ControlNetLoader", control_net_name=FILES[CONTROL])
        positive, negative = _controlled("ControlNetApplyAdvanced", scene, network, sides, scene.picture)
        positive, negative, _ = call(
            "Frameloom_ControlSchedule", every=True, positive=positive, negative=negative, frames=scene.frames,
            strength="0: 1\n-1: 0", between="linear", by_step="1", soft=1.0, negative_strength=1.0, which="last",
        )  # fmt: skip
        return model, [positive, negative]
    motion = scene.load("Frameloom_MotionModuleLoader", file=scene.module)
    if family == PIA:
        affinity = {"affinity": "medium motion", "affinities": "1"}
        motion = call("Frameloom_PIAPicture", motion=motion, **clip, frames="0", **affinity)
    if family == I2V:
        motion = call("Frameloom_AnimateLCMPicture", motion=motion, **clip, drift=DRIFT)
    for _ in range(2 if family == TWO else 1):
        model = call(
            "Frameloom_ApplyMotionModule", model=model, motion=motion, strength=1.0, **ALL, beta_schedule=OWN[0],
            frames_at_once=scene.frames,
        )  # fmt: skip
    if family == CAMERA:
        poses = call("Frameloom_CameraPresets", frames=scene.frames, moves=f"{ZOOM} {SPEED:g}")
        cameras = {"file": FILES[CAMERA], "poses": poses, "strength": "1"}
        model = call("Frameloom_ApplyCameraCtrl", model=model, **cameras, **ALL)
    return model, sides


def theirs(family: str, scene: Scene, model: Any, sides: Sides) -> tuple[Any, Sides]:
    """Return the same by nodes of AnimateDiff-Evolved, or of Advanced-ControlNet."""
    call = scene.call
    if family == SPARSE:
        method = call("ACN_SparseCtrlIndexMethodNode", indexes="0")
        network = scene.load(
            "ACN_SparseCtrlLoaderAdvanced", sparsectrl_name=FILES[SPARSE], use_motion=True, motion_strength=1.0,
            motion_scale=1.0, sparse_method=method,
        )  # fmt: skip
        size = {"image": scene.picture, "vae": scene.vae, "latent_size": scene.latent}
        picture = call("ACN_SparseCtrlRGBPreprocessor", **size)
        return model, _controlled("ACN_AdvancedControlNetApply_v2", scene, network, sides, picture)
    if family == CONTROL:
        network = scene.load("ACN_ControlNetLoaderAdvanced", cnet=FILES[CONTROL])
        keys = call(
            "LatentKeyframeTiming", batch_index_from=0, strength_from=1.0, batch_index_to_excl=scene.frames,
            strength_to=0.0, interpolation="linear",
        )  # fmt: skip
        sides = _controlled(
            "ACN_AdvancedControlNetApply_v2", scene, network, sides, scene.picture, latent_kf_override=keys
        )
        return model, sides
    moving = _their_module(family, scene)
    return call("ADE_UseEvolvedSampling", model=model, m_models=moving, beta_schedule=OWN[1]), sides


def _their_module(family: str, scene: Scene) -> Any:
    """Return AnimateDiff-Evolved's motion module with a family's part."""
    call, load, file = scene.call, scene.load, {"model_name": scene.module}
    if family == CAMERA:
        loaded = load("ADE_LoadAnimateDiffModelWithCameraCtrl", **file, camera_ctrl=FILES[CAMERA])
        poses = call("ADE_CameraPoseBasic", motion_type=ZOOM.title(), speed=SPEED, frame_length=scene.frames)
        return call("ADE_ApplyAnimateDiffModelWithCameraCtrl", motion_model=loaded, cameractrl_poses=poses)
    if family == I2V:
        loaded = load("ADE_LoadAnimateLCMI2VModel", **file)
        encoded = call("VAEEncode", vae=scene.vae, pixels=scene.picture)
        return call("ADE_ApplyAnimateLCMI2VModel", motion_model=loaded, ref_latent=encoded, ref_drift=DRIFT)
    loaded = load("ADE_LoadAnimateDiffModel", **file)
    if family == PIA:
        preset = call("ADE_InputPIA_PaperPresets", preset="Animation (Medium Motion)", batch_index=0)
        given = {"image": scene.picture, "vae": scene.vae, "pia_input": preset}
        return call("ADE_ApplyAnimateDiffModelWithPIA", motion_model=loaded, **given)
    first = call("ADE_ApplyAnimateDiffModelSimple", motion_model=loaded)
    return call("ADE_ApplyAnimateDiffModel", motion_model=loaded, **ALL, prev_m_models=first)


def _controlled(node: str, scene: Scene, network: Any, sides: Sides, picture: Any, **more: Any) -> Sides:
    """Return conditions with a control network on them."""
    return scene.call(
        node, every=True, positive=sides[0], negative=sides[1], control_net=network, image=picture, strength=1.0,
        **ALL, **more,
    )  # fmt: skip
