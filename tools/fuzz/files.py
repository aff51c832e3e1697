"""Which files are spoiled, and the command that reads each."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from frameloom.host.bundled import ASSETS, BUNDLED, DEMO_MODEL, DEMO_TOKENIZER
from frameloom.language.formats.detect import WRITERS
from frameloom.models.storyboard.scenes import parse_storyboard
from frameloom.tools.fuzz.graphs import Graph
from PIL import Image

INPUTS = ASSETS / "inputs"
PICTURE = INPUTS / "frameloom_first_frame.png"
SMALL = {"frames": 4, "stride": 1, "width": 128, "height": 128, "clips": 1, "seed": 1, "source": "shapes"}
CONFIG = """\
[model]
demo = true

[dataset]
source = "shapes"
clips = 1
frames = 4
stride = 1
width = 128
height = 128
seed = 1

[train]
target = "motion LoRA"
name = "fuzz"
steps = 1
checkpoint_every = 1
rank = 2

[start]
motion = "frameloom_demo_motion.safetensors"

[output]
folder = "output/run"
file = "fuzz.safetensors"
"""
PROFILES = (
    '{"mine": {"base_url": "http://127.0.0.1:9/v1", "model": "m", "api_key_env": "NO_KEY", "timeout": 1}}'
)


@dataclass(frozen=True)
class Reading:
    """The command that reads a spoiled file, and what lies in place of the pack's own files."""

    command: list[str]
    bundled: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """A kind of file: good ones, and a function that puts a spoiled one into a case's folder and says what reads it."""

    good: list[bytes]
    place: Callable[[random.Random, Path, bytes], Reading]
    share: int = 1


def subjects(graphs: dict[str, Graph], made: Path) -> dict[str, Subject]:
    """Return what is spoiled, by name.

    Args:
        graphs: cheap workflows by name.
        made: folder of good files that a first run made: clips, ``run`` of training, ``home``.
    """
    weights = {name: path for names in BUNDLED.values() for name, path in names.items()}
    files = {name: path.read_bytes() for name, path in weights.items()}
    story = parse_storyboard(graphs["layout_masks_demo"]["2"]["inputs"]["text"])
    storyboards = [write(story).encode() for write in WRITERS.values()]
    words = [(DEMO_TOKENIZER / name).read_bytes() for name in ("vocab.json", "merges.txt")]
    workflows = [json.dumps(graphs[name]).encode() for name in ("text2image_demo", "script_to_layout")]
    mp4, webp, latent = ((made / f"clip.{ending}").read_bytes() for ending in ("mp4", "webp", "latent"))
    return {
        **{
            f"weights {name}": Subject([data], partial(_weights, graphs, name), 3)
            for name, data in files.items()
        },
        "demo model": Subject([DEMO_MODEL.read_bytes()], partial(_bundled, graphs, "model"), 2),
        "tokenizer": Subject(words, partial(_tokenizer, graphs)),
        "another loader": Subject(list(files.values()), _loader, 2),
        "picture": Subject(_pictures(), partial(_picture, graphs), 3),
        "video": Subject([mp4, webp], _video, 2),
        "training clip": Subject([mp4, b"a red circle", b"videoid,name\n1,a\n"], partial(_clip, made), 2),
        "storyboard": Subject(storyboards, _storyboard, 3),
        "workflow": Subject(workflows, _workflow, 2),
        "config": Subject([CONFIG.encode()], _config, 2),
        "latent": Subject([latent], _latent, 2),
        "training checkpoint": Subject(
            [(made / "run" / "checkpoint.pt").read_bytes()], partial(_checkpoint, made)
        ),
        "job": Subject([path.read_bytes() for path in _jobs(made)[:2]], partial(_job, graphs, made)),
        "profiles": Subject([PROFILES.encode()], partial(_profiles, graphs)),
    }


def _run(folder: Path, graph: Graph) -> list[str]:
    (folder / "workflow.json").write_text(json.dumps(graph), "utf-8")
    return ["run", str(folder / "workflow.json")]


def _written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _with(graph: Graph, old: Any, new: Any) -> Graph:
    """Return a graph in which every value ``old`` is ``new``."""
    return json.loads(json.dumps(graph).replace(json.dumps(old), json.dumps(new)))


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def _weights(graphs: dict[str, Graph], name: str, rng: random.Random, folder: Path, data: bytes) -> Reading:
    kind = next(kind for kind, names in BUNDLED.items() if name in names)
    graph = next(
        graph for graph in graphs.values() if name in json.dumps(graph) and "Nuwa" not in json.dumps(graph)
    )
    if rng.random() < 0.2:
        return Reading(_run(folder, graph), {name: _written(folder / "bundled.safetensors", data)})
    own = "spoiled" + rng.choice([".safetensors"] * 6 + [".ckpt", ".pt", ".bin", ".SafeTensors"])
    _written(folder / "models" / kind / own, data)
    return Reading(_run(folder, _with(graph, name, own)))


def _bundled(graphs: dict[str, Graph], key: str, rng: random.Random, folder: Path, data: bytes) -> Reading:
    path = _written(folder / "bundled.safetensors", data)
    return Reading(
        _run(folder, rng.choice([graphs["text2image_demo"], graphs["animatediff_demo"]])), {key: path}
    )


def _tokenizer(graphs: dict[str, Graph], rng: random.Random, folder: Path, data: bytes) -> Reading:
    shutil.copytree(DEMO_TOKENIZER, folder / "tokenizer")
    (folder / "tokenizer" / rng.choice(["vocab.json", "merges.txt"])).write_bytes(data)
    return Reading(_run(folder, graphs["text2image_demo"]), {"tokenizer": folder / "tokenizer"})


def _loader(rng: random.Random, folder: Path, data: bytes) -> Reading:
    kind, loader, name = rng.choice([
        ("checkpoints", "CheckpointLoaderSimple", "ckpt_name"), ("loras", "LoraLoaderModelOnly", "lora_name"),
        ("controlnet", "ControlNetLoader", "control_net_name"), ("gligen", "GLIGENLoader", "gligen_name"),
        ("animatediff_models", "Frameloom_MotionModuleLoader", "file"),
    ])  # fmt: skip
    own = "spoiled" + rng.choice([".safetensors", ".safetensors", ".ckpt", ".pt"])
    _written(folder / "models" / kind / own, data)
    graph = {"1": _node(loader, **{name: own}), "2": _node("PreviewAny", source=["1", 0])}
    if loader == "LoraLoaderModelOnly":
        graph["0"] = _node("Frameloom_DemoModelLoader")
        graph["1"]["inputs"] |= {"model": ["0", 0], "strength_model": 1.0}
    return Reading(_run(folder, graph))


def _pictures() -> list[bytes]:
    found = []
    with Image.open(PICTURE) as picture:
        for form in ("PNG RGB", "PNG RGBA", "PNG P", "JPEG RGB", "WEBP RGB", "GIF P"):
            kind, mode = form.split()
            buffer = io.BytesIO()
            picture.convert(mode).save(buffer, kind)
            found.append(buffer.getvalue())
    return found


def _picture(graphs: dict[str, Graph], rng: random.Random, folder: Path, data: bytes) -> Reading:
    name = "spoiled." + rng.choice(["png", "png", "jpg", "webp", "gif", "bmp", "svg"])
    _written(folder / "input" / name, data)
    load = _node("LoadImage", image=name)
    graph = graphs["animate_image_demo"] | {"6": load}  # in place of the frame that is drawn
    return Reading(_run(folder, rng.choice([graph, {"1": load, "2": _shown("1")}])))


def _shown(source: str) -> dict[str, Any]:
    return _node("SaveImage", images=[source, 0], filename_prefix="shown")


def _video(rng: random.Random, folder: Path, data: bytes) -> Reading:
    name = "spoiled." + rng.choice(["mp4", "mp4", "webm", "mkv", "avi", "gif"])
    _written(folder / "input" / name, data)
    graph = {
        "1": _node("LoadVideo", file=name),
        "2": _node("GetVideoComponents", video=["1", 0]),
        "3": _shown("2"),
    }
    return Reading(_run(folder, graph))


def _clip(made: Path, rng: random.Random, folder: Path, data: bytes) -> Reading:
    clips = folder / "input" / "clips"
    clips.mkdir(parents=True)
    shutil.copy(made / "clip.mp4", clips / "good.mp4")
    (clips / "good.txt").write_text("a blue square", "utf-8")
    (clips / "bad.txt").write_text("a red circle", "utf-8")
    (clips / rng.choice(["bad.mp4", "bad.mp4", "bad.webm", "bad.txt", "metadata.csv"])).write_bytes(data)
    graph = {
        "1": _node("Frameloom_VideoDataset", **SMALL | {"source": "folder", "folder": "clips"}, caption_dropout=0.0,
                   missing_captions="skip", clips_per_video=1, flip=False, motion="circle"),
        "2": _node("SaveImage", images=["1", 2], filename_prefix="sheet"),
        "3": _node("PreviewAny", source=["1", 1]),
    }  # fmt: skip
    return Reading(_run(folder, graph))


def _storyboard(rng: random.Random, folder: Path, data: bytes) -> Reading:
    graph = {
        "1": _node("Frameloom_LayoutFromText", text=data.decode("utf-8", rng.choice(["replace", "surrogateescape"])),
                   format="auto", frames=rng.choice([0, 4]), fps=8.0, width=64, height=64),
        "2": _node("Frameloom_LayoutPreview", storyboard=["1", 0], longer_side=64, columns=2),
        "3": _shown("2"),
    }  # fmt: skip
    return Reading(_run(folder, graph))


def _workflow(rng: random.Random, folder: Path, data: bytes) -> Reading:
    del rng
    return Reading(["run", str(_written(folder / "workflow.json", data))])


def _config(rng: random.Random, folder: Path, data: bytes) -> Reading:
    del rng
    return Reading(["train", str(_written(folder / "config.toml", data))])


def _latent(rng: random.Random, folder: Path, data: bytes) -> Reading:
    _written(folder / "input" / "spoiled.latent", data)
    graph = {
        "1": _node("LoadLatent", latent="spoiled.latent"),
        "2": _node("Frameloom_DemoModelLoader"),
        "3": _node("VAEDecode", samples=["1", 0], vae=["2", 2]),
        "4": rng.choice([_shown("3"), _node("SaveAnimatedWEBP", images=["3", 0], filename_prefix="shown", fps=8.0,
                                            lossless=False, quality=80, method="default")]),
    }  # fmt: skip
    return Reading(_run(folder, graph))


def _checkpoint(made: Path, rng: random.Random, folder: Path, data: bytes) -> Reading:
    shutil.copytree(made / "run", folder / "output" / "run")
    shutil.copytree(made / "home", folder / "home", dirs_exist_ok=True)
    (folder / "output" / "run" / "checkpoint.pt").write_bytes(data)
    path = _written(folder / "config.toml", CONFIG.encode())
    return Reading(["train", str(path), "--set", f"train.steps={rng.choice([1, 2])}"])


def _jobs(made: Path) -> list[Path]:
    return sorted((made / "home").rglob("nuwa/*/job-*"))


def _job(graphs: dict[str, Graph], made: Path, rng: random.Random, folder: Path, data: bytes) -> Reading:
    shutil.copytree(made / "home", folder / "home", dirs_exist_ok=True)
    path = rng.choice(_jobs(made)).relative_to(made)
    (folder / path).write_bytes(data)
    return Reading(_run(folder, graphs["nuwa_demo"]))


def _profiles(graphs: dict[str, Graph], rng: random.Random, folder: Path, data: bytes) -> Reading:
    del rng
    _written(folder / "home" / ".config" / "frameloom" / "llm_profiles.json", data)
    return Reading(_run(folder, _with(graphs["layout_llm"], "ollama", "mine")))
