"""The port's smaller promises, by ComfyUI."""

from __future__ import annotations

import pytest


def test_an_unknown_kind_of_file_is_named(port):
    with pytest.raises(ValueError, match="'no_such_kind'"):
        port.list_files("no_such_kind")
