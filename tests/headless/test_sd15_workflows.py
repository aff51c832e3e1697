"""The workflows that ask for files of the user's, run whole: with narrow files under the names that they ask for."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from frameloom.headless.__main__ import main
from frameloom.headless.nodes_core.video_file import FrameVideo
from frameloom.host import api
from frameloom.host.bundled import DEMO_TOKENIZER
from frameloom.models.architecture import SD15, TextSize, UNetSize, VAESize
from frameloom.tests.support.random_demo import write_control, write_model
from PIL import Image

NARROW = replace(
    SD15,
    unet=UNetSize(model_channels=32, channel_mult=(1, 2, 4, 4), context_dim=64, num_heads=8),
    vae=VAESize(ch=32, ch_mult=(1, 2, 4, 4), num_res_blocks=2),
    text=TextSize(vocabulary=704, hidden_size=64, layers=2, heads=1),
)
EDITING = replace(NARROW, unet=replace(NARROW.unet, in_channels=8))
SIDE = 64
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's files: two checkpoints, a ControlNet, CLIP's vocabulary, a video of a square that moves."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("checkpoints", "controlnet"):
        (folder / "models" / name).mkdir(parents=True)
    (folder / "input").mkdir()
    shutil.copytree(DEMO_TOKENIZER, folder / "models" / "clip_tokenizer")
    write_model(folder / "models/checkpoints/v1-5-pruned-emaonly.safetensors", NARROW)
    write_model(folder / "models/checkpoints/instruct-pix2pix-00-22000.safetensors", EDITING)
    write_control(folder / "models/controlnet/control_v11p_sd15_canny_fp16.safetensors", NARROW.unet)
    clip = torch.zeros(10, 96, 128, 3)
    for frame in range(10):
        clip[frame, 24:72, 6 * frame : 6 * frame + 40] = 1
    FrameVideo(clip, Fraction(8)).save(folder / "input" / "my_video.mp4", "mp4", "h264", 5, {})
    return folder


def narrow(graph):
    """The workflow at 64 pixels."""
    for node in graph.values():
        node["inputs"] = {
            name: SIDE if name in ("width", "height") else value for name, value in node["inputs"].items()
        }
    return graph


@pytest.mark.parametrize(
    "name", ["text2video_zero_sd15", "text2video_zero_controlnet_sd15", "pix2pix_video_sd15"]
)
def test_it_makes_a_clip_of_8_frames(folder, tmp_path, monkeypatch, name):
    monkeypatch.setattr(api, "_selected", {})  # a command is a process of its own
    graph = narrow(json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text("utf-8")))
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    places = {"--models": folder / "models", "--input": folder / "input", "--output": tmp_path / "output"}
    options = [str(part) for pair in places.items() for part in pair]
    assert main(["run", str(tmp_path / "graph.json"), *options]) == 0
    with Image.open(tmp_path / "output" / "frameloom" / f"{name}_00001_.webp") as clip:
        assert clip.n_frames == 8
        frames = []
        for index in range(8):
            clip.seek(index)
            frames.append(clip.convert("RGB").tobytes())
    assert clip.size == (SIDE, SIDE)
    assert len(set(frames)) > 1
