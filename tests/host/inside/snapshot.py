"""Every function and class of ComfyUI and torch.nn, so that a test can say that none was replaced."""

from __future__ import annotations

import sys
from types import ModuleType

Snapshot = dict[tuple[str, str], object]
WATCHED = ("comfy", "torch.nn", "nodes", "latent_preview", "server", "execution", "folder_paths")


def take_snapshot() -> Snapshot:
    """Return what each name in the watched modules, and in their classes, stands for."""
    found: Snapshot = {}
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType) and name.startswith(WATCHED):
            for key, value in list(vars(module).items()):
                if callable(value):
                    found[name, key] = value
                if isinstance(value, type) and value.__module__ == name:
                    found.update(
                        {
                            (f"{name}.{key}", attribute): member
                            for attribute, member in vars(value).items()
                            if callable(member) or isinstance(member, (classmethod, staticmethod, property))
                        }
                    )
    return found


def replaced(before: Snapshot, after: Snapshot) -> list[tuple[str, str]]:
    """Return the names that stand for something else, or for nothing, now."""
    return [name for name, value in before.items() if after.get(name) is not value]
