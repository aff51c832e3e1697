"""A graph as JSON again, in the form that it came in. What was read stays as it was; changes are made on copies."""

from __future__ import annotations

from typing import Any

from ..files.json_text import as_object
from .editor import write_scope
from .graph import Graph, Link, Node
from .targets import TARGETS


def write_graphs(value: Any, graphs: list[Graph], note: str) -> dict[str, Any]:
    """Return a workflow with its graphs as they are now.

    Args:
        value: workflow that the graphs were read from.
        graphs: graphs, the first of which is no subgraph.
        note: text in Markdown that the editor shows beside the graph; "" for none.
    """
    first, inner = graphs[0], graphs[1:]
    if not first.is_editor:
        return {node.id: _api_node(node) for node in first.nodes.values()}
    written = write_scope(first, note)
    if inner:
        definitions = as_object(value["definitions"]) or {}
        written["definitions"] = definitions | {"subgraphs": [write_scope(each, "") for each in inner]}
    return written


def _api_node(node: Node) -> dict[str, Any]:
    inputs = {name: _api_value(each) for name, each in node.inputs.items()}
    if node.raw is not None:
        return node.raw | {"inputs": inputs}
    return {"inputs": inputs, "class_type": node.kind, "_meta": {"title": TARGETS[node.kind].title}}


def _api_value(value: Any) -> Any:
    return [value.node, value.slot] if isinstance(value, Link) else value
