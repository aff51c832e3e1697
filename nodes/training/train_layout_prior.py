"""Train a layout prior, for Layout Prior beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...host import api
from ...models.files.weight_file import fingerprint
from ...models.storyboard.scenes import Scene
from ..drawing.plot import draw_losses
from ..early import check_early, check_new_model
from ..layout.prior import PRIORS
from ..layout.text import layouts_folder
from ..widgets import choice, line, lines, number, out, schema, seed, whole

io = api.io

SHAPES, TEXT, FILES = "shapes", "text", "files"
REDRAWN = 25  # steps after which the curve is shown anew


class TrainLayoutPrior(io.ComfyNode):
    """Train a small GPT on layouts; Layout Prior then places what you name as they do.

    A tenth of the scenes, at least 8, is held out by what captions and names say. The report says how likely
    the prior finds those, how many of its layouts are valid, and how near they come to the held-out ones,
    beside random weights, random boxes and the scenes it was trained on.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Train Layout Prior", "training",
            aliases=["VisorGPT", "layout GPT", "Storyboard20K", "training", "boxes"],
            inputs=[
                choice("source", [SHAPES, TEXT, FILES],
                    "Layouts to learn from. shapes: drawn scenes of one to three shapes that move, stand "
                    "still, or stand at a place that the caption says. text: the text below. files: every "
                    ".json and .txt file in ComfyUI's user/frameloom/layouts (headless: "
                    "~/.config/frameloom/layouts)."),
                lines("text", "",
                    "Layouts for source text, in any format that Layout From Text reads, of at least 16 "
                    "scenes that differ in caption or names: a storyboard as JSON, VisorGPT sequences, "
                    "Storyboard20K's JSON or lines."),
                line("name", "my_layouts",
                    "Name of the prior. It becomes models/layout_priors/NAME_00001_.safetensors, or the next "
                    "number that is free."),
                whole("steps", 1500, 1, 1_000_000, "Steps of the optimizer."),
                whole("batch_size", 32, 1, 4096, "Scenes a step."),
                number("learning_rate", 0.006, 1e-6, 0.1, 1e-6,
                    "Learning rate at its peak, after 50 steps; a cosine takes it down. Wider priors want "
                    "less, 0.0003 at a width of 768."),
                whole("keyframes", 3, 1, 129,
                    "Most boxes of a thing that the prior is shown of a scene: the first frame, the last, "
                    "and others drawn anew each time. Layout Prior can be asked for so many."),
                whole("width", 44, 4, 4096, "Width of a token in the network. VisorGPT: 768.", step=4),
                whole("layers", 3, 1, 96, "Layers of the network. VisorGPT: 12."),
                whole("context", 320, 16, 8192,
                    "Longest scene in tokens: a word is one, where captions and names often say it, and else "
                    "each of its bytes; a box is five. Longer ones are left out."),
                seed(
                    "Seed of weights and draws. The same seed and inputs on the same machine give the same "
                    "prior."),
            ],
            outputs=[
                out(io.String, "file", "Name of the new prior's file, for Layout Prior's trained."),
                out(io.String, "report", "A report of what the prior is worth on held-out scenes."),
                out(io.Image, "plot", "A chart of the loss over the steps."),
            ],
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, source: str | None, text: str | None, name: str | None) -> bool | str:
        """Refuse layouts that can't be read or are too few, and a place where no file can be written."""
        read = check_early(_check_scenes, source, text)
        return read if read is not True else check_early(check_new_model, PRIORS, name)

    @classmethod
    def fingerprint_inputs(cls, source: str, **_: object) -> str:
        """Train again when a file changed."""
        folder = layouts_folder()
        return fingerprint(folder) if source == FILES and folder.is_dir() else ""

    @classmethod
    def execute(cls, source: str, text: str, name: str, **settings: Any) -> io.NodeOutput:
        """Run the node."""
        from ...models.layout_prior.prior import save_prior
        from ...models.layout_prior.sequence import NAME
        from ...training.layout.report import describe, train_and_measure
        from ...training.layout.training import LayoutSettings

        api.port().new_model(PRIORS, name, "safetensors")  # says now whether there can be one
        wanted, losses = LayoutSettings(**settings), []
        scenes, watch = _read_scenes(source, text, wanted.seed), _watch(wanted.steps, losses)
        network, report = train_and_measure(scenes, wanted, api.port().compute_device(), *watch)
        listed, path = api.port().new_model(PRIORS, name, "safetensors")
        save_prior(path, network.half(), NAME)
        return io.NodeOutput(listed, describe(report), draw_losses(losses))


def _check_scenes(source: str, text: str) -> None:
    from ...training.layout.scenes import split_scenes

    if source != SHAPES:
        split_scenes(_read_scenes(source, text, 0))


def _read_scenes(source: str, text: str, seed: int) -> list[Scene]:
    from ...language.planning.layout_corpus import read_folder, read_scenes
    from ...training.layout import scenes as layout_scenes
    from ...training.loop import step_generator

    if source == SHAPES:
        return layout_scenes.draw_scenes(layout_scenes.SCENES, step_generator(seed, 0))
    return read_scenes(text) if source == TEXT else read_folder(layouts_folder())


def _watch(
    steps: int, losses: list[float]
) -> tuple[Callable[[int, float], None], Callable[[int, int], None]]:
    """Return what keeps losses, shows progress and notices a cancel: in a step, and when a layout is sampled."""
    port = api.port()
    bar = port.progress(steps + steps // 4)

    def on_step(step: int, loss: float) -> None:
        port.check_interrupt()
        losses.append(loss)
        bar.update(step + 1, draw_losses(losses)[0] if step % REDRAWN == 0 else None)

    def on_layout(done: int, total: int) -> None:
        port.check_interrupt()
        bar.update(steps + steps // 4 * done // total)

    return on_step, on_layout


NODES: list[type] = [TrainLayoutPrior]
