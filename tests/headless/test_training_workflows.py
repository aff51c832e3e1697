"""The workflow that trains a motion module, run whole and short by the command."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from frameloom.headless.__main__ import main
from frameloom.host import api
from frameloom.models.motion.checkpoint import read_motion_weights
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SHORT = ["3.clips=2", "3.frames=4", "4.checkpoint_every=2", "10.batch_size=4", "11.steps=2"]


def test_a_module_goes_on_learning_is_saved_and_sampled_and_more_steps_go_on_from_there(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("HOME", str(tmp_path))
    for number, steps in enumerate((2, 3), 1):
        monkeypatch.setattr(api, "_selected", {})  # a command is a process of its own
        settings = [part for value in [*SHORT, f"4.steps={steps}"] for part in ("--set", value)]
        workflow = ROOT / "workflows" / "api" / "train_motion_demo.json"
        assert main(["run", str(workflow), "--output", str(tmp_path / "out"), *settings]) == 0
        assert "the base is unchanged, SHA-256" in capsys.readouterr().err
        with Image.open(tmp_path / "out" / "frameloom" / f"train_motion_demo_{number:05}_.webp") as clip:
            assert (clip.n_frames, clip.size) == (4, (128, 128))
    [folder] = (tmp_path / ".config" / "frameloom" / "training").iterdir()
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == [0, 1, 2]
    bundled = read_motion_weights(ROOT / "assets" / "demo" / "motion.safetensors").state
    first, second = (
        read_motion_weights(tmp_path / "out" / "frameloom" / f"circle_{number:05}_.safetensors").state
        for number in (1, 2)
    )
    assert any(not torch.equal(value, bundled[name]) for name, value in first.items())
    assert any(not torch.equal(value, second[name]) for name, value in first.items())
