"""The node that shows a value as text."""

from __future__ import annotations

import json
from typing import Any

from ..v3 import io
from ..v3.core_node import CoreNode


class PreviewAny(CoreNode):
    """A value as text, among what the run shows."""

    @classmethod
    def execute(cls, source: Any = None) -> io.NodeOutput:
        """Show it as ComfyUI does: text as it is, what JSON has as JSON, else as Python prints it."""
        if isinstance(source, str | int | float) or source is None:
            text = str(source)
        else:
            try:
                text = json.dumps(source, indent=4, ensure_ascii=False)
            except (TypeError, ValueError):
                text = str(source)
        return io.NodeOutput(text, ui={"text": [text]})
