"""Layouts that were written elsewhere: by hand, by a language model, by other people's tools."""

from __future__ import annotations

from pathlib import Path

from ...host import api
from ...models.files.weight_file import fingerprint
from ...models.storyboard.scenes import MAX_CHARACTERS, Storyboard
from ..early import check_early
from ..sockets import StoryboardType
from ..widgets import choice, fps, lines, out, schema, whole

io = api.io

# Of language/formats/detect.py, which is read when a node runs.
FORMATS = (
    "auto",
    "Frameloom JSON",
    "VideoDirectorGPT plan",
    "LVD frames",
    "VisorGPT sequence",
    "Storyboard20K JSON",
    "Storyboard20K lines",
)
EXPORTS = ("Frameloom JSON", "Storyboard20K JSON", "Storyboard20K lines")
NO_FILE, FOLDER, ENDINGS = "none", "layouts", (".json", ".txt")
EXAMPLE = """Caption: a red circle moves to the right
Frame 1: [{'id': 0, 'name': 'red circle', 'box': [32, 192, 128, 128]}]
Frame 2: [{'id': 0, 'name': 'red circle', 'box': [352, 192, 128, 128]}]
Background keyword: black"""


class LayoutFromText(io.ComfyNode):
    """Read a layout that somebody wrote, in one of six formats.

    Formats are Frameloom's own JSON, plans of VideoDirectorGPT, frames of LLM-grounded Video Diffusion (LVD),
    sequences of VisorGPT, and Storyboard20K's annotations and text lines. For a text that is none of them, an
    error names the line and what was expected. The second output writes the storyboard in a format of your
    choice. In the editor, the boxes can be drawn and moved on the node.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Layout From Text", "layout",
            aliases=[
                "boxes", "bounding boxes",
                "VideoDirectorGPT", "LVD", "VisorGPT", "Storyboard20K", "import layout", "load storyboard",
            ],
            inputs=[
                lines("text", EXAMPLE, "The layout, as text."),
                choice("format", FORMATS, "Format of the layout; auto tries each."),
                choice("file", [NO_FILE, *_files()],
                    "A .json or .txt file to read instead of text, from ComfyUI's user/frameloom/layouts "
                    "(headless: ~/.config/frameloom/layouts)."),
                whole("frames", 16, 0, 100_000,
                    "Length of a scene, over which the text's keyframes are spread; 0: a frame for each "
                    "keyframe. Frameloom JSON says its own length."),
                fps("Frames a second. Frameloom JSON says its own."),
                whole("width", 512, 8, 16_384,
                    "Width of the picture, where the text doesn't say it. The square canvas of LVD and "
                    "VisorGPT is spread over the picture; Storyboard20K's lines measure by its longer side."),
                whole("height", 512, 8, 16_384, "Height of the picture, where the text doesn't say it."),
                choice("export_as", EXPORTS,
                    "Format of the text output. Storyboard20K has a key shot wherever an entity has a key; "
                    "what has keypoints is written as a character there, all else as an object."),
            ],
            outputs=[
                out(StoryboardType, "storyboard", "The layout as a storyboard."),
                out(io.String, "exported",
                    "The layout in the format that export_as names.", display_name="text"),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls,
        text: str | None,
        format: str | None,
        file: str | None,
        frames: int | None,
        width: int | None,
        height: int | None,
    ) -> bool | str:
        """Refuse a text, or a file, that is no layout."""
        return check_early(_read_layout, text, format, file, frames, 8.0, width, height)

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: object) -> str:
        """Read the file again when it changed."""
        return "" if file == NO_FILE else fingerprint(_path(file))

    @classmethod
    def execute(
        cls,
        text: str,
        format: str,
        file: str,
        frames: int,
        fps: float,
        width: int,
        height: int,
        export_as: str,
    ) -> io.NodeOutput:
        """Run the node."""
        from ...language.formats.detect import WRITERS

        storyboard = _read_layout(text, format, file, frames, fps, width, height)
        return io.NodeOutput(storyboard, WRITERS[export_as](storyboard))


def _read_layout(
    text: str, format: str, file: str, frames: int, fps: float, width: int, height: int
) -> Storyboard:
    """Return the storyboard of a text, or of a file where one is chosen."""
    from ...language.formats.detect import read_layout
    from ...language.formats.tracks import Settings

    written = text if file == NO_FILE else _read(_path(file))
    return read_layout(written, format, Settings(frames, fps, (width, height)))


def layouts_folder() -> Path:
    """Return the folder for the user's own layouts, which may not be there."""
    return api.port().user_dir() / FOLDER


def _files() -> list[str]:
    folder = layouts_folder()
    found = folder.iterdir() if folder.is_dir() else []
    return sorted(path.name for path in found if path.suffix.lower() in ENDINGS and path.is_file())


def _path(file: str) -> Path:
    """Return the path of a listed file."""
    if file not in _files():
        raise ValueError(
            f"file={file!r} is not in the folder frameloom/{FOLDER} of the user's settings; expected one of "
            f"{_files() or 'none'}; put it there."
        )
    return layouts_folder() / file


def _read(path: Path) -> str:
    """Return a file's text, cut where it is longer than a storyboard may be, which its reader then says."""
    with path.open("rb") as file:
        data = file.read(4 * MAX_CHARACTERS + 4)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path.name}: got a byte at {error.start} that is not UTF-8; expected text; save it as UTF-8."
        ) from error


NODES: list[type] = [LayoutFromText]
