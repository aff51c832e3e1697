"""Base of the nodes that ComfyUI itself brings: their schemas are the host's own.

``object_info.json`` is an extract of a real ComfyUI 0.33 ``/object_info``, made by ``tools/object_info.py``. A core
node here is a class with the host's name and an ``execute`` with the host's input names; no schema is typed twice.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from ...host import api
from . import io
from .folders import folders


@functools.cache
def stored_object_info() -> dict[str, dict[str, Any]]:
    """Return the extract: node id -> entry of ``/object_info``. Not to be changed."""
    return json.loads(
        resources.files(__name__.rpartition(".")[0]).joinpath("object_info.json").read_text("utf-8")
    )


class CoreNode(io.ComfyNode):
    """A node of ComfyUI. The class has the name of the node; ``execute`` has its inputs as arguments.

    Attributes:
        files: names of the inputs that list model files, with the kind of file.
    """

    files: Mapping[str, str] = {}

    @classmethod
    def choices(cls) -> dict[str, list[str]]:
        """Return the lists that depend on this machine's files: input name -> names that may be chosen."""
        return {name: api.port().list_files(kind) for name, kind in cls.files.items()}

    @classmethod
    def GET_NODE_INFO_V1(cls) -> dict[str, Any]:  # noqa: N802  the host's name
        """Return the stored entry with this machine's lists in it."""
        entry = copy.deepcopy(stored_object_info()[cls.__name__])
        for name, names in cls.choices().items():
            spec = entry["input"]["required"][name]
            if isinstance(spec[0], list):
                spec[0] = names
            else:
                spec[1]["options"] = names
        return entry


class LoadingNode(CoreNode):
    """A node of ComfyUI whose one input is a file of the input folder.

    Attributes:
        file: the input's name.
        kind: kind of file, as ``Folders.inputs_of`` has it.
    """

    file: str
    kind: str

    @classmethod
    def choices(cls) -> dict[str, list[str]]:
        """List the input folder's files."""
        return {cls.file: folders().inputs_of(cls.kind)}

    @classmethod
    def validate_inputs(cls, **given: str) -> bool | str:
        """Say whether the file is there."""
        return folders().why_missing(given[cls.file]) or True


class SavingNode(CoreNode):
    """A node of ComfyUI that writes files whose names begin with ``filename_prefix``."""

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None) -> bool | str:
        """Say whether a file can be written there."""
        return folders().why_unwritable(filename_prefix)
