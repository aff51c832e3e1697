"""Layouts from a small GPT over layout sequences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..host import api
from ..models.storyboard import MAX_FRAMES
from ..models.weight_file import fingerprint
from .early import check_early
from .sockets import StoryboardType

io = api.io

PRIORS = "layout_priors"
NO_FILE = "none"


class LayoutPrior(io.ComfyNode):
    """Frameloom_LayoutPrior."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return io.Schema(
            node_id="Frameloom_LayoutPrior",
            display_name="Layout Prior",
            category="frameloom/layout",
            description="Let a layout prior, a small GPT that has learned where things usually are and how they move, "
            "place what you name. What it samples is always a valid layout: these entities, boxes inside the picture, "
            "keyframes that rise. It knows what it was trained on; Layout From LLM reads scripts instead.",
            search_aliases=["VisorGPT", "layout GPT", "sample layout", "boxes", "storyboard"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=[*api.port().list_files(PRIORS), NO_FILE],
                    tooltip="A safetensors file in ComfyUI's models/layout_priors, trained by Frameloom. none: what is "
                    "connected to trained.",
                ),
                io.String.Input(
                    "entities",
                    multiline=True,
                    tooltip="What is in the scene, one a line or separated by commas: `a red ball, a dog`.",
                ),
                io.String.Input(
                    "caption",
                    multiline=True,
                    default="",
                    tooltip="What the picture shows; becomes the scene's prompt.",
                ),
                *_scene_inputs(),
                *_sampling_inputs(),
                io.String.Input(
                    "trained",
                    optional=True,
                    force_input=True,
                    tooltip="The file that Train Layout Prior has just written; then file is not read.",
                ),
            ],
            outputs=[
                StoryboardType.Output(
                    "storyboard", display_name="storyboard", tooltip="One scene with a track for each entity."
                ),
                io.String.Output(
                    "json",
                    display_name="json",
                    tooltip="The same as text, for Layout From Text or an editor.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str | None, entities: str | None, trained: str | None = "") -> bool | str:
        """Refuse a file that is not there, and names that can't be read."""
        found = check_early(lambda *names: _find(names[1] or names[0]), file, trained)
        return found if found is not True else check_early(_read_names, entities)

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: object) -> str:
        """Sample again when the file changed."""
        return "" if file == NO_FILE else fingerprint(api.port().resolve(PRIORS, file))

    @classmethod
    def execute(
        cls,
        file: str,
        entities: str,
        caption: str,
        frames: int,
        keyframes: int,
        width: int,
        height: int,
        fps: float,
        temperature: float,
        top_k: int,
        seed: int,
        trained: str | None = None,
    ) -> io.NodeOutput:
        """Run the node."""
        from ..language.layout_prior import (
            Request,
            Sampling,
            read_layout_prior,
            sample_storyboard,
        )

        request = Request(_read_names(entities), caption, frames, keyframes, (width, height), fps)
        name = trained or file
        network = read_layout_prior(_find(name))
        sampling = Sampling(temperature, top_k, seed)
        board = sample_storyboard(network, name, request, sampling, _watch(request.tokens(network)))
        return io.NodeOutput(board, board.to_json())


def _read_names(entities: str) -> list[str]:
    from ..language.layout_prior import read_names

    return read_names(entities)


def _find(name: str) -> Path:
    """Return the path of a listed prior.

    Raises:
        ValueError: none was chosen, or it isn't listed.
    """
    if name == NO_FILE:
        raise ValueError(
            "file='none'; expected a layout prior; choose one, or connect Train Layout Prior's file to trained."
        )
    return api.port().resolve(PRIORS, name)


def _scene_inputs() -> list[Any]:
    return [
        io.Int.Input("frames", default=16, min=1, max=MAX_FRAMES, tooltip="Length of the scene."),
        io.Int.Input(
            "keyframes",
            default=2,
            min=1,
            max=129,
            tooltip="Boxes of each entity, the first and last frame among them; between them it moves in straight "
            "lines. With 1 everything stands still.",
        ),
        io.Int.Input("width", default=512, min=8, max=16_384, step=8, tooltip="Of the picture, in pixels."),
        io.Int.Input("height", default=512, min=8, max=16_384, step=8, tooltip="Of the picture, in pixels."),
        io.Float.Input("fps", default=8.0, min=0.01, max=1000.0, step=0.01, tooltip="Frames a second."),
    ]


def _sampling_inputs() -> list[Any]:
    return [
        io.Float.Input(
            "temperature",
            default=1.0,
            min=0.0,
            max=10.0,
            step=0.05,
            tooltip="How freely it chooses: below 1 more usual layouts, above 1 rarer ones, 0 always the likeliest "
            "line.",
        ),
        io.Int.Input(
            "top_k",
            default=70,
            min=0,
            max=129,
            tooltip="Choose each line among this many, the likeliest; 0: among all that the picture has. 70 is "
            "VisorGPT's.",
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFFFFFFFFFF,
            control_after_generate=True,
            tooltip="Of the sampling. The same seed, file and inputs give the same layout.",
        ),
    ]


def _watch(tokens: int) -> Callable[[int], None]:
    """Return what shows progress and notices a cancel."""
    port = api.port()
    bar = port.progress(tokens)

    def watch(done: int) -> None:
        port.check_interrupt()
        bar.update(done)

    return watch


NODES: list[type] = [LayoutPrior]
