"""Where a workflow is: in a JSON file, or in a picture or a video that was saved with it.

ComfyUI writes the workflow in API form beside the editor's: into a PNG as a text named ``prompt``, into a moving PNG as
a chunk ``comf``, into a WebP's EXIF as ``prompt:...``, into a video's metadata. Our own savers do the same. What the
JSON may be: ``graph.read_workflow``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

PROMPT = "prompt"
_PICTURES = {"PNG": b"\x89PNG", "WebP": b"RIFF"}
_VIDEOS = {"MP4": (4, b"ftyp"), "MKV or WebM": (0, b"\x1a\x45\xdf\xa3")}
_EXIF_TAGS = range(0x0100, 0x0111)  # ComfyUI's, from Model downwards


class NoWorkflowError(ValueError):
    """A file that no workflow was found in."""


def read_workflow_text(path: Path) -> str:
    """Return the JSON text of a workflow, of a JSON file or of what was saved with one.

    Raises:
        OSError: the file can't be read.
        NoWorkflowError: it is not text, or a picture or a video without a workflow in it.
    """
    with path.open("rb") as file:
        head = file.read(16)
    for name, mark in _PICTURES.items():
        if head.startswith(mark):
            return _of(path, name, _picture_texts(path) | _chunk_texts(path))
    for name, (place, mark) in _VIDEOS.items():
        if head[place:].startswith(mark):
            return _of(path, name, _video_texts(path))
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise NoWorkflowError(
            f"{path}: got a file that is not text; expected JSON in UTF-8, or a PNG, WebP, MP4, MKV or WebM file that "
            "ComfyUI or Frameloom saved."
        ) from error


def _of(path: Path, kind: str, texts: Mapping[str, str]) -> str:
    if PROMPT not in texts:
        raise NoWorkflowError(
            f"{path}: got a {kind} file without a workflow in API form; expected one that ComfyUI or Frameloom saved, "
            "with its metadata; programs that send pictures on often take it out."
        )
    return texts[PROMPT]


def _picture_texts(path: Path) -> dict[str, str]:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            exif = picture.getexif()
            tags = [str(exif[tag]) for tag in _EXIF_TAGS if tag in exif]
            written = {name: text for name, colon, text in (tag.partition(":") for tag in tags) if colon}
            return written | {str(name): text for name, text in picture.info.items() if isinstance(text, str)}
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise NoWorkflowError(
            f"{path}: got a picture that can't be read ({error}); save it again."
        ) from error


def _chunk_texts(path: Path) -> dict[str, str]:
    """Return the texts of a PNG's chunks ``comf``, which stand behind its pictures; other files have none."""
    texts = {}
    with path.open("rb") as file:
        if file.read(8)[:4] != _PICTURES["PNG"]:
            return texts
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind != b"comf":
                file.seek(length + 4, 1)
                continue
            name, _, text = file.read(length).partition(b"\0")
            texts[name.decode("latin-1")] = text.decode("latin-1")
            file.seek(4, 1)
    return texts


def _video_texts(path: Path) -> dict[str, str]:
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as video:
            return {name.lower(): text for name, text in video.metadata.items()}
    except FFmpegError as error:
        raise NoWorkflowError(f"{path}: got a video that can't be read ({error}); save it again.") from error
