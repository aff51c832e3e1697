"""Nodes that load, scale, pick and save pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from einops import rearrange, repeat
from PIL import Image, ImageOps, ImageSequence
from torch import Tensor

from ...host import api
from ..engine.fitting import cut_to, scale, some_of
from ..v3 import io
from ..v3.core_node import CoreNode, LoadingNode, SavingNode
from ..v3.folders import folders
from ..v3.ui import ImageSaveHelper, SavedImages, to_pictures
from ..v3.video_file import read_frames

NO_MASK_SIZE = 64
"""Side in pixels of the empty mask that a picture without alpha gets, as in ComfyUI."""


class LoadImage(LoadingNode):
    """A picture of the input folder, or every frame of one that moves; the mask is 1 where it is transparent."""

    file, kind = "image", "image"

    @classmethod
    def execute(cls, image: str) -> io.NodeOutput:
        """Return [N, H, W, 3] and the mask [N, H, W], or [N, 64, 64] of zeros without alpha."""
        path = folders().existing(image)
        device = api.port().compute_device()
        frames = read_frames(path)
        if not len(frames):  # an animated WebP, which FFmpeg doesn't read
            frames = _read_animation(path)
        has_alpha = frames.shape[-1] == 4
        mask = 1.0 - frames[..., 3] if has_alpha else torch.zeros(len(frames), NO_MASK_SIZE, NO_MASK_SIZE)
        return io.NodeOutput(frames[..., :3].to(device), mask.to(device))


class ImageScale(CoreNode):
    """Resize; ``center`` cuts to the new proportions first."""

    @classmethod
    def execute(cls, image: Tensor, upscale_method: str, width: int, height: int, crop: str) -> io.NodeOutput:
        """Return [N, height, width, C]. A zero side follows from the other; two zeros leave the picture."""
        if not width and not height:
            return io.NodeOutput(image)
        old_height, old_width = image.shape[1:3]
        width = width or max(1, round(old_width * height / old_height))
        height = height or max(1, round(old_height * width / old_width))
        planes = rearrange(image, "n h w c -> n c h w")
        if upscale_method == "lanczos":
            planes = cut_to(planes, width / height) if crop == "center" else planes
            return io.NodeOutput(_lanczos(rearrange(planes, "n c h w -> n h w c"), width, height))
        planes = scale(planes, width, height, upscale_method, center=crop == "center")
        return io.NodeOutput(rearrange(planes, "n c h w -> n h w c"))


class ImageFromBatch(CoreNode):
    """Some pictures of a batch."""

    @classmethod
    def execute(cls, image: Tensor, batch_index: int, length: int) -> io.NodeOutput:
        """Return at most ``length`` pictures from ``batch_index`` on; negative counts from the end."""
        return io.NodeOutput(image[some_of(len(image), batch_index, length)].clone())


class Canny(CoreNode):
    """Edges."""

    @classmethod
    def execute(cls, image: Tensor, low_threshold: float, high_threshold: float) -> io.NodeOutput:
        """Return [N, H, W, 3], 1 on edges and 0 elsewhere."""
        from kornia.filters import canny

        low, high, channels = low_threshold, high_threshold, image.shape[-1]
        if low > high or channels != 3:
            raise ValueError(
                f"canny: got low_threshold={low}, high_threshold={high} and {channels} channels; expected low at most "
                "high, and 3 channels; change the thresholds, or leave out the alpha channel."
            )
        planes = rearrange(image, "n h w c -> n c h w").to(api.port().compute_device(), torch.float32)
        edges = canny(planes, low, high)[1]
        return io.NodeOutput(repeat(edges, "n 1 h w -> n h w c", c=3).to(image.device))


class SaveImage(SavingNode):
    """PNG files with the workflow in them."""

    @classmethod
    def execute(cls, images: Tensor, filename_prefix: str) -> io.NodeOutput:
        """Save each picture."""
        saved = ImageSaveHelper.save_images(images, filename_prefix, io.FolderType.output, cls)
        return io.NodeOutput(images, ui=SavedImages(saved))


class PreviewImage(CoreNode):
    """PNG files in the folder of previews."""

    @classmethod
    def execute(cls, images: Tensor) -> io.NodeOutput:
        """Save each picture."""
        saved = ImageSaveHelper.save_images(images, "ComfyUI_temp", io.FolderType.temp, cls, compress_level=1)
        return io.NodeOutput(images, ui=SavedImages(saved))


class SaveAnimatedWEBP(SavingNode):
    """One moving WebP with the workflow in it."""

    METHODS = {"default": 4, "fastest": 0, "slowest": 6}

    @classmethod
    def execute(
        cls, images: Tensor, filename_prefix: str, fps: float, lossless: bool, quality: int, method: str
    ) -> io.NodeOutput:
        """Save the frames."""
        kind, effort = io.FolderType.output, cls.METHODS[method]
        saved = ImageSaveHelper.save_animated_webp(
            images, filename_prefix, kind, cls, fps, lossless, quality, effort
        )
        return io.NodeOutput(images, ui=SavedImages([saved], is_animated=len(images) > 1))


def _read_animation(path: Path) -> Tensor:
    frames: list[np.ndarray] = []
    try:
        with Image.open(path) as animation:
            for frame in ImageSequence.Iterator(animation):
                turned = ImageOps.exif_transpose(frame)
                picture = turned.convert("RGBA" if "A" in turned.getbands() else "RGB")
                if not frames or picture.size == frames[0].shape[1::-1]:
                    frames.append(np.array(picture))
    except (OSError, SyntaxError) as error:  # Pillow's own for a broken PNG
        raise ValueError(
            f"{path.name}: got a file that is no picture or video, or only part of one ({error}); expected PNG, JPEG, "
            "WebP, GIF or a video; save or download it again."
        ) from error
    return torch.from_numpy(np.stack(frames)).float() / 255.0


def _lanczos(image: Tensor, width: int, height: int) -> Tensor:
    pictures = [each.resize((width, height), Image.Resampling.LANCZOS) for each in to_pictures(image)]
    return torch.from_numpy(np.stack([np.array(each) for each in pictures])).to(image) / 255.0
