"""Core nodes that make a mask, one frame at a time: plain pictures, put in a row, read as a mask."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ...host import api
from ..v3 import io
from ..v3.core_node import CoreNode
from .image import ImageScale

CHANNELS = ("red", "green", "blue", "alpha")


class EmptyImage(CoreNode):
    """Pictures of one colour."""

    @classmethod
    def execute(cls, width: int, height: int, batch_size: int, color: int) -> io.NodeOutput:
        """Return [batch_size, height, width, 3]; ``color`` is 0xRRGGBB."""
        channels = [(color >> shift & 0xFF) / 0xFF for shift in (16, 8, 0)]
        picture = torch.tensor(channels, device=api.port().compute_device())
        return io.NodeOutput(picture.repeat(batch_size, height, width, 1))


class ImageBatch(CoreNode):
    """Two batches in a row."""

    @classmethod
    def execute(cls, image1: Tensor, image2: Tensor) -> io.NodeOutput:
        """Return both, opaque where one of them has no alpha; the second is scaled and cut to the first's size."""
        height, width = image1.shape[1:3]
        image2 = ImageScale.execute(image2, "bilinear", width, height, "center")[0]
        channels = max(image1.shape[-1], image2.shape[-1])
        same = [
            functional.pad(image, (0, channels - image.shape[-1]), value=1.0) for image in (image1, image2)
        ]
        return io.NodeOutput(torch.cat(same))


class ImageToMask(CoreNode):
    """One channel as a mask."""

    @classmethod
    def execute(cls, image: Tensor, channel: str) -> io.NodeOutput:
        """Return [N, H, W]."""
        return io.NodeOutput(image[..., CHANNELS.index(channel)])
