"""Every number that a node takes, and values that none of them may have; read from nodes' schemas."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

NUMBERS = ("INT", "FLOAT", "FLOAT,INT")


def inputs_of(node: type) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return a node's inputs by name: type and options, as ``/object_info`` has them."""
    table = node.GET_NODE_INFO_V1()["input"]
    found = {}
    for part in ("required", "optional"):
        for name, (kind, *rest) in table.get(part, {}).items():
            options = rest[0] if rest else {}
            found[name] = ("COMBO", {"options": kind}) if isinstance(kind, list) else (kind, options)
    return found


def is_number(kind: str) -> bool:
    """Tell whether an input is a number's."""
    return kind in NUMBERS


def bad_numbers(nodes: Iterable[type]) -> Iterator[tuple[type, str, Any]]:
    """Yield a node, an input's name and a value that it may not have: for every number of every node."""
    for node in nodes:
        for name, (kind, options) in inputs_of(node).items():
            if is_number(kind):
                wrong = [math.nan, math.inf, -math.inf, options["min"] - 1, options["max"] + 1]
                yield from ((node, name, value) for value in wrong)


def widget_values(node: type) -> Mapping[str, Any]:
    """Return a value of every widget of a node, which it may have by its schema; a list without names has ''."""
    values: dict[str, Any] = {}
    for name, (kind, options) in inputs_of(node).items():
        if kind in (*NUMBERS, "BOOLEAN", "STRING"):
            values[name] = options.get("default", "" if kind == "STRING" else options.get("min", 0))
        elif kind == "COMBO":
            values[name] = options.get("default") or next(iter(options["options"]), "")
    return values


def sockets_of(node: type) -> dict[str, str]:
    """Return the inputs of a node that take links alone, with their types."""
    widgets = (*NUMBERS, "BOOLEAN", "STRING", "COMBO", "COMFY_DYNAMICCOMBO_V3", "*")
    return {name: kind for name, (kind, _) in inputs_of(node).items() if kind not in widgets}


def workflow_of(node: type, class_type: str, /, **inputs: Any) -> dict[str, Any]:
    """Return a workflow of one node, whose widgets have their defaults and whose needed sockets links to node 0."""
    needed = node.GET_NODE_INFO_V1()["input"].get("required", {})
    links = {socket: ["0", 0] for socket in sockets_of(node) if socket in needed}
    return {
        "0": {"class_type": "Source", "inputs": {}},
        "1": {"class_type": class_type, "inputs": {**widget_values(node), **links, **inputs}},
    }


def run_node(name: str, **inputs: Any) -> Any:
    """Return the first output of a node, by its class's name; widgets that are not given have their defaults."""
    from frameloom.nodes import node_classes

    (node,) = (each for each in node_classes() if each.__name__ == name)
    return node.execute(**(dict(widget_values(node)) | inputs))[0]
