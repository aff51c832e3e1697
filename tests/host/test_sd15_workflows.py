"""Workflows for Stable Diffusion 1.5 over HTTP, short, with the demo model's files in the place of its own."""

from __future__ import annotations

import asyncio
import json
import shutil

import av
import pytest
import torch
from frameloom.host.video_file import Encoding, NewVideo
from frameloom.models.motion.lora import read_motion_lora
from frameloom.tests.host.server import ROOT, documented_client
from frameloom.tests.support.random_demo import write_control_lora
from frameloom.tests.support.sparse import domain_adapter, write_sparse
from PIL import Image

pytestmark = pytest.mark.host

SIDE = 64
DEMO_MOTION = "frameloom_demo_motion.safetensors"
KEYFRAMES = ["a red circle on navy", "a blue circle on navy", "a green circle on navy"]
# What makes a workflow short: values by node.
SHORT = {
    "windows_controlnet_sd15": {"16": {"batch_size": 20}},
    "text2video_zero_controlnet_sd15": {},
    "layout_controlnet_sd15": {},
    "sparsectrl_sd15": {},
    "video_to_video_sd15": {"6": {"force_rate": 4, "frame_cap": 8}},
    "train_motion_lora_sd15": {"3": {"frames": 4}, "4": {"checkpoint_every": 2}, "10": {"batch_size": 4}},
    "one_clip_sd15": {"3": {"frames": 4}, "4": {"checkpoint_every": 2}, "10": {"batch_size": 4}},
    "nuwa_sd15": {"3": {"prompts": "\n".join(KEYFRAMES), "length": 3, "depth": 3}},
}
FRAMES = {
    "windows_controlnet_sd15": 20,
    "text2video_zero_controlnet_sd15": 8,
    "layout_controlnet_sd15": 16,
    "sparsectrl_sd15": 16,
    "video_to_video_sd15": 8,
}


def on_demo(name):
    """A workflow on the demo model: everything but the checkpoint and the motion module is what users run."""
    graph = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text("utf-8"))
    for number, node in graph.items():
        inputs = node["inputs"]
        if node["class_type"] == "CheckpointLoaderSimple":
            node |= {"class_type": "Frameloom_DemoModelLoader", "inputs": {}}
        elif node["class_type"] == "Frameloom_MotionModuleLoader":
            inputs["file"] = DEMO_MOTION
        small = {"width": SIDE, "height": SIDE, "steps": 2}
        inputs |= {key: value for key, value in small.items() if key in inputs} | SHORT[name].get(number, {})
    return graph


@pytest.fixture
def run(server, tmp_path):
    """Run a workflow with a user's ControlNets and video; returns what it saved."""
    folder = server.base / "models" / "controlnet"
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("canny", "scribble"):
        write_control_lora(folder / f"control_v11p_sd15_{kind}_fp16.safetensors")
    write_sparse(folder / "v3_sd15_sparsectrl_rgb.ckpt")
    (server.base / "models" / "loras").mkdir(parents=True, exist_ok=True)
    torch.save(domain_adapter(), server.base / "models" / "loras" / "v3_sd15_adapter.ckpt")
    picture = tmp_path / "my_first_frame.png"
    Image.new("RGB", (96, 64), "navy").save(picture)
    path = tmp_path / "my_video.mp4"
    with NewVideo(lambda *_: path, Encoding("mp4", "h264", "yuv420p", 5), 8, {}) as video:
        frames = torch.zeros(20, SIDE, SIDE, 3)
        for frame in range(20):
            frames[frame, 20:45, frame : frame + 25] = 1
        video.add(frames)
    for name in ("my_videos", "my_clip"):
        clips = server.base / "input" / name
        clips.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, clips / "clip.mp4")
        (clips / "clip.txt").write_text("a white box that slides")

    def go(name):
        client = documented_client(tmp_path)
        return asyncio.run(client.run(server.url, on_demo(name), tmp_path / "fetched", [path, picture]))

    return go


@pytest.mark.parametrize("name", list(FRAMES))
def test_a_clip_follows_its_hints(run, name):
    (path,) = [file for file in run(name) if file.suffix == ".webp"]
    with Image.open(path) as clip:
        assert (clip.n_frames, clip.size) == (FRAMES[name], (SIDE, SIDE))


def test_keyframes_and_what_is_between_become_a_video(run):
    (path,) = [file for file in run("nuwa_sd15") if file.suffix == ".mp4"]
    with av.open(str(path)) as video:
        assert [(frame.width, frame.height) for frame in video.decode(video=0)] == [(SIDE, SIDE)] * 9


@pytest.mark.parametrize(
    ("name", "saved"), [("train_motion_lora_sd15", "my_motion"), ("one_clip_sd15", "one_clip")]
)
def test_a_motion_lora_is_learned_from_a_folder_saved_for_the_loader_and_sampled(server, run, name, saved):
    (path,) = [file for file in run(name) if file.suffix == ".webp"]
    with Image.open(path) as clip:
        assert (clip.n_frames, clip.size) == (4, (SIDE, SIDE))
    folder = server.base / "models" / "animatediff_motion_lora" / "frameloom"
    lora = read_motion_lora(folder / f"{saved}_00001_.safetensors")
    assert all(up.abs().max() > 0 for _, up in lora.pairs.values())
