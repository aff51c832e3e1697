"""``frameloom train`` on an SDXL checkpoint, file to file: the shipped config, and a motion LoRA on what it made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from frameloom.host.bundled import DEMO_TOKENIZER
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.lora import read_motion_lora
from frameloom.models.video.schedules import ANIMATEDIFF_SDXL
from frameloom.tests.support.sdxl_file import sdxl_state, write_sdxl
from safetensors.torch import save_file

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "animatediff_sdxl.toml"
SHORT = {
    "dataset.source": '"shapes"', "dataset.clips": 2, "dataset.frames": 3, "dataset.width": 64, "dataset.height": 64,
    "train.steps": 2, "train.accumulation": 1, "output.dtype": '"fp32"',
}  # fmt: skip
BASE = "sd_xl_base_1.0.safetensors"


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A user's folder of models, and a folder to run in."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "user"
    for name in ("checkpoints", "animatediff_models", "animatediff_motion_lora"):
        (folder / name).mkdir(parents=True)
    shutil.copytree(DEMO_TOKENIZER, folder / "clip_tokenizer")
    write_sdxl(folder / "checkpoints" / BASE)
    return folder


@pytest.fixture
def train(command, models):
    def call(**changes):
        values = SHORT | {name.replace("__", "."): value for name, value in changes.items()}
        settings = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
        return command("train", CONFIG, "--device", "cpu", "--models", models, *settings)

    return call


def test_a_module_is_trained_then_a_motion_lora_on_its_file(train, models):
    code, out, said = train()
    assert code == 0, said
    folder = Path("output/animatediff_sdxl")
    assert out[0] == str(folder / "motion_sdxl.safetensors")
    assert (folder / "sample-000002.png").is_file()
    module = read_motion_weights(folder / "motion_sdxl.safetensors")
    assert (module.family, module.beta_schedule, module.size.norm_scope) == (
        "frameloom", ANIMATEDIFF_SDXL, "clip",
    )  # fmt: skip
    shutil.copy(folder / "motion_sdxl.safetensors", models / "animatediff_models" / "own.safetensors")
    more = {"start__motion": '"own.safetensors"', "train__target": '"motion LoRA"', "train__rank": 2}
    code, _, said = train(**more, output__folder='"lora"', output__file='"lora.safetensors"')
    assert code == 0, said
    assert len(read_motion_lora("lora/lora.safetensors").fit(module).pairs) == 15 * 2 * 4


def test_an_incomplete_checkpoint_a_refiner_and_a_module_of_another_family_end_before_a_clip_is_encoded(
    train, models
):
    state = {name: value.half().contiguous() for name, value in sdxl_state().items()}
    smaller, larger = "conditioner.embedders.0.", "conditioner.embedders.1."
    save_file(
        {name: value for name, value in state.items() if not name.startswith(smaller)},
        models / "checkpoints/half.safetensors",
    )
    refiner = {
        name.replace(larger, smaller): value for name, value in state.items() if not name.startswith(smaller)
    }
    save_file(refiner, models / "checkpoints" / "refiner.safetensors")
    wrong = [
        ({"model__checkpoint": '"half.safetensors"'}, "half.safetensors: lacks", "both text encoders"),
        ({"model__checkpoint": '"refiner.safetensors"'}, "SDXL's refiner", "choose SDXL's base"),
        (
            {"start__motion": '"frameloom_demo_motion.safetensors"'},
            "motion.safetensors: down_blocks.2",
            "expected a module and a model of one family; use",
        ),
        ({"train__beta_schedule": '"sqrt_linear (AnimateDiff)"'}, "beta_schedule: got sqrt_linear", "choose linear"),
        ({"dataset__width": 100}, "dataset.width: got 100", "a multiple of 8"),
    ]  # fmt: skip
    for changes, got, wanted in wrong:
        code, out, said = train(**changes)
        assert code in (1, 2)
        assert out == []
        assert got in said[-1]
        assert wanted in said[-1]
        assert not any("clip 1 of" in line for line in said)
    assert not Path("output").exists()
