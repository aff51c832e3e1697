"""A deadline for each test of this room: a text must not keep a reader busy for ever."""

from __future__ import annotations

import faulthandler

import pytest


@pytest.fixture(autouse=True)
def deadline():
    """End the run with a traceback after ten minutes."""
    faulthandler.dump_traceback_later(600, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
