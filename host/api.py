"""ComfyUI's V3 names for node files, whichever host runs them: ``io``, ``ui``, ``ComfyExtension``, and the port.

The entry point of a process selects its host once, before any node file is imported: ``comfy_entrypoint`` in ComfyUI,
our CLI headless. Node files then say ``from ..host import api`` and use ``api.io``.
"""

from __future__ import annotations

from typing import Any

from .contract import Host

_selected: dict[str, Any] = {}


def select(*, io: Any, ui: Any, extension: type, port: Host) -> None:
    """Choose this process's host.

    Args:
        io: module with ComfyUI's V3 ``io`` names.
        ui: module with ComfyUI's V3 ``ui`` names.
        extension: base class of the pack's extension.
        port: the host.

    Raises:
        RuntimeError: another host was selected before; node classes already hold its types.
    """
    if _selected and _selected["port"] is not port:
        raise RuntimeError(
            f"host is {type(port).__name__}, but this process runs on {type(_selected['port']).__name__} already; "
            "use one process per host."
        )
    _selected.update(io=io, ui=ui, ComfyExtension=extension, port=port)


def port() -> Host:
    """Return the selected host."""
    return __getattr__("port_object")


def __getattr__(name: str) -> Any:
    key = "port" if name == "port_object" else name
    if key not in ("io", "ui", "ComfyExtension", "port"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _selected:
        raise RuntimeError(
            "no host is selected: node files are imported by a host; run inside ComfyUI, or through the command "
            "`frameloom`."
        )
    return _selected[key]
