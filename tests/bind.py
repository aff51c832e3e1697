"""Binds the import name ``frameloom`` to this checkout, even when another copy is installed.

Every test process runs this file first: pytest's by ``conftest.py``, others by ``runpy``.
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# The root must not be importable: our `nodes/` would shadow ComfyUI's `nodes.py`. `python -m pytest` adds it.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]

_spec = spec_from_file_location("frameloom", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
assert _spec is not None
assert _spec.loader is not None
sys.modules["frameloom"] = module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["frameloom"])
