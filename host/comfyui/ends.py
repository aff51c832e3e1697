"""The first and the last picture of a clip as conditions of a model of video: for each family, core's own node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import nodes

from ...models.errors import HostError
from ...models.network.family import refuse_ends
from ...models.video.shapes import Images
from ..contract import ClipEnds, Conditioning, Latent
from .load.family import family_of

_MASK = 4  # channels of Wan's mask of given frames, beside those of their latents
Given = tuple[Conditioning, Conditioning, Latent]


@dataclass(frozen=True)
class FirstLastFrame:
    """Wan with further channels: an encoded clip that is grey between the ends, and a mask."""

    side: int
    vae: Any
    views: dict[str, Any]  # what looks at the first and the last picture, by core's names: start, end
    name: str = "WanFirstLastFrameToVideo"

    def __call__(self, positive: Conditioning, negative: Conditioning, ends: Images, length: int) -> Given:
        """Give a clip its ends."""
        pictures = {"start": ends[:1], "end": ends[1:]}
        seen = {
            f"clip_vision_{place}_image": _run(
                "CLIPVisionEncode", clip_vision=clip_vision, image=pictures[place], crop="none"
            )[0]
            for place, clip_vision in self.views.items()
        }
        return _run(
            self.name, positive=positive, negative=negative, vae=self.vae, length=length, batch_size=1,
            start_image=ends[:1], end_image=ends[1:], **_size(ends), **seen,
        )[:3]  # fmt: skip


@dataclass(frozen=True)
class Vace:
    """VACE: a control clip that is grey between the ends, and a mask of what is to be made."""

    side: int
    vae: Any
    name: str = "WanVaceToVideo"

    def __call__(self, positive: Conditioning, negative: Conditioning, ends: Images, length: int) -> Given:
        """Give a clip its ends."""
        pictures = torch.full((length, *ends.shape[1:]), 0.5)
        pictures[[0, -1]] = ends.to(pictures)
        masks = torch.ones(pictures.shape[:3])
        masks[[0, -1]] = 0
        return _run(
            self.name, positive=positive, negative=negative, vae=self.vae, length=length, batch_size=1,
            strength=1.0, control_video=pictures, control_masks=masks, **_size(ends),
        )[:3]  # fmt: skip


@dataclass(frozen=True)
class Guides:
    """LTX-Video: guides, which are latent frames behind the clip's that say when they are."""

    side: int
    vae: Any
    name: str = "LTXVAddGuide"

    def __call__(self, positive: Conditioning, negative: Conditioning, ends: Images, length: int) -> Given:
        """Give a clip its ends."""
        (latent,) = _run("EmptyLTXVLatentVideo", length=length, batch_size=1, **_size(ends))
        for frame, picture in ((0, ends[:1]), (-1, ends[1:])):
            positive, negative, latent = _run(
                self.name, positive=positive, negative=negative, vae=self.vae, latent=latent,
                image=picture, frame_idx=frame, strength=1.0,
            )[:3]  # fmt: skip
        return positive, negative, latent


def clip_ends(model: Any, vae: Any, clip_vision: Any = None) -> ClipEnds:
    """Return what ``contract.Host.clip_ends`` says."""
    family, network = family_of(model), model.model.diffusion_model
    kind = next((base for base in type(model.model).__mro__ if base.__module__ == "comfy.model_base"), None)
    name = "" if kind is None else kind.__name__
    if name == "WAN22":
        refuse_ends(family, "takes a first picture and no last one")
    if name == "WAN21":
        beside = network.patch_embedding.weight.shape[1] - family.channels
        if beside == 0:
            refuse_ends(family, "was trained for text to video, and takes no picture")
        if beside != family.channels + _MASK:
            refuse_ends(
                family, f"takes {beside} channels beside its own, which are no first and last picture"
            )
        return FirstLastFrame(_side(network, vae), vae, _views(network, family.name, clip_vision))
    if name in _WAYS:
        return _WAYS[name](_side(network, vae), vae)
    refuse_ends(family, "is not known here to take a first and a last picture")


def _views(network: Any, family: str, clip_vision: Any) -> dict[str, Any]:
    """Return what looks at the pictures, for a network that reads what it sees: FLF2V of both, others of the first."""
    if network.img_emb is None:
        return {}
    if clip_vision is None:
        raise ValueError(
            f"clip_vision: got none; expected one, since this {family} has layers that read what CLIP sees in the "
            "pictures (Wan 2.1's image to video has; Wan 2.2's has not); connect core's Load CLIP Vision with "
            "clip_vision_h.safetensors."
        )
    places = ("start",) if network.img_emb.emb_pos is None else ("start", "end")
    return dict.fromkeys(places, clip_vision)


def _side(network: Any, vae: Any) -> int:
    """Return what the sides of pictures must be a multiple of."""
    return vae.spacial_compression_encode() * getattr(network, "patch_size", (1, 1, 1))[-1]


def _size(pictures: Tensor) -> dict[str, int]:
    return {"height": pictures.shape[1], "width": pictures.shape[2]}


def _run(node_id: str, **inputs: Any) -> tuple[Any, ...]:
    """Return the outputs of one of core's nodes."""
    node = nodes.NODE_CLASS_MAPPINGS.get(node_id)  # pyright: ignore[reportAttributeAccessIssue]
    if node is None:
        raise HostError(
            f"{node_id}: this ComfyUI has no such node; expected core's; start it with all of its own nodes, or "
            "update it."
        )
    found = getattr(node(), node.FUNCTION)(**inputs)
    return getattr(found, "args", found)


_WAYS = {"WAN21_Vace": Vace, "LTXV": Guides}
