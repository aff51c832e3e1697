"""Words on the node that is running, in the editor."""

from __future__ import annotations

import server
from comfy_execution.utils import get_executing_context


def show_text(text: str) -> None:
    """Show a text on the node that is running, as core's own nodes show their progress; nothing without a server."""
    running, live = get_executing_context(), getattr(server.PromptServer, "instance", None)
    if running is not None and live is not None:
        live.send_progress_text(text, running.node_id)
