"""Tests of ComfyUI's side alone. What both hosts must do stands in tests/contract."""

from frameloom.tests.support.host_in_comfyui import (
    as_in_a_node,
    before,
    demo,
    kind_folder,
    motion,
    port,
    scene,
)

__all__ = ["as_in_a_node", "before", "demo", "kind_folder", "motion", "port", "scene"]
