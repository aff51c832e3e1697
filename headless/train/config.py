"""The file that ``frameloom train`` reads: TOML whose keys are the inputs of the nodes that do the same in a graph.

Owns reading it, ``--set``, and checking it as strictly as the nodes' schemas allow, so that nothing starts that could
not be meant. A new input or a new choice of a node is a key or a choice here without a change.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from ...host import api
from ...host.values import refuse_value
from ...models.files.json_text import BadJSONError
from ..v3.folders import expected_model_file
from ..v3.io import ComfyNode
from ..v3.node_info import InputInfo, read_node_info
from ..workflow.settings import read_value

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RESULT_ENDING = ".safetensors"
_WIDGETS = {
    "INT": "a whole number",
    "FLOAT": "a number",
    "STRING": "text",
    "BOOLEAN": "true or false",
    "COMBO": "text",
}
_MOST_SHOWN = 20  # names of files in an error

Table: TypeAlias = "Mapping[str, InputInfo | Table | list[Table]]"


LAYOUT_MODEL = "layout_model"  # table of a config that tunes a language model


class ConfigError(ValueError):
    """A config that can't be run: which key, what it is, and what is expected."""


class RunConfig:
    """What configs of all kinds have: a data class whose fields are its tables, ``output`` among them."""

    output: Mapping[str, Any]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def folder(self) -> Path:
        """Where the run's files go."""
        return Path(self.output["folder"]).expanduser()

    def to_toml(self) -> str:
        """Write it down, defaults too, so that it can be run again."""
        tables = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return "\n".join(
            f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())
            for name, table in tables.items()
        )


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """A config that was checked, with defaults for what it leaves out.

    Attributes:
        model: demo, checkpoint, loras, and cross_frame_attention where that is asked for.
        dataset: the inputs of Video Dataset; ``folder`` is a path.
        start: motion and loras.
        train: the inputs of Train Motion Module.
        output: folder, file, dtype, tensorboard.
    """

    model: Mapping[str, Any]
    dataset: Mapping[str, Any]
    start: Mapping[str, Any]
    train: Mapping[str, Any]
    output: Mapping[str, Any]


@dataclass(frozen=True)
class LayoutModelConfig(RunConfig):
    """A config for a language model that learns to write storyboards, checked, with defaults.

    Attributes:
        layout_model: the inputs of Train Layout Model, but its name.
        output: folder, tensorboard.
    """

    layout_model: Mapping[str, Any]
    output: Mapping[str, Any]


def read_config(path: Path, settings: Iterable[str]) -> TrainConfig | LayoutModelConfig:
    """Read and check a config. A host is selected: its schemas are what is checked against.

    Args:
        path: the config file.
        settings: ``key.path=value`` in place of the file's; a value is JSON, or else text.

    Raises:
        ConfigError: it can't be read, or a key is unknown, missing, or of a value that can't be.
    """
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}; expected a config, such as configs/demo_circle.toml."
        ) from error
    except RecursionError as error:
        raise ConfigError(f"{path}: got lists within lists without end; expected a config.") from error
    except ValueError as error:  # not UTF-8, not TOML, or a number of thousands of digits
        raise ConfigError(f"{path}: got a file that is not TOML ({error}); expected it in UTF-8.") from error
    for setting in settings:
        _set(given, setting)
    if LAYOUT_MODEL in given:
        return LayoutModelConfig(**_check_table("", given, _layout_model_tables()))
    checked = _check_table("", given, _tables())
    config = TrainConfig(**checked)
    _check_together(config)
    return config


def _tables() -> Table:
    """Return what a config may hold."""
    from ...nodes.motion.modules import LORA_FILES, MODULE_FILES, MotionLoRALoader
    from ...nodes.training.save_motion import SaveMotionModule
    from ...nodes.training.train_motion import TrainMotionModule
    from ...nodes.training.video_dataset import VideoDataset
    from ...nodes.zero_shot.latents import CrossFrameAttnPatch

    files = api.port().list_files
    strength = _widgets(MotionLoRALoader)["strength"]
    return {
        "model": {
            "demo": _key("BOOLEAN", False),
            "checkpoint": _choice(files("checkpoints")),
            "loras": [{"file": _choice(files("loras")), "strength": strength}],
            "cross_frame_attention": _widgets(CrossFrameAttnPatch),
        },
        "dataset": {**_widgets(VideoDataset), "folder": _key("STRING", "")},
        "start": {
            "motion": _choice(files(MODULE_FILES)),
            "loras": [{"file": _choice(files(LORA_FILES)), "strength": strength}],
        },
        "train": _widgets(TrainMotionModule),
        "output": {
            "folder": InputInfo("STRING", {}, required=True),
            "file": _key("STRING", f"trained{RESULT_ENDING}"),
            "dtype": _widgets(SaveMotionModule)["dtype"],
            "tensorboard": _key("BOOLEAN", False),
        },
    }


def _layout_model_tables() -> Table:
    """Return what a config that tunes a language model may hold."""
    from ...nodes.training.train_layout_model import TrainLayoutModel

    asked = {name: info for name, info in _widgets(TrainLayoutModel).items() if name != "name"}
    output = {
        "folder": InputInfo("STRING", {}, required=True),
        "tensorboard": _key("BOOLEAN", False),
    }
    return {LAYOUT_MODEL: asked, "output": output}


def _widgets(node: type[ComfyNode]) -> dict[str, InputInfo]:
    """Return a node's inputs that are values, not links."""
    return {name: info for name, info in read_node_info(node).inputs.items() if info.kind in _WIDGETS}


def _key(kind: str, default: Any) -> InputInfo:
    return InputInfo(kind, {"default": default}, required=False)


def _choice(files: list[str]) -> InputInfo:
    return InputInfo("COMBO", {"default": "", "options": files}, required=False)


def _set(given: dict[str, Any], setting: str) -> None:
    """Put a value of ``--set`` into a config."""
    key, equals, text = setting.partition("=")
    *parents, name = key.split(".")
    if not equals or not parents or not all((*parents, name)):
        raise ConfigError(f"--set {setting}: got no key.path=value; expected for example train.steps=100.")
    place = given
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise ConfigError(f"--set {setting}: {parent} holds no keys; expected the path of a key.")
    try:
        place[name] = read_value(text, place.get(name))
    except BadJSONError as error:
        raise ConfigError(f"--set {key}: got {error}; expected a value.") from error


def _check_table(path: str, given: Any, table: Table) -> dict[str, Any]:
    """Return a table's values, converted, with defaults."""
    if not isinstance(given, dict):
        raise ConfigError(f"{path}: got {given!r}; expected a table with keys such as {next(iter(table))}.")
    for name in given:
        if name not in table:
            raise ConfigError(f"{_join(path, name)}: is no key; expected one of: {', '.join(table)}.")
    checked: dict[str, Any] = {}
    for name, spec in table.items():
        place = _join(path, name)
        if isinstance(spec, InputInfo):
            if name not in given and "default" not in spec.options:
                raise ConfigError(f"{place}: is missing; expected {_expected(spec)}.")
            checked[name] = _check_value(place, given.get(name, spec.options.get("default")), spec)
        elif isinstance(spec, list):
            checked[name] = _check_list(place, given.get(name, []), spec[0])
        elif name in given or not path:  # a table within another is there or not; an outer one has defaults
            checked[name] = _check_table(place, given.get(name, {}), spec)
    return checked


def _check_list(path: str, given: Any, table: Table) -> list[dict[str, Any]]:
    if not isinstance(given, list):
        raise ConfigError(f"{path}: got {given!r}; expected a list of tables, each with {', '.join(table)}.")
    rows = [_check_table(f"{path}[{number}]", each, table) for number, each in enumerate(given)]
    for number, row in enumerate(rows):
        if not row["file"]:
            raise ConfigError(f"{path}[{number}].file: is missing; expected {_expected(table['file'])}.")
    return rows


def _check_value(path: str, value: Any, spec: InputInfo) -> Any:
    """Return a value as the node takes it."""
    options = spec.options
    fits = {
        "INT": isinstance(value, int) and not isinstance(value, bool),
        "FLOAT": isinstance(value, int | float) and not isinstance(value, bool),
        "BOOLEAN": isinstance(value, bool),
    }.get(spec.kind, isinstance(value, str))
    is_own = spec.kind == "COMBO" and value == options.get("default")  # a list of files may have none
    fits = fits and (is_own or refuse_value(spec.kind, options, value) is None)
    if fits and spec.kind == "INT" and options.get("step"):
        fits = value % options["step"] == 0
    if not fits:
        raise ConfigError(f"{path}: got {value!r}; expected {_expected(spec)}.")
    return float(value) if spec.kind == "FLOAT" else value


def _expected(spec: Any) -> str:
    """Say what a key wants."""
    options = spec.options
    if spec.kind == "COMBO":
        names = [name for name in options["options"] if name][:_MOST_SHOWN]
        return f"one of: {', '.join(names)}" if names else expected_model_file()
    text = _WIDGETS[spec.kind]
    if "min" in options and "max" in options:
        text += f" from {options['min']} to {options['max']}"
    if spec.kind == "INT" and options.get("step"):
        text += f", a multiple of {options['step']}"
    return text


def _check_together(config: TrainConfig) -> None:
    """Check what one key asks of another."""
    from ...nodes.training.video_dataset import FOLDER

    model, dataset, output = config.model, config.dataset, config.output
    if model["demo"] == bool(model["checkpoint"]):
        got = "both demo and a checkpoint" if model["demo"] else "neither demo nor a checkpoint"
        raise ConfigError(f'model: got {got}; expected demo = true, or checkpoint = "FILE".')
    folder = dataset["folder"]
    if dataset["source"] == FOLDER and not (folder and Path(folder).expanduser().is_dir()):
        raise ConfigError(
            f"dataset.folder: got {folder!r}; expected a folder with videos and captions; its path is "
            "from where the command is run."
        )
    if config.start["loras"] and not config.start["motion"]:
        raise ConfigError(
            "start.loras: got some on nothing; expected start.motion, the module that they are on."
        )
    name = output["file"]
    if Path(name).name != name or not name.endswith(RESULT_ENDING) or name == f"motion{RESULT_ENDING}":
        raise ConfigError(
            f"output.file: got {name!r}; expected a file's name that ends in {RESULT_ENDING}, without a folder; "
            f"motion{RESULT_ENDING} is that of the last checkpoint's weights."
        )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _toml(value: Any) -> str:
    """Write a value as TOML, whose texts, numbers and truths are JSON's."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
