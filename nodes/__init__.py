"""The graph's vocabulary: one file a family, each node a schema and a short ``execute`` that calls the host's port.

Import a family file only after a host was selected (``host.api.select``); ``node_classes`` does that import.
"""

from __future__ import annotations


def node_classes() -> list[type]:
    """Return every node class of the pack, in the order of the menu."""
    from . import (
        demo,
        foreground,
        language_models,
        layout_conditioning,
        metrics,
        motion,
        motion_path,
        noise,
        zero_shot,
        zero_shot_sampler,
    )

    families = (
        demo,
        motion,
        noise,
        motion_path,
        zero_shot,
        foreground,
        zero_shot_sampler,
        language_models,
        layout_conditioning,
        metrics,
    )
    return [node for family in families for node in family.NODES]
