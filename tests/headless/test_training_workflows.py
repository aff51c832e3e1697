"""The workflows that train a motion module, run whole and short by the command."""

from __future__ import annotations

import json

from frameloom.host.bundled import ASSETS
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.few_steps import FewStepSettings
from PIL import Image

SIZES = [f"{number}.{side}=64" for number in (3, 10) for side in ("width", "height")]
SHORT = ["3.clips=2", "3.frames=4", "4.checkpoint_every=2", "10.batch_size=4", "11.steps=1", *SIZES]


def test_a_module_goes_on_learning_is_saved_and_sampled_and_more_steps_go_on_from_there(
    draw_workflow, tmp_path
):
    states = [read_motion_weights(ASSETS / "demo" / "motion.safetensors").state]
    for number, steps in enumerate((2, 3), 1):
        out, said = draw_workflow("train_motion_demo", *SHORT, f"4.steps={steps}")
        assert "the base is unchanged, SHA-256" in said
        with Image.open(out / f"train_motion_demo_{number:05}_.webp") as clip:
            assert (clip.n_frames, clip.size) == (4, (64, 64))
        states.append(read_motion_weights(out / f"circle_{number:05}_.safetensors").state)
    [folder] = (tmp_path / ".config" / "frameloom" / "training").iterdir()
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == [0, 1, 2]
    bundled, first, second = states
    assert any(not (value == bundled[name]).all() for name, value in first.items())
    assert any(not (value == second[name]).all() for name, value in first.items())


def test_a_module_is_taught_to_draw_in_few_steps_and_sampled_as_its_file_says(draw_workflow):
    sizes = [f"{number}.{side}=64" for number in (3, 10) for side in ("width", "height")]
    out, _ = draw_workflow("train_few_steps_demo", "3.clips=4", "4.steps=1", "10.batch_size=4", *sizes)
    assert read_motion_weights(out / "few_steps_00001_.safetensors").few_steps == FewStepSettings(4)
    with Image.open(out / "train_few_steps_demo_00001_.webp") as clip:
        assert (clip.n_frames, clip.size) == (4, (64, 64))
