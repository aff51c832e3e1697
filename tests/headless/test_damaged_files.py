"""Whatever happens to a weight file, every loader reads it or says what is wrong with it, by its name, in one line."""

from __future__ import annotations

import random

import pytest
from frameloom.headless.engine.gligen import load_gligen
from frameloom.headless.text.prompt import Tokenizer
from frameloom.headless.weights.control_loading import load_controlnet
from frameloom.headless.weights.loading import load_checkpoint
from frameloom.headless.weights.lora import read_lora
from frameloom.headless.weights.networks import build_unet
from frameloom.host.bundled import BUNDLED, DEMO_TOKENIZER
from frameloom.language.planning.layout_prior import read_layout_prior
from frameloom.models.errors import CheckpointError
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.lora import read_motion_lora
from frameloom.models.network.sizes import DEMO
from frameloom.tests.support.damage import WAYS, damage
from frameloom.tests.support.gligen import write_gligen
from frameloom.tests.support.motion import save, tiny_lora, tiny_state
from frameloom.tests.support.random_demo import CPU, write_control, write_lora, write_model
from safetensors import safe_open

TIMES = 2  # of each way


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return {
        "checkpoint": write_model(folder / "model.safetensors"),
        "LoRA": write_lora(folder / "lora.safetensors"),
        "ControlNet": write_control(folder / "control.safetensors"),
        "GLIGEN": write_gligen(folder / "gligen.safetensors"),
        "motion module": save(folder / "motion.safetensors", tiny_state()),
        "motion LoRA": save(folder / "motion_lora.safetensors", tiny_lora()),
        "layout prior": BUNDLED["layout_priors"]["frameloom_demo_layout_prior.safetensors"],
    }


@pytest.fixture(scope="module")
def readers():
    unet, tokenizer = build_unet(DEMO.unet), Tokenizer.from_folder(DEMO_TOKENIZER)
    return {
        "checkpoint": lambda path: load_checkpoint(path, tokenizer, CPU, DEMO),
        "LoRA": lambda path: read_lora(path, unet, DEMO.unet),
        "ControlNet": lambda path: load_controlnet(path, CPU),
        "GLIGEN": lambda path: load_gligen(path, CPU),
        "motion module": read_motion_weights,
        "motion LoRA": read_motion_lora,
        "layout prior": read_layout_prior,
    }


@pytest.mark.parametrize(
    "kind", ["checkpoint", "LoRA", "ControlNet", "GLIGEN", "motion module", "motion LoRA", "layout prior"]
)
def test_a_damaged_file_is_read_or_refused_in_words(tmp_path, files, readers, kind):
    data, said = files[kind].read_bytes(), {}
    with safe_open(files[kind], framework="pt") as file:
        metadata = file.metadata()
    generator = random.Random(kind)
    for way in WAYS:
        for number in range(TIMES):
            path = tmp_path / f"{way} {number}.safetensors"
            path.write_bytes(damage(data, metadata, way, generator))
            try:
                readers[kind](path)
            except CheckpointError as error:
                said[way, path.name] = str(error)
            path.unlink()
    assert all(text.startswith(name) and "\n" not in text for (_, name), text in said.items()), said
    assert {way for way, _ in said} >= {"cut", "bits of the header", "number", "missing"}
