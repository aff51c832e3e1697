"""Which family a model, a text encoder, a VAE or a latent is of, and what to say where it won't do.

Most techniques here are for Stable Diffusion 1.x, whose UNet takes the frames of a clip as a batch of pictures. Video
models have time as an axis of its own, so such a technique fails on them far from its cause, or does nothing. The host
says what something is (``host.contract.Host.family``); what it is good for is said here, before anything is sampled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from torch import Tensor

from .time_law import TimeLaw

Makes = Literal["pictures", "video", "sound", "shapes", "pictures or video"]

# What does the work of an edit on a model of video, by its seam. The names are those of core nodes.
INSTEAD = {
    "slots": "sample without Apply Motion Module, since a video model moves by itself",
    "skips": "take this node out, since a video model has no way down and up that skips join",
    "input": "use core's node for a first frame of the family, such as WanFirstLastFrameToVideo",
    "residuals": "use core's node for a first frame of the family, such as WanFirstLastFrameToVideo",
    "schedule": "sample without this node, since a video model moves by itself",
    "observe": "make the mask with a segmenter, and connect it to mask",
    "self_attention": "take this node out, since in a video model all frames read each other",
    "merge": "take this node out, since in a video model all frames read each other",
    "between": "use core's Conditioning (Set Mask) with a mask for each frame of the latent",
    "cross_attention": "use core's Conditioning (Set Mask) with a mask for each frame of the latent",
    "conditions": "use core's Conditioning (Set Mask) with a mask for each frame of the latent",
    "guide": "use core's Conditioning (Set Mask) with a mask for each frame of the latent",
    "noise": "use the freenoise of core's context windows",
    "cfg": "take this node out and set the sampler's cfg, since core has one guidance for all frames of a video model",
    "chunks": "sample without Apply Motion Module, since a video model moves by itself",
    "temporal_attention": "use core's nodes for the camera of a video model, such as WanCameraEmbedding",
    "time": "use the freenoise of core's context windows",
    "run": "take this node out, since FreeInit mends a fault of Stable Diffusion's noise schedule",
    "result": "take this node out, since it mends what techniques of Stable Diffusion do to a clip",
    "grid": "use a model of pictures, since RAVE lays frames into them",
    "windows": "use core's Context Windows (Manual) with dim 2, or its node for the family, such as WAN Context "
    "Windows",
}
BESIDE_NETWORKS = frozenset({"windows", "cfg", "grid"})
"""Seams that any model offers which takes the frames of a clip as a batch of pictures."""
ONLY_SD1 = frozenset({"input", "residuals", "temporal_attention", "between"})
"""Seams of techniques whose weights were trained beside Stable Diffusion 1.x alone; SDXL's UNet offers all others."""
LOAD_SD1 = "load an SD1.5 checkpoint or the demo model"
LOAD_UNET = "load an SD1.5 or SDXL checkpoint, or the demo model"


@dataclass(frozen=True, slots=True)
class Family:
    """What a model, a text encoder or a VAE belongs to."""

    name: str  # name that people call it by
    makes: Makes = "pictures"
    channels: int = 0  # channels of its latents; 0: not known
    tokens: int = 0  # width of the text that a model reads; 0: not known
    is_sd1: bool = (
        False  # True: the network is Stable Diffusion 1.x's or 2.x's UNet, with its slots and levels
    )
    is_sdxl: bool = False  # True: the network is SDXL's UNet, with its slots and levels
    law: TimeLaw | None = None  # time law of a model of video; None: of pictures, or not known
    reads_beside: bool = False  # True: layers beside those among its own tokens read its prompt

    def offers(self, seam: str) -> bool:
        """Tell whether edits may change a seam: all of Stable Diffusion 1.x; of other models, some."""
        if self.law is not None:
            return seam == "windows" or (seam == "cross_attention" and self.reads_beside)
        beside = seam in BESIDE_NETWORKS and self.makes == "pictures"
        return self.is_sd1 or beside or (self.is_sdxl and seam not in ONLY_SD1)

    def __str__(self) -> str:
        """Return what errors say of it."""
        return f"{self.name}, which makes {self.makes}"


def check_offered(family: Family, seams: Iterable[str], user: str) -> None:
    """Check that a model offers the seams that something, by its name, is to change.

    Raises:
        ValueError: it lacks one.
    """
    refused = sorted((seam for seam in seams if not family.offers(seam)), key=list(INSTEAD).index)
    if refused == ["cross_attention"] and family.makes == "video":
        raise ValueError(
            f"model: got {family}; expected Stable Diffusion 1.x, SDXL, Wan or LTX-Video, whose attention to the "
            f"prompt {user} changes; {INSTEAD['cross_attention']}, or {LOAD_UNET}."
        )
    if BESIDE_NETWORKS.issuperset(refused) and refused:
        check_makes_pictures(family, user, INSTEAD[refused[0]])
    elif refused:
        wanted, load = "Stable Diffusion 1.x or SDXL", LOAD_UNET
        if ONLY_SD1.intersection(refused):
            wanted, load = "Stable Diffusion 1.x", LOAD_SD1
        _refuse(family, wanted, user, INSTEAD[refused[0]], load)


def check_has_slots(family: Family, user: str, instead: str) -> None:
    """Check that a model has temporal slots: Stable Diffusion 1.x, SDXL, or one of their shape.

    Args:
        family: family of the model.
        user: name of what needs it.
        instead: advice for a model of video.

    Raises:
        ValueError: it is another.
    """
    if not (family.is_sd1 or family.is_sdxl):
        _refuse(family, "Stable Diffusion 1.x or SDXL", user, instead, LOAD_UNET)


def _refuse(family: Family, wanted: str, user: str, instead: str, load: str) -> None:
    advice = f"{instead}, or {load}" if family.makes == "video" else load
    raise ValueError(
        f"model: got {family}; expected {wanted}, since {user} changes layers of its UNet; {advice}."
    )


def check_reads_beside(family: Family, user: str, what: str) -> None:
    """Check that each frame may have a prompt of its own.

    Each picture has; in a model of video each place has, where layers beside its own tokens read the prompt.

    Raises:
        ValueError: the model reads one prompt for the whole clip, or is not known.
    """
    if family.makes == "pictures" or (family.law is not None and family.reads_beside):
        return
    if what == "clip" and family.makes == "video":
        raise ValueError(
            f"clip: got {family}; expected the model too, which says how many frames one of its latents stands for, "
            "and whether it can read prompts by frame; connect the model to model."
        )
    instead = "use core's Context Windows (Manual) with a prompt for each part of the clip, and split_conds_to_windows"
    if family.makes == "video":
        raise ValueError(
            f"{what}: got {family}; expected one that makes pictures (SD1.5, SDXL, Flux), or Wan or LTX-Video, whose "
            f"places read the prompt each by itself, so that {user} can give each frame its own; {instead}."
        )
    check_makes_pictures(family, user, instead, what)


def check_makes_pictures(family: Family, user: str, instead: str, what: str = "model") -> None:
    """Check that something has a batch of pictures for the frames of a clip.

    Args:
        family: family of the model, or of what was given in its place.
        user: name of what needs it.
        instead: advice for a model of video.
        what: name of the input.

    Raises:
        ValueError: it has time as an axis of its own, or makes no pictures.
    """
    if family.makes != "pictures":
        advice = {
            "video": f"{instead}, or {LOAD_SD1}",
            "pictures or video": "connect the model, which tells, to model",
        }.get(family.makes, LOAD_SD1)
        raise ValueError(
            f"{what}: got {family}; expected one that makes pictures (SD1.5, SDXL, Flux), since {user} takes the "
            f"frames of a clip as a batch of pictures; {advice}."
        )


def law_of(family: Family) -> TimeLaw:
    """Return the time law of a model: a latent frame is a frame, where it makes pictures.

    Raises:
        ValueError: it is another model, of which the law is not known.
    """
    if family.law is None and family.makes != "pictures":
        raise ValueError(
            f"model: got {family}, whose latent frames are not known here; expected one that makes pictures, or Wan, "
            "LTX-Video, HunyuanVideo or CogVideoX; leave model unconnected for a mask for each frame."
        )
    return family.law or TimeLaw()


def check_channels(family: Family, samples: Tensor, what: str = "latent") -> None:
    """Check that the latents of an input, [F, C, H, W], are of a model's or a VAE's kind.

    Raises:
        ValueError: they have another number of channels.
    """
    if family.channels and samples.shape[1] != family.channels:
        empty = "Empty SD3 Latent Image" if family.channels == 16 else "Empty Latent Image"
        raise ValueError(
            f"{what}: got {samples.shape[1]} channels; expected {family.channels}, as {family.name} has them; take a "
            f"latent that this model or VAE made, or an empty one of its kind (core's {empty})."
        )


def check_vae(vae: Family, model: Family) -> None:
    """Check that a VAE has the latents of a model.

    Raises:
        ValueError: its latents have another number of channels, or other axes.
    """
    if (vae.channels, vae.makes) != (model.channels, model.makes):
        raise ValueError(
            f"vae: got {vae}, of {vae.channels} channels; expected one for {model}, of {model.channels}; load the VAE "
            "of this model."
        )


def refuse_ends(family: Family, why: str) -> NoReturn:
    """Refuse a model that can't draw a clip between two pictures.

    Args:
        family: family of the model.
        why: words that follow its name and "which".

    Raises:
        ValueError: always.
    """
    own = "use Nuwa Interpolate with this one, or " if family.makes == "pictures" else ""
    raise ValueError(
        f"model: got {family.name}, which {why}; expected one that takes a first and a last picture, in ComfyUI: Wan "
        f"2.1 or 2.2 14B image to video (FLF2V, Fun InP), Wan VACE or LTX-Video; {own}load one of these."
    )


def check_tokens(family: Family, conditioning: Sequence[Any], what: str) -> None:
    """Check that the prompts of an input, a CONDITIONING, were encoded for a model.

    Raises:
        ValueError: their tokens have another width.
    """
    for tokens, _ in conditioning:
        if family.tokens and tokens is not None and tokens.shape[-1] != family.tokens:
            raise ValueError(
                f"{what}: got prompts whose tokens are {tokens.shape[-1]:,} wide; expected {family.tokens:,}, as "
                f"{family.name} reads them; encode the prompt with the CLIP of this model's own checkpoint."
            )
