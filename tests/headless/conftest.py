"""A headless process as the command makes one, with a port that has folders and a device but no engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from frameloom.headless import select_host
from frameloom.host import api


class FoldersOnly:
    """The part of the port that image, latent and video nodes need."""

    def __init__(self, folder: Path) -> None:
        self.input_dir = folder / "input"
        self.output_dir = folder / "output"
        self.input_dir.mkdir()

    def compute_device(self) -> torch.device:
        return torch.device("cpu")

    def check_interrupt(self) -> None:
        pass


@pytest.fixture
def no_host(monkeypatch):
    """No host is selected at the start of the test, whatever other tests selected."""
    monkeypatch.setattr(api, "_selected", {})


@pytest.fixture
def port(tmp_path, no_host):
    port = FoldersOnly(tmp_path)
    select_host(port)
    return port
