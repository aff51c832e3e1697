"""A workflow in ComfyUI's API form: read whole and checked whole before anything runs.

Rules and names of errors are those of ComfyUI 0.33's validation. It differs in two ways: every branch must be valid
(the host runs the good ones), and a choice that a dynamic list doesn't have is an error here, not a failed run.
"""

from __future__ import annotations

import graphlib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...host.values import Refusal, is_socket, refuse_literal, refuse_value, show
from ...models.files.json_text import BadJSONError, read_json
from ..v3.core_node import CoreNode
from ..v3.io import ComfyNode, overrides
from ..v3.node_info import DYNAMIC_COMBO, InputInfo, NodeInfo, given_inputs, read_node_info


@dataclass(frozen=True)
class GraphError:
    """One thing wrong. ``kind`` is ComfyUI's error type; ``expected`` is empty where ``got`` says it."""

    kind: str
    got: str
    expected: str
    node_id: str | None = None
    class_type: str | None = None
    input_name: str | None = None

    def __str__(self) -> str:
        """Say it in one line."""
        node = f" node {self.node_id} ({self.class_type})" if self.node_id is not None else " workflow"
        place = f", input {self.input_name}" if self.input_name is not None else ""
        wrong = f"{self.got}, expected {self.expected}" if self.expected else self.got
        return " ".join(f"{self.kind}:{node}{place}: got {wrong}.".split())


class InvalidWorkflowError(ValueError):
    """The workflow can't run; nothing was run."""

    def __init__(self, errors: list[GraphError]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = errors


@dataclass(frozen=True)
class Link:
    """Another node's result."""

    node_id: str
    slot: int


@dataclass(frozen=True)
class GraphNode:
    """One node: ``inputs`` are links and converted values, ``specs`` what is known of each."""

    node_id: str
    class_type: str
    info: NodeInfo
    inputs: Mapping[str, Any]
    specs: Mapping[str, InputInfo]


@dataclass(frozen=True)
class Graph:
    """A valid workflow: the nodes that its outputs need, in an order in which they can run."""

    nodes: Mapping[str, GraphNode]
    outputs: tuple[str, ...]
    prompt: Mapping[str, Any]


def read_workflow(text: str) -> dict[str, Any]:
    """Read API-format JSON: a workflow, the body of a request that queues one, or an entry of ComfyUI's history.

    Raises:
        InvalidWorkflowError: it isn't JSON, or no workflow in ComfyUI's API form.
    """
    try:
        prompt = _prompt_of(read_json(text))
    except BadJSONError as error:
        raise _no_workflow(str(error)) from error
    if isinstance(prompt, dict) and isinstance(prompt.get("nodes"), list):
        raise _no_workflow("a workflow saved by the editor (it has a list of nodes)")
    if not isinstance(prompt, dict):
        raise _no_workflow(type(prompt).__name__)
    return prompt


def _no_workflow(
    got: str, expected: str = 'an object of nodes; in ComfyUI use "Export (API)"'
) -> InvalidWorkflowError:
    return InvalidWorkflowError([GraphError("invalid_prompt", got, expected)])


def _prompt_of(given: Any) -> Any:
    """Return the workflow in what a program sends to ``/prompt``, or gets from ``/history``."""
    if not isinstance(given, dict):
        return given
    entries = [
        each for each in given.values() if isinstance(each, dict) and isinstance(each.get("prompt"), list)
    ]
    if len(entries) > 1:
        raise _no_workflow(f"a history of {len(entries)} runs", "one of them")
    prompt = (entries[0] if entries else given).get("prompt")
    if isinstance(prompt, list):  # number, id, workflow, ...
        return next((each for each in prompt if isinstance(each, dict)), prompt)
    return prompt if isinstance(prompt, dict) and "class_type" not in prompt else given


def check_workflow(prompt: Mapping[str, Any], classes: Iterable[type[ComfyNode]]) -> Graph:
    """Check a workflow against the nodes that exist here.

    Args:
        prompt: node id -> ``{"class_type": ..., "inputs": {...}}``; other keys are ignored.
        classes: the nodes.

    Raises:
        InvalidWorkflowError: with every error found.
    """
    infos = {info.name: info for info in map(read_node_info, classes)}
    _check_classes(prompt, infos)
    outputs = tuple(node_id for node_id, node in prompt.items() if infos[node["class_type"]].is_output_node)
    if not outputs:
        raise InvalidWorkflowError(
            [GraphError("prompt_no_outputs", "no output node", "one, such as SaveImage")]
        )
    nodes: dict[str, GraphNode] = {}
    errors: list[GraphError] = []
    waiting = list(reversed(outputs))
    while waiting:
        node_id = waiting.pop()
        if node_id in nodes:
            continue
        nodes[node_id], refusals = _check_node(node_id, prompt, infos)
        place = node_id, prompt[node_id]["class_type"]
        errors += [GraphError(each.kind, each.got, each.expected, *place, name) for name, each in refusals]
        waiting += [value.node_id for value in nodes[node_id].inputs.values() if isinstance(value, Link)]
    order = _order(nodes, errors)
    if errors:
        raise InvalidWorkflowError(errors)
    return Graph({node_id: nodes[node_id] for node_id in order}, outputs, prompt)


def _check_classes(prompt: Mapping[str, Any], infos: Mapping[str, NodeInfo]) -> None:
    errors: list[GraphError] = []
    for node_id, node in prompt.items():
        if not isinstance(node, dict) or not isinstance(node.get("inputs", {}), dict):
            errors.append(GraphError("invalid_prompt", repr(node)[:60], "class_type and inputs", node_id))
        elif not isinstance(node.get("class_type"), str):
            errors.append(GraphError("missing_node_type", "no class_type", "the node's class", node_id))
        elif node["class_type"] not in infos:
            near = "one of the headless runner's nodes; for others run the workflow in ComfyUI"
            got, name = "a class not known here", node["class_type"]
            errors.append(GraphError("missing_node_type", got, near, node_id, name))
    if errors:
        raise InvalidWorkflowError(errors)


_Refusals = list[tuple[str, Refusal]]
"""What is wrong with a node's inputs, by their names."""


def _check_node(
    node_id: str, prompt: Mapping[str, Any], infos: Mapping[str, NodeInfo]
) -> tuple[GraphNode, _Refusals]:
    info = infos[prompt[node_id]["class_type"]]
    given = prompt[node_id].get("inputs", {})
    specs = given_inputs(info, given)
    validated, takes_all = _validated_names(info.node)
    inputs: dict[str, Any] = {}
    refusals: _Refusals = []
    for name, spec in specs.items():
        if name not in given:
            # A list inside a choice may be absent, as in the host: SaveVideo's `format.codec` and its older `codec`.
            if spec.required and not (spec.kind == DYNAMIC_COMBO and "." in name):
                refusals.append((name, Refusal("required_input_missing", "nothing", f"a {spec.kind}")))
            continue
        if isinstance(given[name], list):
            value = _check_link(given[name], spec, prompt, infos, free="input_types" in validated)
        else:
            limits = name not in validated and not takes_all
            value = _check_value(_unwrap(given[name]), spec, limits=limits)
        if isinstance(value, Refusal):
            refusals.append((name, value))
        else:
            inputs[name] = value
    node = GraphNode(node_id, info.name, info, inputs, specs)
    if not refusals and (validated or takes_all):
        refusals += _check_custom(node, validated, takes_all, infos, prompt)
    if not refusals and not issubclass(info.node, CoreNode):  # ComfyUI's own may take more than they list
        literal = [name for name in validated if name in inputs and not isinstance(inputs[name], Link)]
        checked = ((name, _check_value(inputs[name], specs[name], limits=True)) for name in literal)
        refusals += [(name, value) for name, value in checked if isinstance(value, Refusal)]
    return node, refusals


def _unwrap(value: Any) -> Any:
    """Return a list that is a value, not a link, of ``{"__value__": [...]}``; all else as it is."""
    return value["__value__"] if isinstance(value, dict) and "__value__" in value else value


def _check_link(
    value: list[Any],
    spec: InputInfo,
    prompt: Mapping[str, Any],
    infos: Mapping[str, NodeInfo],
    free: bool,
) -> Link | Refusal:
    pair = "[node id, number of the result]"
    if len(value) != 2 or not isinstance(value[0], str) or not _is_whole(value[1]):
        return Refusal("bad_linked_input", show(value), f"{pair}, or a list as {{'__value__': [...]}}")
    source, slot = value[0], int(value[1])
    if source not in prompt:
        nodes = f"one of the nodes {', '.join(prompt)}"
        return Refusal("bad_linked_input", f"a link to node {source}", nodes)
    source_class = prompt[source]["class_type"]
    kinds = infos[source_class].outputs
    if not 0 <= slot < len(kinds):
        count = f"one of its {len(kinds)} results, counted from 0" if kinds else "a node that has results"
        return Refusal("bad_linked_input", f"result {slot} of node {source} ({source_class})", count)
    if not free and not _fits(kinds[slot], spec.kind):
        got = f"a {kinds[slot]} from node {source} ({source_class})"
        return Refusal("return_type_mismatch", got, f"a {spec.kind}")
    return Link(source, slot)


def _is_whole(slot: Any) -> bool:
    return isinstance(slot, int | float) and slot % 1 == 0  # NaN and infinity leave NaN


def _fits(received: str, wanted: str) -> bool:
    received_kinds, wanted_kinds = (
        {kind.strip() for kind in kinds.split(",")} for kinds in (received, wanted)
    )
    return "*" in received_kinds | wanted_kinds or bool(received_kinds & wanted_kinds)


_CONVERT = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


def _check_value(value: Any, spec: InputInfo, limits: bool) -> Any:
    """Return the value as the node takes it, or a ``Refusal``."""
    if spec.kind in _CONVERT:
        try:
            value = _CONVERT[spec.kind](value)
        except (TypeError, ValueError, OverflowError):
            return Refusal("invalid_input_type", show(value), f"a value that is a {spec.kind}")
    if value is None and spec.required and is_socket(spec.kind):
        return Refusal("required_input_missing", "nothing", f"a {spec.kind}")
    if spec.kind == DYNAMIC_COMBO:
        names = [each["key"] for each in spec.options.get("options", [])]
        return refuse_value("COMBO", {"options": names}, value) or value
    refusal = refuse_literal(spec.kind, value)
    refusal = refusal or refuse_value(spec.kind, spec.options, value, choices=limits)
    return value if refusal is None else refusal


def _validated_names(node: type[ComfyNode]) -> tuple[tuple[str, ...], bool]:
    if not overrides(node, "validate_inputs"):
        return (), False
    parameters = inspect.signature(node.validate_inputs).parameters.values()
    takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters)
    return tuple(each.name for each in parameters if each.kind is not each.VAR_KEYWORD), takes_all


def _check_custom(
    node: GraphNode,
    validated: tuple[str, ...],
    takes_all: bool,
    infos: Mapping[str, NodeInfo],
    prompt: Mapping[str, Any],
) -> _Refusals:
    wanted = {name: value for name, value in node.inputs.items() if takes_all or name in validated}
    arguments = {name: None if isinstance(value, Link) else value for name, value in wanted.items()}
    if "input_types" in validated:
        links = {name: value for name, value in node.inputs.items() if isinstance(value, Link)}
        arguments["input_types"] = {
            name: infos[prompt[link.node_id]["class_type"]].outputs[link.slot] for name, link in links.items()
        }
    answer = node.info.node.validate_inputs(**arguments)
    if answer is True:
        return []
    said = answer if isinstance(answer, str) else "expected values that the node takes"
    got = f"{show(list(wanted.values()))}, {said}".rstrip(".")
    return [(", ".join(wanted), Refusal("custom_validation_failed", got, ""))]


def _order(nodes: Mapping[str, GraphNode], errors: list[GraphError]) -> list[str]:
    sources = {
        node_id: [value.node_id for value in node.inputs.values() if isinstance(value, Link)]
        for node_id, node in nodes.items()
    }
    try:
        return list(graphlib.TopologicalSorter(sources).static_order())
    except graphlib.CycleError as error:
        circle = error.args[1]  # each gives to the next; the first comes again at the end
        path = " -> ".join(f"{node_id} ({nodes[node_id].class_type})" for node_id in circle)
        first = circle[0]
        names = [
            name
            for name, value in nodes[first].inputs.items()
            if isinstance(value, Link) and value.node_id == circle[-2]
        ]
        got, expected = f"the cycle {path}", "links that never lead back"
        place = first, nodes[first].class_type, names[0]
        errors.append(GraphError("dependency_cycle", got, expected, *place))
        return []
