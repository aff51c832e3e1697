"""The selected host as what it is here: core nodes may ask more of it than the port has."""

from __future__ import annotations

from typing import cast

from ...host import api
from ..port import HeadlessHost


def engine() -> HeadlessHost:
    """Return the headless host."""
    return cast(HeadlessHost, api.port())
