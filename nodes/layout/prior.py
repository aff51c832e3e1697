"""Layouts from a small GPT over layout sequences."""

from __future__ import annotations

from pathlib import Path

from ...host import api
from ...models.files.weight_file import fingerprint
from ...models.storyboard.scenes import MAX_FRAMES
from ..early import check_early
from ..segments import show_progress
from ..sockets import StoryboardType
from ..widgets import found, fps, line, lines, number, out, schema, seed, size, whole

io = api.io

PRIORS = "layout_priors"
NO_FILE = "none"


class LayoutPrior(io.ComfyNode):
    """Let a small GPT, which has learned where things usually are and how they move, place what you name.

    What such a layout prior samples is always a valid layout: these entities, boxes inside the picture,
    keyframes that rise. It knows what it was trained on; Layout From LLM reads scripts instead.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Layout Prior", "layout",
            aliases=["VisorGPT", "layout GPT", "sample layout", "boxes", "storyboard"],
            inputs=[
                found("file", [*api.port().list_files(PRIORS), NO_FILE],
                    "A safetensors file in ComfyUI's models/layout_priors, trained by Frameloom. none: the "
                    "file that is connected to trained."),
                lines("entities", None,
                    "Things in the scene, one a line or separated by commas: `a red ball, a dog`."),
                lines("caption", "", "Caption: what the picture shows; becomes the scene's prompt."),
                whole("frames", 16, 1, MAX_FRAMES, "Length of the scene, in frames."),
                whole("keyframes", 2, 1, 129,
                    "Boxes of each entity, the first and last frame among them; between them it moves in "
                    "straight lines. With 1 everything stands still."),
                *size("in pixels", step=8),
                fps(),
                number("temperature", 1.0, 0.0, 10.0, 0.05,
                    "Freedom in the choice of boxes: below 1 more usual layouts, above 1 rarer ones, 0 "
                    "always the likeliest line."),
                whole("top_k", 70, 0, 129,
                    "Number of lines, the likeliest, among which each side of a box is chosen; 0: all lines "
                    "of the picture. 70 is VisorGPT's."),
                seed("Seed of the sampling. The same seed, file and inputs give the same layout."),
                line("trained", None,
                    "The file that Train Layout Prior has just written; then file is not read.",
                    optional=True, force_input=True),
            ],
            outputs=[
                out(StoryboardType, "storyboard", "One scene with a track for each entity."),
                out(io.String, "json", "The storyboard as text, for Layout From Text or an editor."),
            ],
        )  # fmt: skip

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
        from ...language.planning.layout_prior import Request, Sampling, read_layout_prior, sample_storyboard

        request = Request(_read_names(entities), caption, frames, keyframes, (width, height), fps)
        name = trained or file
        network = read_layout_prior(_find(name))
        sampling = Sampling(temperature, top_k, seed)
        board = sample_storyboard(network, name, request, sampling, show_progress(request.tokens(network)))
        return io.NodeOutput(board, board.to_json())


def _read_names(entities: str) -> list[str]:
    from ...language.planning.layout_prior import read_names

    return read_names(entities)


def _find(name: str) -> Path:
    """Return the path of a listed prior."""
    if name == NO_FILE:
        raise ValueError(
            "file='none'; expected a layout prior; choose one, or connect Train Layout Prior's file to trained."
        )
    return api.port().resolve(PRIORS, name)


NODES: list[type] = [LayoutPrior]
