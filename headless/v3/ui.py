"""The names of ComfyUI's V3 ``ui`` that our node files use: what a node shows, and the pictures it saves for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin
from torch import Tensor

from ...models.files.whole_file import whole_file
from ...models.video.guards import check_frames
from .folders import folders
from .io import ComfyNode, FolderType


class SavedResult(dict[str, str]):
    """A file that a node saved."""

    def __init__(self, filename: str, subfolder: str, type: FolderType) -> None:
        super().__init__(filename=filename, subfolder=subfolder, type=type.value)


class Shown:
    """What a node shows: lists by the name that the interface knows them by."""

    def __init__(self, **parts: Sequence[Any]) -> None:
        self._parts = parts

    def as_dict(self) -> Mapping[str, Sequence[Any]]:
        """Return what the interface gets."""
        return self._parts


class SavedImages(Shown):
    """Saved pictures."""

    def __init__(self, results: list[SavedResult], is_animated: bool = False) -> None:
        super().__init__(images=results, **({"animated": (True,)} if is_animated else {}))


class PreviewVideo(Shown):
    """A saved video."""

    def __init__(self, values: list[SavedResult]) -> None:
        super().__init__(images=values, animated=(True,))


def show_video(path: Path) -> PreviewVideo:
    """Return what shows a video of the output folder."""
    subfolder = path.parent.relative_to(folders().output)
    name = "" if subfolder == Path() else str(subfolder)
    return PreviewVideo([SavedResult(path.name, name, FolderType.output)])


class PreviewText(Shown):
    """Text."""

    def __init__(self, value: str) -> None:
        super().__init__(text=(value,))


class PreviewImage(Shown):
    """Pictures [N, H, W, 3], saved in the folder of previews."""

    def __init__(self, image: Tensor, animated: bool = False, cls: type[ComfyNode] | None = None) -> None:
        saved = ImageSaveHelper.save_images(image, "preview", FolderType.temp, cls, compress_level=1)
        super().__init__(images=saved, animated=(animated,))


class ImageSaveHelper:
    """Saves pictures with the workflow in them."""

    @staticmethod
    def save_images(
        images: Tensor,
        filename_prefix: str,
        folder_type: FolderType,
        cls: type[ComfyNode] | None,
        compress_level: int = 4,
    ) -> list[SavedResult]:
        """Save [N, H, W, 3 or 4], 0..1, as one PNG a picture."""
        new = folders().new_files(filename_prefix, folder_type.value, images.shape[2], images.shape[1])
        metadata = PngImagePlugin.PngInfo()
        for name, value in hidden_texts(cls).items():
            metadata.add_text(name, value)
        results = []
        for index, picture in enumerate(to_pictures(images)):
            name = new.filename("png", index)
            with whole_file(new.folder / name) as part:
                picture.save(part, "PNG", pnginfo=metadata, compress_level=compress_level)
            results.append(SavedResult(name, new.subfolder, folder_type))
        return results

    @staticmethod
    def save_animated_webp(
        images: Tensor,
        filename_prefix: str,
        folder_type: FolderType,
        cls: type[ComfyNode] | None,
        fps: float,
        lossless: bool,
        quality: int,
        method: int,
    ) -> SavedResult:
        """Save [N, H, W, 3 or 4], 0..1, as one animated WebP; frames last whole milliseconds, rounded down."""
        new = folders().new_files(filename_prefix, folder_type.value, images.shape[2], images.shape[1])
        pictures = to_pictures(images)
        exif = pictures[0].getexif()
        for tag, (name, value) in zip(_EXIF_TAGS, hidden_texts(cls).items(), strict=False):
            exif[tag] = f"{name}:{value}"
        name = new.filename("webp")
        with whole_file(new.folder / name) as part:
            pictures[0].save(
                part,
                "WEBP",
                save_all=True,
                duration=int(1000.0 / fps),
                append_images=pictures[1:],
                exif=exif,
                lossless=lossless,
                quality=quality,
                method=method,
            )
        return SavedResult(name, new.subfolder, folder_type)


_EXIF_TAGS = range(0x0110, 0x0100, -1)
"""Where ComfyUI writes texts in a WebP, and looks for them: Model, Make, and the tags below."""


def hidden_texts(cls: type[ComfyNode] | None) -> dict[str, str]:
    """Return what a saved file carries, as JSON texts: the workflow in API form, then the editor's extras."""
    if cls is None:
        return {}
    prompt = {} if cls.hidden.prompt is None else {"prompt": cls.hidden.prompt}
    return {name: json.dumps(value) for name, value in (prompt | (cls.hidden.extra_pnginfo or {})).items()}


def write_png(path: Path, picture: Tensor) -> None:
    """Write [1, H, W, 3 or 4], 0..1, whole or not at all."""
    with whole_file(path) as part:
        to_pictures(picture)[0].save(part, "PNG")


def to_pictures(images: Tensor) -> list[Image.Image]:
    """Turn [N, H, W, C], 0..1, into 8-bit pictures, rounding down as ComfyUI does; NaN, which has none, is refused."""
    check_frames(images, "images")
    pixels = np.clip(255.0 * images.float().cpu().numpy(), 0, 255).astype(np.uint8)
    return [Image.fromarray(each) for each in pixels]
