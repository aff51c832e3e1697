"""Show a diffusers UNet's cross-attention to an observer, by forward hooks on its projections.

Hooks take what a layer has projected, so nothing is computed twice and the layer's output stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from einops import rearrange
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..models.edit import AttentionObserver, Call
from .shared_attention import attention_layers


def observer_hooks(
    unet: nn.Module, observer: AttentionObserver, current: Callable[[], Call | None]
) -> Iterator[RemovableHandle]:
    """Put an observer's hooks on a UNet.

    Args:
        unet: whose cross-attention it sees, in its levels.
        observer: of an edit.
        current: returns the model call that is being made.

    Yields:
        Each hook's handle, right after the hook was put on.
    """
    for _, level, attention in attention_layers(unet, "attn2"):
        if level in observer.levels:
            keep, show = _hooks(observer, attention.heads, current, level)
            yield attention.to_q.register_forward_hook(keep)
            yield attention.to_k.register_forward_hook(show)


def _hooks(
    observer: AttentionObserver, heads: int, current: Callable[[], Call | None], level: int
) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return hooks for a layer's ``to_q``, which runs first, and ``to_k``."""
    queries: list[Tensor] = []

    def split(tokens: Tensor) -> Tensor:
        return rearrange(tokens, "n l (h d) -> n h l d", h=heads)

    def keep(_module: nn.Module, _inputs: Any, query: Tensor) -> None:
        queries[:] = [query]

    def show(_module: nn.Module, _inputs: Any, key: Tensor) -> None:
        call, query = current(), queries.pop()
        if call is not None:
            observer.see(split(query), split(key), call, level)

    return keep, show
