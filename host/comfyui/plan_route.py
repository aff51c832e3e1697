"""The editor's way to a node's plan before a run: a route that takes numbers and texts, and answers with what to draw.

``POST /frameloom/plan`` takes ``{"node", "values", "linked"}``: a node's id, its widgets' values by their names, and
the names of inputs that have a link, whose values nobody knows yet. It gives the fields of what the node's ``plan``
returns, or ``{"error"}``: with status 200 in the words in which the node refuses what its user wrote, with another one
where the request is no question. It writes no file, reads of one no more than a header, and asks no model.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from comfy_api.latest import io

from ...models.files.json_text import BadJSONError, as_array, as_object, read_json
from ..values import is_socket, refuse_value
from .json_route import JsonRoute

MOST_FRAMES = 10_000  # of a clip whose length is no input of the node
TYPES = {"INT": (int, float), "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool, "COMBO": str}


class BadRequestError(ValueError):
    """A request that is no question. Its words say what was got."""


def plan_route(nodes: Iterable[type[io.ComfyNode]]) -> JsonRoute:
    """Return the route; ``nodes`` without a ``plan`` have none."""
    planned = {node.define_schema().node_id: node for node in nodes if hasattr(node, "plan")}
    return JsonRoute(
        "/frameloom/plan",
        partial(_answer, planned),
        expected='{"node": "Frameloom_...", "values": {"widget": value}, "linked": ["input"]} as JSON',
        most_bytes=8 * 1024 * 1024,
        instead="shorten the text",
    )


def _answer(planned: Mapping[str, Any], body: bytes) -> Any:
    """Return what the editor gets. BadRequestError says what was got in place of a question."""
    try:
        asked = as_object(read_json(body)) or {}
    except BadJSONError as error:
        raise BadRequestError(str(error)) from error
    node, values, linked = asked.get("node"), as_object(asked.get("values")), as_array(asked.get("linked"))
    if not isinstance(node, str) or node not in planned:
        raise BadRequestError(f"node {node!r:.60}, which has no plan")
    if values is None or linked is None:
        raise BadRequestError("no object of values, or no list of inputs with links")
    try:
        return _plan(planned[node], values, linked)
    except BadRequestError:
        raise
    except ValueError as error:
        return {"error": str(error)}


def _plan(node: Any, values: Mapping[str, Any], linked: Sequence[Any]) -> Any:
    """Return a node's plan; ValueError says what its user should change."""
    inputs = {each.id: each for each in node.define_schema().inputs}
    inputs.setdefault("frames", io.Int.Input("frames", min=1, max=MOST_FRAMES))
    inputs.setdefault("before", io.String.Input("before"))
    given: dict[str, Any] = {}
    for name in inspect.signature(node.plan).parameters:
        kind = inputs[name].get_io_type()
        if name in linked and not is_socket(kind):
            raise ValueError(f"{name} comes over a link, so the plan is known when the graph runs.")
        if name in linked:
            given[name] = None
        elif not is_socket(kind):
            given[name] = _check(name, kind, inputs[name].as_dict(), values.get(name))
    return node.plan(**given)


def _check(name: str, kind: str, options: Mapping[str, Any], value: Any) -> Any:
    """Return a widget's value, if its schema allows it."""
    if not isinstance(value, TYPES[kind]):
        raise BadRequestError(f"{name} as {type(value).__name__}, which is no {kind}")
    if refused := refuse_value(kind, options, value):
        raise ValueError(f"{name}: got {refused.got}; expected {refused.expected}.")
    return int(value) if kind == "INT" else value
