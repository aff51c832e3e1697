"""ComfyUI's video transformers: what a call of one is given, where its tokens are, and which layers read the prompt.

Each network has arguments of its own, and core hands them to every wrapper as they are, some by place and some by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from inspect import BoundArguments, signature
from math import ceil
from typing import Any

from comfy.ldm.lightricks.model import LTXVModel
from comfy.ldm.wan.model import (
    CameraWanModel,
    VaceWanModel,
    WanI2VCrossAttention,
    WanModel,
    WanT2VCrossAttention,
)
from torch import Tensor, nn

from ....models.errors import HostError
from .cross_attention import OVERRIDE
from .windows import TIME, find_window

# Others of Wan's family lay out their tokens in ways of their own.
_KNOWN = (WanModel, VaceWanModel, CameraWanModel, LTXVModel)


def reads_beside(network: Any) -> bool:
    """Tell whether a network is one whose prompt is read by layers beside its own tokens' attention."""
    return type(network) in _KNOWN


def text_layers(network: Any) -> list[nn.Module]:
    """Return the layers that read the prompt, of a network that has them."""
    if isinstance(network, LTXVModel):
        return [block.attn2 for block in network.transformer_blocks]
    return [
        layer
        for layer in network.modules()
        if isinstance(layer, (WanT2VCrossAttention, WanI2VCrossAttention))
    ]


@dataclass(frozen=True, eq=False)
class VideoCall:
    """One call of a video transformer."""

    network: Any
    given: BoundArguments

    @classmethod
    def of(cls, network: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> VideoCall:
        """Return the call of what a wrapper of the network is given."""
        return cls(network, signature(network.forward).bind(*args, **kwargs))

    @property
    def noisy(self) -> Tensor:
        """Noisy latents, [B, C, T, H, W]."""
        return self.given.arguments["x"]

    @property
    def tokens(self) -> int:
        """Number of tokens of the prompt."""
        return self.given.arguments["context"].shape[1]

    @property
    def options(self) -> dict[str, Any]:
        """ComfyUI's ``transformer_options``."""
        return self.given.arguments["transformer_options"]

    def ask(self, executor: Any, options: dict[str, Any]) -> Any:
        """Call the network, with other options."""
        told = BoundArguments(self.given.signature, {**self.given.arguments, "transformer_options": options})  # type: ignore[arg-type]
        return executor(*told.args, **told.kwargs)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens of a frame."""
        return self._grid(self.noisy)

    @property
    def front(self) -> int:
        """Number of tokens of references before the clip's: Wan's of a picture that ``ref_conv`` reads."""
        given = self._find("reference_latent")
        if getattr(self.network, "ref_conv", None) is None or given is None:
            return 0
        rows, columns = self._grid(given)
        return rows * columns

    def frame_ids(self, latents: int | None) -> tuple[int, ...]:
        """Return the latent frames of the clip that are asked about, in order.

        Guides of LTX, which stand behind them, are left out. What VACE takes as references comes before the clip, and
        has its first frame's number.

        Args:
            latents: number of latent frames of the clip; None: it is not known.

        Raises:
            HostError: another number of them is sampled.
        """
        rows, columns = self.grid
        guides = self._find("keyframe_idxs")
        own = self.noisy.shape[TIME] - (0 if guides is None else guides.shape[2] // (rows * columns))
        window = find_window(self.options, own, TIME)
        total = own if window is None else self.options["context_window"].total_frames
        lead = 0 if latents is None else total - latents
        if lead and not (lead > 0 and isinstance(self.network, VaceWanModel)):
            raise HostError(
                f"latent: got {total} latent frames; expected {latents}, those of the frames that prompts or boxes are "
                "laid out over; set the latent's length to that number of frames."
            )
        return tuple(max(each - lead, 0) for each in window or range(own))

    def _find(self, name: str) -> Tensor | None:
        return {**self.given.arguments.get("kwargs", {}), **self.given.arguments}.get(name)

    def _grid(self, latents: Tensor) -> tuple[int, int]:
        rows, columns = getattr(self.network, "patch_size", (1, 1, 1))[-2:]
        return ceil(latents.shape[-2] / rows), ceil(latents.shape[-1] / columns)


class PromptAttention(ABC):
    """Attention of one model call, as ComfyUI's override of it; it knows when a layer that reads the prompt is at work.

    ``attend`` says what is done there, and sets ``asked``. It asks the override that was found, where there is one.
    """

    def __init__(self, call: VideoCall) -> None:
        """Take the call."""
        self._call = call
        self._earlier = call.options.get(OVERRIDE)
        self._inside = False
        self.asked = False

    @abstractmethod
    def attend(self, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Attend; ComfyUI's override of attention."""

    def ask(self, executor: Any, user: str, advice: str) -> Any:
        """Call the network with this override.

        Args:
            executor: ComfyUI's, which calls the network.
            user: word for what is done to attention, for the error.
            advice: further advice to the user, for the error.

        Raises:
            HostError: no layer that reads the prompt asked for it.
        """
        with ExitStack() as after:
            for layer in text_layers(self._call.network):
                after.callback(layer.register_forward_pre_hook(lambda *_: self._notice(True)).remove)
                after.callback(layer.register_forward_hook(lambda *_: self._notice(False)).remove)
            answer = self._call.ask(executor, {**self._call.options, OVERRIDE: self.attend})
        if not self.asked:
            raise HostError(
                f"{user}: the model's attention to its prompt was replaced by a node that does not go through "
                f"ComfyUI's attention options; expected it to; take that node (NAG, say) out of the model{advice}."
            )
        return answer

    def _notice(self, inside: bool) -> None:
        self._inside = inside
