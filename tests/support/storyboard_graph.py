"""Three scenes of other lengths through one graph, for both hosts: drawn, sampled, and joined to one video."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy
import torch
from frameloom.models.storyboard.hints import draw_control
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene, Storyboard
from frameloom.models.video.scene_joins import join_scenes
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

SIDE, SEED, CROSS_FADE = 64, 7, 1
LENGTHS = {1: 3, 2: 2, 5: 4}  # frames, by scene


def _scene(number: int, frames: int) -> Scene:
    side = 0.2 + 0.1 * number
    ball = Entity(
        id="ball",
        text="a red circle",
        track=[BoxKey(f=0, box=(0.0, 0.1, side, 0.9)), BoxKey(f=frames - 1, box=(1 - side, 0.1, 1.0, 0.9))],
    )
    return Scene(id=number, prompt="a red circle", frames=frames, entities=[ball])


BOARD = Storyboard(size=(SIDE, SIDE), scenes=[_scene(*each) for each in LENGTHS.items()])


def storyboard_graph() -> dict:
    """Return the workflow: each scene is drawn and sampled with its own length and seed."""
    text = {
        "text": BOARD.to_json(), "format": "Frameloom JSON", "file": "none", "frames": 8, "fps": 8.0, "width": SIDE,
        "height": SIDE, "export_as": "Frameloom JSON",
    }  # fmt: skip
    sampler = {
        "model": ["8", 0], "seed": ["2", 3], "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal",
        "positive": ["9", 0], "negative": ["9", 0], "latent_image": ["10", 0], "denoise": 1.0,
    }  # fmt: skip
    control = {"storyboard": ["2", 0], "kind": "scribble", "width": 0, "height": 0, "line_width": 3}
    nodes = {
        "1": ("Frameloom_LayoutFromText", text),
        "2": ("Frameloom_SceneList", {"storyboard": ["1", 0], "seed": SEED}),
        "3": ("Frameloom_LayoutToControl", control | {"seed": ["2", 3]}),
        "4": ("Frameloom_JoinScenes", {"images": ["3", 0], "cross_fade": CROSS_FADE, "skip": 0}),
        "5": ("SaveImage", {"images": ["4", 0], "filename_prefix": "joined"}),
        "8": ("Frameloom_DemoModelLoader", {}),
        "9": ("CLIPTextEncode", {"text": ["2", 1], "clip": ["8", 1]}),
        "10": ("EmptyLatentImage", {"width": SIDE, "height": SIDE, "batch_size": ["2", 2]}),
        "11": ("KSampler", sampler),
        "12": ("SaveLatent", {"samples": ["11", 0], "filename_prefix": "sampled"}),
    }
    return {key: {"class_type": name, "inputs": inputs} for key, (name, inputs) in nodes.items()}


def check_storyboard_files(files: Iterable[Path]) -> None:
    """Hold what the workflow saved against the scenes drawn one by one, and count what was sampled for each."""
    files = sorted(files)
    scenes = [draw_control(scene, "scribble", SIDE, SIDE, seed=SEED + scene.id) for scene in BOARD.scenes]
    video = torch.stack([_read(path) for path in files if path.suffix == ".png"])
    # Saved in steps of 1/255.
    torch.testing.assert_close(video, join_scenes(scenes, CROSS_FADE), rtol=0, atol=1.01 / 255)
    latents = [load_file(path)["latent_tensor"] for path in files if path.suffix == ".latent"]
    assert [len(each) for each in latents] == list(LENGTHS.values())
    assert not torch.equal(latents[0][0], latents[1][0])


def _read(path: Path) -> Tensor:
    with Image.open(path) as picture:
        return torch.from_numpy(numpy.array(picture.convert("RGB"))).float() / 255
