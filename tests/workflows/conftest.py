"""Schemas without a host: the stand-in, selected for the length of a test."""

from __future__ import annotations

import pytest
from frameloom.host import api
from frameloom.tools.schemas import schemas


@pytest.fixture
def known(monkeypatch):
    """Every node's entry of /object_info."""
    monkeypatch.setattr(api, "_selected", {})
    return schemas()
