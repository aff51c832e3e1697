"""A layer of attention of SD1.x's UNet, for tests that need no network."""

from __future__ import annotations

from frameloom.models.network.unet import SD1


def at_level(level):
    """The first layer of a level."""
    return next(layer for layer in SD1.layers if layer.level == level)
