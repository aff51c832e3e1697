"""Configs of ``frameloom train``: what ships can be read, and what can't be run is one error that names the key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from frameloom.headless.train.config import ConfigError, read_config
from frameloom.tests.support.workflows import read_graph

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "configs").glob("*.toml"))
DEMO = ["model.demo=true", "output.folder=run"]
FILES = (
    "checkpoints/v1-5-pruned-emaonly.safetensors",
    "checkpoints/sd_xl_base_1.0.safetensors",
    "animatediff_models/mm_sd_v15_v2.ckpt",
    "loras/style.safetensors",
    "llm/SmolLM2-135M-Instruct.Q4_1.gguf",
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, port):
    """A folder to run in with clips, and a user who has the files that configs name."""
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    for name in FILES:
        (port.models_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (port.models_dir / name).touch()


def read(text="", *settings):
    Path("config.toml").write_text(text)
    return read_config(Path("config.toml"), settings)


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_a_config_that_ships_can_be_run_and_says_so_of_itself(path):
    config = read_config(path, [])
    calls = f"frameloom train configs/{path.name}", "-m frameloom.headless train"
    assert any(call in path.read_text() for call in calls)
    assert config.output["folder"].startswith("output/")


def test_the_demos_config_is_its_workflow():
    prompt = read_graph("train_motion_demo")
    config = read_config(ROOT / "configs" / "demo_circle.toml", [])
    for node, table in (("3", config.dataset), ("4", config.train)):
        values = {
            name: value for name, value in prompt[node]["inputs"].items() if not isinstance(value, list)
        }
        assert values | {"folder": ""} == dict(table) | {"folder": ""}
    assert config.start["motion"] == prompt["2"]["inputs"]["file"]


def test_animatediffs_recipe_is_the_papers():
    config = read_config(ROOT / "configs" / "animatediff_sd15.toml", [])
    assert [config.dataset[name] for name in ("frames", "stride", "width", "height")] == [16, 4, 256, 256]
    assert config.dataset["caption_dropout"] == 0.1
    assert config.train["learning_rate"] == 1e-4
    assert config.train["beta_schedule"] == "sqrt_linear (AnimateDiff)"


def test_what_is_left_out_is_the_nodes_default_and_all_of_it_can_be_written_and_read():
    config = read("", *DEMO, 'train.name="a \\"b\\" é"', "train.steps=7", 'dataset.motion="circle"')
    assert (config.train["steps"], config.train["rank"], config.dataset["stride"]) == (7, 16, 4)
    text = '[model]\nloras = [{file = "style.safetensors"}]\ncross_frame_attention = {}\n'
    other = read(text, *DEMO, "model.cross_frame_attention.strength=0.5")
    assert other.model["loras"] == [{"file": "style.safetensors", "strength": 1.0}]
    assert other.model["cross_frame_attention"]["strength"] == 0.5
    assert other.model["cross_frame_attention"]["anchor"] == "first"
    for each in (config, other):
        assert read(each.to_toml()) == each


WRONG = {
    "trian.steps=3": "trian: is no key; expected one of: model, dataset, start, train, output.",
    "train.step=3": "train.step: is no key; expected one of: target, steps, learning_rate",
    "train.steps=many": "train.steps: got 'many'; expected a whole number from 1 to 10000000.",
    "train.steps=2.0": "train.steps: got 2.0; expected a whole number",
    "train.steps=true": "train.steps: got True; expected a whole number",
    "train.steps=0": "train.steps: got 0; expected a whole number from 1",
    "train.learning_rate=NaN": "train.learning_rate: got nan; expected a number from 0.0 to 1.0.",
    "train.save_memory=1": "train.save_memory: got 1; expected true or false.",
    "train.target=moduel": "train.target: got 'moduel'; expected one of: module, motion LoRA",
    "train=3": "--set train=3: got no key.path=value; expected for example train.steps=100.",
    "output.folder.x=3": "--set output.folder.x=3: folder holds no keys; expected the path of a key.",
    "dataset.width=100": "dataset.width: got 100; expected a whole number from 32 to 4096, a multiple of 8.",
    "dataset.source=folder": "dataset.folder: got ''; expected a folder with videos and captions",
    "model.demo=false": "model: got neither demo nor a checkpoint; expected demo = true, or checkpoint",
    f"model.checkpoint={FILES[0].partition('/')[2]}": "model: got both demo and a checkpoint",
    "model.checkpoint=x.ckpt": "model.checkpoint: got 'x.ckpt'; expected one of: sd_xl_base_1.0.safet",
    "model.loras=style": "model.loras: got 'style'; expected a list of tables, each with file, strength.",
    "model.loras=[{}]": "model.loras[0].file: is missing; expected one of: style.safetensors.",
    'model.loras=[{"name": "x"}]': "model.loras[0].name: is no key; expected one of: file, strength.",
    "model.cross_frame_attention=0": "model.cross_frame_attention: got 0; expected a table with keys such as",
    'start.loras=[{"file": "frameloom_demo_pan_left.safetensors"}]': "start.loras: got some on nothing",
    "output.file=a/b.safetensors": "output.file: got 'a/b.safetensors'; expected a file's name that ends",
    "output.file=motion.safetensors": "output.file: got 'motion.safetensors'; expected a file's name",
    "output.tensorboard=yes": "output.tensorboard: got 'yes'; expected true or false.",
}


@pytest.mark.parametrize("setting", WRONG)
def test_what_cannot_be_run_is_one_error_with_the_keys_path(setting):
    with pytest.raises(ConfigError, match=f"^{re.escape(WRONG[setting])}"):
        read("", *DEMO, setting)


def test_a_folder_to_write_to_is_asked_for():
    with pytest.raises(ConfigError, match=r"^output\.folder: is missing; expected text\.$"):
        read("[model]\ndemo = true\n")


def test_a_file_that_is_no_config_is_said():
    with pytest.raises(
        ConfigError, match=r"config\.toml: got a file that is not TOML \(.*line 1.*\); expected"
    ):
        read("model: demo")
    with pytest.raises(ConfigError, match=r"none\.toml: No such file or directory; expected a config"):
        read_config(Path("none.toml"), [])
