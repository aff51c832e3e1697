"""Node classes over the headless host, with a user's folder of motion files."""

from __future__ import annotations

import pytest
from frameloom.headless import select_host
from frameloom.headless.port import HeadlessHost
from frameloom.host import api
from frameloom.tests.support.motion import save, tiny_lora, tiny_state


@pytest.fixture
def host(tmp_path, monkeypatch):
    """The host, whose user has ``mine.safetensors`` (the demo's sizes, v2), and ``pan`` and ``wide`` motion LoRAs."""
    for folder in ("input", "output", "models/animatediff_models", "models/animatediff_motion_lora"):
        (tmp_path / folder).mkdir(parents=True)
    save(tmp_path / "models/animatediff_models/mine.safetensors", tiny_state())
    save(tmp_path / "models/animatediff_motion_lora/pan.safetensors", tiny_lora())
    save(tmp_path / "models/animatediff_motion_lora/wide.safetensors", tiny_lora(width=64))
    monkeypatch.setattr(api, "_selected", {})
    host = HeadlessHost("cpu", tmp_path / "input", tmp_path / "output", tmp_path / "models")
    select_host(host)
    return host


@pytest.fixture
def nodes(host):
    """Every node class of the pack by its name."""
    from frameloom.nodes import node_classes

    return {node.__name__: node for node in node_classes()}
