"""What training asks of a host: its frozen UNet as a function that gradients go through, and the module that learns.

Owns what both hosts share of it; where they put the module is theirs, and how it learns is ``training``'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils import checkpoint

from .edits.call import Held
from .edits.edit import Edit
from .motion.checkpoint import MotionWeights, check_fit
from .motion.module import MotionModel
from .motion.pictures import Picture
from .video.schedules import STABLE_DIFFUSION

PredictionType = Literal["eps", "v"]


@dataclass(frozen=True)
class Base:
    """What a trainer must know of a frozen model.

    Attributes:
        prediction_type: quantity that it predicts.
        widths: width of its UNet at every temporal slot, by slot name.
        pooled: width of the pooled text that SDXL's UNet reads beside the tokens; 0: it reads none.
        own_levels: True if its noise levels are others than Stable Diffusion's, as with zero terminal SNR.
    """

    prediction_type: PredictionType
    widths: Mapping[str, int]
    pooled: int = 0
    own_levels: bool = False

    @property
    def is_sdxl(self) -> bool:
        """Whether it is SDXL, whose motion modules have other slots and other norms."""
        return self.pooled > 0


@dataclass(frozen=True)
class Learner:
    """A motion module in training; hosts run it as they run a loaded one.

    Attributes:
        network: module that runs, on the host's device; its weights may be under parametrisations.
        weights: module that it started from.
        picture: picture that it is given, which reads what ``FrozenForward`` is given; None: it has none.
    """

    network: MotionModel
    weights: MotionWeights
    picture: Picture | None = None


@dataclass(frozen=True)
class FrozenForward:
    """A host's UNet as a differentiable function, outside inference mode; its networks are the function's own.

    Attributes:
        unet: network that runs; no weight of it wants a gradient.
        run: function that ``__call__`` calls.
    """

    unet: nn.Module
    run: Callable[..., Tensor]

    def __call__(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        tokens: Tensor,
        given: Held | None = None,
        pooled: Tensor | None = None,
    ) -> Tensor:
        """Return the raw prediction, [B*F, 4, H, W].

        Args:
            noisy: [B*F, 4, H, W], variance preserving.
            timesteps: [B*F].
            tokens: [B*F, L, D]. Prompts; or [B, L, D] where the frames of a video share theirs.
            given: frames that a mask encoder is told of, or latents and affinities for a picture encoder.
            pooled: [B, D]. Pooled text for SDXL, which is told the latents' own size in pixels besides, uncut.
        """
        return self.run(noisy, timesteps, tokens, given, pooled)

    def hash_weights(self) -> str:
        """Return what stands for the UNet's weights, those of LoRAs on it included."""
        return hash_weights(self.unet)


def describe_base(
    prediction_type: PredictionType, widths: Mapping[str, int], channels: int, pooled: int, sigmas: Tensor
) -> Base:
    """Return what a trainer must know of a model.

    Args:
        prediction_type: quantity that it predicts.
        widths: width of its UNet at every temporal slot.
        channels: number of channels that its UNet reads.
        pooled: width of the pooled text that it reads; 0: none.
        sigmas: noise levels of its timesteps, [T], ascending.

    Raises:
        ValueError: it reads more than noisy latents.
    """
    if channels != 4:
        raise ValueError(
            f"model: its UNet reads {channels} channels, as for inpainting (9) or instruct-pix2pix (8); expected 4, "
            "the noisy latents; train on a plain checkpoint: the module fits the others, too."
        )
    usual = STABLE_DIFFUSION.sigmas().to(sigmas)
    is_usual = sigmas.shape == usual.shape and torch.allclose(sigmas, usual, rtol=1e-3)
    return Base(prediction_type, widths, pooled, own_levels=not is_usual)


def check_learner(edits: Sequence[Edit], learner: Learner | None, widths: Mapping[str, int]) -> None:
    """Check that a model with edits can be trained through, with a module that learns in it if there is one.

    Raises:
        ValueError: an edit guides sampling, or is a motion module where one is to learn.
        CheckpointError: what is to learn is for another family of models.
    """
    check_trainable(edits)
    if learner is None:
        return
    check_fit(learner.weights, widths)
    if any(edit.slots is not None for edit in edits):
        raise ValueError(
            "model: got one with a motion module on it; expected the model alone, since the one that learns is put in "
            "by itself; connect what is before Apply Motion Module."
        )


def check_trainable(edits: Sequence[Edit]) -> None:
    """Raise ValueError if one of a model's edits guides sampling or adds to the UNet: nothing trains through that."""
    guiding = [edit.name for edit in edits if edit.guide is not None]
    if guiding:
        raise ValueError(
            f"model: got one with {guiding[0]} on it, which guides sampling; expected a model to train through; take "
            "that node out, or choose another of Layout Conditioning's methods."
        )
    adding = [edit.name for edit in edits if edit.residuals is not None]
    if adding:
        raise ValueError(
            f"model: got one with {adding[0]} on it, which adds to the UNet while it samples; expected a model to "
            "train through; take that node out."
        )


@torch.no_grad()
def hash_weights(network: nn.Module) -> str:
    """Return a SHA-256 of every weight and buffer of a network, with their names."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def recompute(network: Any) -> None:
    """Let a network that is the caller's own forget what it works out, and do it again for gradients.

    Takes time, about half more in all where weights are frozen, and saves memory; numbers stay the same. The second run
    finds the context variables of the first, in whatever thread.

    Args:
        network: module whose ``forward`` is replaced, on this object alone.

    Source:
        Chen et al. 2016, "Training deep nets with sublinear memory cost", https://arxiv.org/abs/1604.06174.
    """
    run = network.forward

    def forget(*args: Any, **options: Any) -> Any:
        options = {name: _own(value) for name, value in options.items()}
        args = tuple(_own(value) for value in args)
        return cast("Any", checkpoint).checkpoint(  # which has no types
            copy_context().run, run, *args, use_reentrant=False, preserve_rng_state=False, **options
        )

    network.forward = forget


def _own(value: Any) -> Any:
    """Copy a dict: ComfyUI writes into its options where it is in the network, and goes on writing."""
    return dict(cast("dict[Any, Any]", value)) if isinstance(value, dict) else value
