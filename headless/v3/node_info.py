"""What a node takes and gives, read from its entry of ``/object_info``.

The entry is the one description that both of ComfyUI's node interfaces share. Also here: the inputs that a choice in a
list brings along (``format.codec``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .io import ComfyNode

DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"


@dataclass(frozen=True)
class InputInfo:
    """One input: ``kind`` is the socket's type, ``options`` its limits, default, choices."""

    kind: str
    options: Mapping[str, Any]
    required: bool


@dataclass(frozen=True)
class NodeInfo:
    """One class of nodes."""

    name: str
    node: type[ComfyNode]
    inputs: Mapping[str, InputInfo]
    hidden: Mapping[str, str]
    outputs: tuple[str, ...]
    output_is_list: tuple[bool, ...]
    is_input_list: bool
    is_output_node: bool


def read_node_info(node: type[ComfyNode]) -> NodeInfo:
    """Read a class's entry of ``/object_info``."""
    entry = node.GET_NODE_INFO_V1()
    hidden = entry["input"].get("hidden", {})
    return NodeInfo(
        name=entry["name"],
        node=node,
        inputs=_read_inputs(entry["input"]),
        hidden={name: kind if isinstance(kind, str) else kind[0] for name, kind in hidden.items()},
        outputs=tuple(entry["output"]),
        output_is_list=tuple(entry["output_is_list"]),
        is_input_list=entry["is_input_list"],
        is_output_node=entry["output_node"],
    )


def given_inputs(info: NodeInfo, given: Mapping[str, Any]) -> dict[str, InputInfo]:
    """Return the inputs of one node of a workflow, with those that its choices in lists bring along.

    Args:
        info: the node's class.
        given: the node's inputs in the workflow.
    """
    return _expand(info.inputs, given, "")


def nest(inputs: Mapping[str, InputInfo], values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn ``{"a": "x", "a.b": 1}`` into ``{"a": {"a": "x", "b": 1}}`` where ``a`` is a dynamic list."""
    nested: dict[str, Any] = {}
    for name in sorted(values, key=lambda name: name.count(".")):
        *parents, key = name.split(".")
        place = nested
        for parent in parents:
            place = place[parent]
        place[key] = {key: values[name]} if inputs[name].kind == DYNAMIC_COMBO else values[name]
    return nested


def _read_inputs(table: Mapping[str, Any]) -> dict[str, InputInfo]:
    inputs = {}
    for part in ("required", "optional"):
        for name, (kind, *rest) in table.get(part, {}).items():
            options = rest[0] if rest else {}
            if isinstance(kind, list | tuple):  # how nodes of the older interface write a list of choices
                kind, options = "COMBO", {**options, "options": list(kind)}
            inputs[name] = InputInfo(kind, options, part == "required")
    return inputs


def _expand(inputs: Mapping[str, InputInfo], given: Mapping[str, Any], prefix: str) -> dict[str, InputInfo]:
    expanded = {}
    for name, info in inputs.items():
        full_name = prefix + name
        expanded[full_name] = info
        if info.kind == DYNAMIC_COMBO:
            chosen = [o for o in info.options["options"] if o["key"] == given.get(full_name)]
            for option in chosen:
                expanded |= _expand(_read_inputs(option["inputs"]), given, full_name + ".")
    return expanded
