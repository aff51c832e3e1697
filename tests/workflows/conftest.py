"""Schemas without a host: the stand-in, selected for the length of a file of tests."""

from __future__ import annotations

import pytest
from frameloom.host import api
from frameloom.tools.schemas import schemas


@pytest.fixture(scope="module")
def known():
    """Every node's entry of /object_info."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "_selected", {})
        yield schemas()
