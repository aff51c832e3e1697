"""Torch's hooks on the UNet's layers, for the places that no patch of ComfyUI reaches, while a model call is on.

Nothing of ours is in a model between calls: what other packs put into it, take out or leave behind finds it as
ComfyUI made it, and no clone that is dropped or loaded takes away what another one needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

from torch import nn
from torch.utils.hooks import RemovableHandle

from ....models.network.unet import UNetSize
from . import slots
from .live import Live

# The model call that is on; of one within another, the inner one.
_live: ContextVar[Live | None] = ContextVar("frameloom_live", default=None)
# Networks that have hooks now: a call within a call adds none.
_hooked: ContextVar[tuple[nn.Module, ...]] = ContextVar("frameloom_hooked", default=())


def hook(unet: nn.Module, size: UNetSize, *, over_clip: bool) -> Iterator[RemovableHandle]:
    """Let a UNet's layers do what the model call that is on says, until the handles are removed.

    Args:
        unet: the network.
        size: sizes of the network.
        over_clip: True if calls may want norms over the clip.

    Yields:
        Handles of the hooks.
    """
    yield from slots.hook_slots(unet, size, _live.get)
    if over_clip:
        yield from slots.hook_norms(unet, _live.get)


@contextmanager
def telling(live: Live) -> Iterator[None]:
    """Have a model call on while the context lasts, in a UNet that has its hooks."""
    token = _live.set(live)
    try:
        yield
    finally:
        _live.reset(token)


@contextmanager
def at_work(live: Live) -> Iterator[None]:
    """Have a model call on while the context lasts; its UNet has hooks as long, if something acts in its slots."""
    with ExitStack() as after:
        after.enter_context(telling(live))
        if live.active.acts_at("slots") and live.unet not in _hooked.get():
            after.callback(_hooked.reset, _hooked.set((*_hooked.get(), live.unet)))
            for handle in hook(live.unet, live.size, over_clip=live.active.norm_frames > 1):
                after.callback(handle.remove)
        yield
