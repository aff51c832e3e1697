"""The graph's vocabulary: one file a family, each node a schema and a short ``execute`` that calls the host's port.

Import a family file only after a host was selected (``host.api.select``); ``node_classes`` does that import.
"""

from __future__ import annotations


def node_classes() -> list[type]:
    """Return every node class of the pack, in the order of the menu."""
    from . import (
        context_windows,
        decode_to_video,
        demo,
        foreground,
        free_init,
        free_noise,
        layout_conditioning,
        layout_pictures,
        layout_plan,
        layout_prior,
        layout_text,
        llm_endpoint,
        local_llm,
        metrics,
        motion,
        motion_path,
        noise,
        nuwa,
        nuwa_plan,
        prompt_travel,
        save_motion,
        scene_start,
        scenes,
        train_layout_prior,
        train_motion,
        video_dataset,
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
        llm_endpoint,
        local_llm,
        layout_plan,
        layout_text,
        layout_prior,
        layout_pictures,
        scenes,
        scene_start,
        layout_conditioning,
        prompt_travel,
        context_windows,
        free_noise,
        free_init,
        nuwa_plan,
        nuwa,
        decode_to_video,
        train_layout_prior,
        video_dataset,
        train_motion,
        save_motion,
        metrics,
    )
    return [node for family in families for node in family.NODES]
