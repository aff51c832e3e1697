"""Tune a language model to write storyboards, for Local LLM beside it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...host import api
from ...models.files.keys import hash_settings
from ...models.files.weight_file import fingerprint
from ...models.storyboard.scenes import Scene
from ..drawing.plot import draw_losses
from ..early import check_early, check_new_model
from ..layout.local_llm import MODELS
from ..layout.text import layouts_folder
from ..widgets import choice, found, line, number, out, schema, seed, whole
from .train_motion import TRAINING

io = api.io

STORIES, FILES = "stories", "files"
CHECKPOINT = "checkpoint.pt"
HELD_OUT = 8  # rows that are not learned from
FEWEST = 16  # captions with boxes in files
REDRAWN = 10  # steps after which the curve is shown anew


class TrainLayoutModel(io.ComfyNode):
    """Tune a language model to write a script's whole storyboard in one answer, by a LoRA.

    What comes out is a model in models/llm that Local LLM takes: Layout From LLM then asks it once for a
    script, in a form of few tokens, and holds it to that form. The LoRA alone lies in it as peft's adapter.
    Needs the packages peft, transformers and llguidance, for GGUF also gguf and accelerate.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Train Layout Model", "training",
            aliases=["LLM", "LoRA", "fine-tune", "language model", "storyboard", "SmolLM", "peft"],
            inputs=[
                found("model", api.port().list_files(MODELS),
                    "The language model to tune, as Local LLM takes it: a GGUF file or a folder in ComfyUI's "
                    "models/llm, with a chat template."),
                choice("source", [STORIES, FILES],
                    "What it learns from. stories: scripts in English that are made up without end, with their "
                    "boxes. files: every scene with a caption and boxes in the .json and .txt files in ComfyUI's "
                    "user/frameloom/layouts (headless: ~/.config/frameloom/layouts), at least 16."),
                line("name", "my_layout_model",
                    "Name of the result. It becomes the folder models/llm/NAME_00001_, or the next number that "
                    "is free."),
                whole("steps", 500, 1, 1_000_000, "Steps of the optimizer."),
                whole("tokens", 512, 64, 65_536,
                    "Tokens a step. Scripts with their storyboards lie in them side by side, five or so in 512, "
                    "and do not see each other."),
                number("learning_rate", 0.001, 1e-6, 0.1, 1e-6,
                    "Learning rate at its peak; a cosine takes it down. Models of billions of weights want less, "
                    "0.0002."),
                whole("rank", 16, 1, 1024, "Rank of the LoRA, which is on every linear layer."),
                seed(
                    "Seed of the LoRA and of all that is drawn. The same seed and inputs on the same machine give "
                    "the same model; a run that was stopped goes on.",
                    most=2**32 - 1, after=io.ControlAfterGenerate.fixed),
            ],
            outputs=[
                out(io.String, "model", "Name of the new model, for Local LLM's model."),
                out(io.String, "report", "The loss on what was held out, before and after."),
                out(io.Image, "plot", "A chart of the loss over the steps."),
            ],
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, source: str | None, name: str | None) -> bool | str:
        """Refuse files that hold too little, and a place where no model can be written."""
        read = check_early(_check_source, source)
        return read if read is not True else check_early(check_new_model, MODELS, name)

    @classmethod
    def fingerprint_inputs(cls, model: str, source: str, **_: object) -> str:
        """Train again when a file changed."""
        files = fingerprint(layouts_folder()) if source == FILES and layouts_folder().is_dir() else ""
        return fingerprint(api.port().resolve(MODELS, model)) + files

    @classmethod
    def execute(cls, model: str, source: str, name: str, **settings: Any) -> io.NodeOutput:
        """Run the node."""
        port = api.port()
        listed, path = port.new_model(MODELS, name, "safetensors")  # says now whether there can be one
        bar, losses = port.progress(settings["steps"]), []

        def on_step(step: int, loss: float) -> None:
            port.check_interrupt()
            losses.append(loss)
            bar.update(step + 1, draw_losses(losses)[0] if step % REDRAWN == 0 else None)

        checkpoints = port.user_dir() / TRAINING
        with torch.inference_mode(False), torch.enable_grad():  # nodes run without gradients
            told = tune_model(Tuning(model, source, **settings), path.with_suffix(""), checkpoints, on_step)
        return io.NodeOutput(str(Path(listed).with_suffix("")), told, draw_losses(losses))


@dataclass(frozen=True)
class Tuning:
    """What is tuned, and how; fields as the node's inputs."""

    model: str
    source: str
    steps: int
    tokens: int
    learning_rate: float
    rank: int
    seed: int


def tune_model(asked: Tuning, result: Path, checkpoints: Path, on_step: Callable[[int, float], None]) -> str:
    """Tune a language model and write it, and return what is to be said of it.

    Args:
        asked: model and settings.
        result: folder to write the model to.
        checkpoints: folder for the folders of runs; a run that was stopped goes on from its own, which is
            deleted once the model is written.
        on_step: callback of ``loop.train``.

    Raises:
        LanguageModelError: the model can't be tuned.
        ValueError: there is too little to learn from, or a step has no room for it.
    """
    from ...language.answers.compact import VERSION
    from ...language.llm.tuning import open_to_tune, save_tuned
    from ...training.language.lessons import Row, fill
    from ...training.language.tuning import TuningSettings, measure, tune
    from ...training.loop import step_generator

    port, path = api.port(), api.port().resolve(MODELS, asked.model)
    tuned = open_to_tune(path, asked.model, rank=asked.rank, seed=asked.seed)
    draw_lesson = _lessons(asked.source, tuned)

    def draw(generator: torch.Generator) -> Row:
        rng = random.Random(int(torch.randint(2**62, (), generator=generator)))
        return fill(lambda: draw_lesson(rng), asked.tokens)

    held = [draw(step_generator(asked.seed, -1 - number)) for number in range(HELD_OUT)]
    tuned.network.to(port.compute_device())
    before = measure(tuned.network, held)
    key = hash_settings(
        asked=vars(asked), base=fingerprint(path), form=VERSION, files=_files_key(asked.source)
    )
    run = checkpoints / key[:16] / CHECKPOINT
    settings = TuningSettings(asked.steps, asked.learning_rate, asked.seed)
    tune(tuned.network, draw, settings, checkpoint=run, key=key, on_step=on_step)
    after = measure(tuned.network, held)
    save_tuned(result, tuned, VERSION)
    run.unlink(missing_ok=True)
    return f"{result.name}: loss on held-out answers, nats a token: {before:.3f} before, {after:.3f} after"


def _lessons(source: str, tuned: Any) -> Callable[[random.Random], Any]:
    """Return what draws a lesson for a model."""
    from ...language.answers.compact import write_compact
    from ...language.planning.at_once import ask_for_storyboard
    from ...language.stories.words import TRAINING as WORDS
    from ...language.stories.writing import write_story
    from ...training.language.lessons import Lesson

    scenes = [] if source == STORIES else _read_captions()

    def draw(rng: random.Random) -> Lesson:
        if scenes:
            scene = rng.choice(scenes)
            script, board = scene.prompt, [scene]
        else:
            story = write_story(WORDS, rng)
            script, board = story.script, story.scenes
        return Lesson(*tuned.encode(ask_for_storyboard(script), write_compact(board)))

    return draw


def _files_key(source: str) -> str:
    return fingerprint(layouts_folder()) if source == FILES else ""


def _check_source(source: str) -> None:
    if source == FILES:
        _read_captions()


def _read_captions() -> list[Scene]:
    """Return the scenes of the user's files that have a caption and boxes."""
    from ...language.planning.layout_corpus import read_folder

    scenes = [
        scene
        for scene in read_folder(layouts_folder())
        if scene.prompt.strip() and any(key.box for entity in scene.entities for key in entity.track)
    ]
    if len(scenes) < FEWEST:
        raise ValueError(
            f"source=files: got {len(scenes)} scenes with a caption and boxes in {layouts_folder()}; expected at least "
            f"{FEWEST}; add some, or choose stories."
        )
    return scenes


NODES: list[type] = [TrainLayoutModel]
