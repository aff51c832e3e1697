"""Nodes that make, cut, repeat, mask, save and load latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ...host import api
from ...models.files.whole_file import whole_file
from ...models.video.guards import check_frames
from ..engine.denoise import prepare_mask
from ..engine.fitting import cycle, scale, some_of
from ..v3 import io
from ..v3.core_node import CoreNode, LoadingNode, SavingNode
from ..v3.folders import folders
from ..v3.ui import SavedResult, hidden_texts

Latent = dict[str, Any]
OLD_FORMAT_SCALE = 1 / 0.18215
"""Latents saved before the format had a version are in SD1.x's scaled units (ComfyUI's LoadLatent)."""


class EmptyLatentImage(CoreNode):
    """Zeros; width and height are in pixels."""

    @classmethod
    def execute(cls, width: int, height: int, batch_size: int) -> io.NodeOutput:
        """Return [batch_size, 4, height // 8, width // 8]."""
        samples = torch.zeros(batch_size, 4, height // 8, width // 8, device=api.port().compute_device())
        return io.NodeOutput({"samples": samples, "downscale_ratio_spacial": 8})


class RepeatLatentBatch(CoreNode):
    """The whole batch, several times over."""

    @classmethod
    def execute(cls, samples: Latent, amount: int) -> io.NodeOutput:
        """Repeat latents, their masks, and go on counting their batch indices."""
        repeated = samples | {"samples": _repeat(samples["samples"], amount)}
        mask = samples.get("noise_mask")
        if mask is not None and mask.shape[0] > 1:
            repeated["noise_mask"] = _repeat(mask, amount)
        if "batch_index" in samples:
            ids = samples["batch_index"]
            span = max(ids) - min(ids) + 1
            repeated["batch_index"] = [each + turn * span for turn in range(amount) for each in ids]
        return io.NodeOutput(repeated)


class LatentFromBatch(CoreNode):
    """Some latents of a batch; they keep their places as ``batch_index``, so their noise stays the same."""

    @classmethod
    def execute(cls, samples: Latent, batch_index: int, length: int) -> io.NodeOutput:
        """Return at most ``length`` latents from ``batch_index`` on; negative counts from the end."""
        latents = samples["samples"]
        count = latents.shape[0]
        chosen = some_of(count, batch_index, length)
        cut = samples | {"samples": latents[chosen].clone()}
        mask = samples.get("noise_mask")
        if mask is not None:
            cut["noise_mask"] = (mask if mask.shape[0] == 1 else cycle(mask, count)[chosen]).clone()
        cut["batch_index"] = samples.get("batch_index", list(range(count)))[chosen]
        return io.NodeOutput(cut)


class LatentCompositeMasked(CoreNode):
    """One batch of latents laid over another at a place, where a mask is 1; x and y are in pixels."""

    @classmethod
    def execute(
        cls,
        destination: Latent,
        source: Latent,
        x: int,
        y: int,
        resize_source: bool,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        """Return the destination with the source over it; what lies beyond its edges is left out."""
        under = destination["samples"].clone()
        over = source["samples"].to(under.device)
        if resize_source:
            over = scale(over, under.shape[-1], under.shape[-2], "bilinear", center=False)
        over = cycle(over, len(under))
        shown = torch.ones_like(over) if mask is None else prepare_mask(mask, over)
        top, left = y // 8, x // 8
        place = under[..., top : top + over.shape[-2], left : left + over.shape[-1]]
        over, shown = (each[..., : place.shape[-2], : place.shape[-1]] for each in (over, shown))
        place.copy_(shown * over + (1 - shown) * place)
        return io.NodeOutput(destination | {"samples": under})


class SetLatentNoiseMask(CoreNode):
    """Where the latent is to be made anew: 1; where it stays: 0."""

    @classmethod
    def execute(cls, samples: Latent, mask: Tensor) -> io.NodeOutput:
        """Attach a mask [N, H, W] as [N, 1, H, W]."""
        return io.NodeOutput(samples | {"noise_mask": mask.reshape(-1, 1, mask.shape[-2], mask.shape[-1])})


class SaveLatent(SavingNode):
    """A ``.latent`` file: safetensors with the workflow in its metadata."""

    @classmethod
    def execute(cls, samples: Latent, filename_prefix: str) -> io.NodeOutput:
        """Save ``samples["samples"]``."""
        check_frames(samples["samples"], "samples")
        new = folders().new_files(filename_prefix)
        name = new.filename("latent")
        tensors = {
            "latent_tensor": samples["samples"].cpu().contiguous(),
            "latent_format_version_0": torch.tensor([]),
        }
        with whole_file(new.folder / name) as part:
            safetensors.torch.save_file(tensors, part, metadata={"prompt": "", **hidden_texts(cls)})
        return io.NodeOutput(
            samples, ui={"latents": [SavedResult(name, new.subfolder, io.FolderType.output)]}
        )


class LoadLatent(LoadingNode):
    """A ``.latent`` file of the input folder."""

    file, kind = "latent", ".latent"

    @classmethod
    def execute(cls, latent: str) -> io.NodeOutput:
        """Load it on the CPU in float32, as ComfyUI does."""
        tensors = _read_latent(folders().existing(latent))
        scale = 1.0 if "latent_format_version_0" in tensors else OLD_FORMAT_SCALE
        return io.NodeOutput({"samples": tensors["latent_tensor"].float() * scale})


def _read_latent(path: Path) -> dict[str, Tensor]:
    """Return a file's tensors, if they are latents that are worked with here, and finite."""
    advice = "save it again with SaveLatent"
    try:
        tensors = safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path.name}: got a file that is no whole safetensors file ({error}); expected latents; {advice}."
        ) from error
    if "latent_tensor" not in tensors:
        raise ValueError(
            f"{path.name}: got {', '.join(list(tensors)[:5]) or 'nothing'}; expected latent_tensor; {advice}."
        )
    latents = tensors["latent_tensor"]
    if latents.ndim != 4 or latents.shape[1] != 4 or not latents.numel() or not latents.is_floating_point():
        raise ValueError(
            f"{path.name}: got latents of shape {list(latents.shape)}, {latents.dtype}; expected [frames, 4, height, "
            "width] of a Stable Diffusion 1.5 model; run a workflow with others in ComfyUI."
        )
    check_frames(latents.float(), path.name)  # float8 has no order
    return tensors


def _repeat(tensor: Tensor, times: int) -> Tensor:
    return tensor.repeat(times, *[1] * (tensor.ndim - 1))
