"""For each test of this room: a deadline, since a text must not keep a reader busy for ever; and quick servers."""

from __future__ import annotations

import faulthandler

import pytest
from frameloom.language.llm import endpoint


@pytest.fixture(autouse=True)
def deadline():
    """End the run with a traceback after ten minutes."""
    faulthandler.dump_traceback_later(600, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Ask a busy server again at once, and remember no dialect of another test's server."""
    monkeypatch.setattr(endpoint, "BACKOFF", 0.01)
    monkeypatch.setattr(endpoint, "_dialects", {})
