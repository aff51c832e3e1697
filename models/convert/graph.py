"""A workflow as nodes and links, whatever form it came in.

In API form inputs have names. The editor's file has sockets with links, and values of widgets by place, whose names
``tables`` knows. Of nodes that it does not know, values stay unread, and so unchanged.
"""

from __future__ import annotations

import graphlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ..files.json_text import as_array, as_object
from .tables import name_values

MUTED, BYPASSED = 2, 4  # the editor's modes
REROUTES = ("Reroute", "ReroutePrimitive|pysssss", "Reroute (rgthree)")
SET, GET = "SetNode", "GetNode"
CONSTANTS = (
    "PrimitiveNode",
    "PrimitiveInt",
    "PrimitiveFloat",
    "PrimitiveString",
    "INTConstant",
    "FloatConstant",
)
INPUTS, OUTPUTS = "-10", "-20"  # the two ends of a subgraph
MOST_NODES = 100_000


class BadGraphError(ValueError):
    """JSON that is no workflow, or one that can't be read. Its words say what was got."""


@dataclass(frozen=True, slots=True)
class Link:
    """A node's result: id of the node, and number of its output."""

    node: str
    slot: int


@dataclass(slots=True)
class Node:
    """One node.

    Attributes:
        id: id in its graph.
        kind: class of the node.
        inputs: a ``Link`` or a value by name.
        title: title that the user gave it, or none.
        mode: the editor's mode; 0 runs.
        types: type of each socket by name, in order; known in the editor's form.
        outputs: type of each output.
        raw: the node as it was read; None for a new one.
        place: id of the node in whose place a new one stands.
    """

    id: str
    kind: str
    inputs: dict[str, Any] = field(default_factory=dict[str, Any])
    title: str = ""
    mode: int = 0
    types: dict[str, str] = field(default_factory=dict[str, str])
    outputs: list[str] = field(default_factory=list[str])
    raw: dict[str, Any] | None = None
    place: str = ""


class Graph:
    """Nodes by id, and who uses what."""

    def __init__(self, raw: dict[str, Any], *, is_editor: bool, name: str = "") -> None:
        """Begin an empty graph.

        Args:
            raw: the JSON that it is read from.
            is_editor: true for the editor's form.
            name: name of the subgraph, or none.
        """
        self.raw, self.is_editor, self.name = raw, is_editor, name
        self.nodes: dict[str, Node] = {}
        self._users: dict[str, set[tuple[int, str, str]]] = {}
        self._next = 0
        self._setters: dict[str, Node] = {}

    def insert(self, node: Node) -> Node:
        """Take in a node with its inputs."""
        self.nodes[node.id] = node
        inputs, node.inputs = node.inputs, {}
        for name, value in inputs.items():
            self.put(node, name, value)
        if node.id.isdecimal():
            self._next = max(self._next, int(node.id))
        return node

    def add(self, kind: str, place: Node, /, **inputs: Any) -> Node:
        """Make a new node in the place of an old one, with its mode; inputs of None are left out."""
        given = {name: value for name, value in inputs.items() if value is not None}
        self._next += 1
        return self.insert(Node(str(self._next), kind, given, mode=place.mode, place=place.id))

    def count_from(self, number: int) -> None:
        """Let ids of new nodes be more than a number."""
        self._next = max(self._next, number)

    def remove(self, node: Node) -> None:
        """Take a node out, and every link from it."""
        for name in list(node.inputs):
            self.put(node, name, None)
        for user, name in self.users(node):
            self.put(user, name, None)
        del self.nodes[node.id]

    def put(self, node: Node, name: str, value: Any) -> None:
        """Set an input to a link or a value; None takes it away."""
        old = node.inputs.pop(name, None)
        if isinstance(old, Link):
            self._users[old.node].discard((old.slot, node.id, name))
        if value is not None:
            node.inputs[name] = value
        if isinstance(value, Link):
            self._users.setdefault(value.node, set()).add((value.slot, node.id, name))

    def rewire(self, old: Link, new: Any) -> None:
        """Give what used one result another, or a value."""
        for slot, user, name in sorted(self._users.get(old.node, ())):
            if slot == old.slot:
                self.put(self.nodes[user], name, new)

    def users(self, node: Node, slot: int | None = None) -> list[tuple[Node, str]]:
        """Return the nodes that use a node's results, or one of them, each with the name of its input."""
        found = sorted(self._users.get(node.id, ()))
        return [(self.nodes[user], name) for at, user, name in found if slot in (None, at)]

    def is_used(self, node: Node) -> bool:
        """Tell whether any node uses a node's results, by a link or by what a Set node keeps."""
        return bool(self._users.get(node.id)) or bool(self.received(node))

    def received(self, setter: Node) -> list[tuple[Node, str]]:
        """Return the nodes that use what a Set node keeps, through its Get nodes; of any other node, none."""
        if setter.kind != SET:
            return []
        name = _only_value(setter)
        getters = [node for node in self.nodes.values() if node.kind == GET and _only_value(node) == name]
        return [user for getter in getters for user in self.users(getter)]

    def setters(self, getter: Node) -> list[Node]:
        """Return the Set node that a Get node reads; of any other node, none."""
        found = self._setters.get(_only_value(getter)) if getter.kind == GET else None
        return [] if found is None else [found]

    def source(self, value: Any) -> Any:
        """Return where a value comes from: through reroutes, Get and Set nodes, and nodes that are bypassed.

        Returns:
            A link to a node that runs, a value that is written down, or None: nothing comes.

        Raises:
            BadGraphError: it leads round in a circle.
        """
        seen: set[Link] = set()
        while isinstance(value, Link):
            if value in seen:
                raise BadGraphError(f"a circle through node {value.node}")
            seen.add(value)
            node = self.nodes.get(value.node)
            if node is None or node.mode == MUTED:
                return None
            if node.kind == GET:
                setter = self._setters.get(_only_value(node))
                value = None if setter is None else next(iter(setter.inputs.values()), None)
            elif node.kind in REROUTES or node.kind == SET:
                value = next(iter(node.inputs.values()), None)
            elif node.mode == BYPASSED:
                value = _passed(node, value.slot)
            else:
                return value
        return value

    def value(self, value: Any) -> Any:
        """Return what ``source`` does; of a primitive node, what is written in it."""
        found = self.source(value)
        if not isinstance(found, Link):
            return found
        node = self.nodes[found.node]
        if node.kind in CONSTANTS:
            return next(
                (each for each in node.inputs.values() if not isinstance(each, Link)), _first_value(node)
            )
        return found

    def node_of(self, value: Any) -> Node | None:
        """Return the node that a value comes from."""
        found = self.source(value)
        return self.nodes.get(found.node) if isinstance(found, Link) else None

    def seal(self) -> None:
        """Check what was read, once all nodes are in.

        Raises:
            BadGraphError: a link leads to a node that is not there, or links lead round in a circle.
        """
        self._setters = {_only_value(node): node for node in self.nodes.values() if node.kind == SET}
        before: dict[str, list[str]] = {}
        for node in self.nodes.values():
            before[node.id] = [value.node for value in node.inputs.values() if isinstance(value, Link)]
            for name, value in node.inputs.items():
                if isinstance(value, Link) and value.node not in self.nodes:
                    raise BadGraphError(
                        f"node {node.id} ({node.kind}) whose {name} comes from node {value.node}, which is missing"
                    )
        try:
            graphlib.TopologicalSorter(before).prepare()
        except graphlib.CycleError as error:
            circle = cast("list[str]", error.args[1])
            path = " -> ".join(f"{each} ({self.nodes[each].kind})" for each in circle[:10])
            raise BadGraphError(f"links that lead round in a circle: {path}") from error


def read_graphs(value: Any) -> list[Graph]:
    """Read a workflow: one graph in API form; in the editor's the graph and its subgraphs.

    Raises:
        BadGraphError: it is no workflow, or one that can't be read.
    """
    workflow = as_object(value)
    if workflow is None:
        raise BadGraphError(f"{type(value).__name__} in place of an object")
    if as_array(workflow.get("nodes")) is not None:
        return list(_read_editor(workflow))
    inner = as_object(workflow.get("prompt"))
    return [_read_api(workflow if inner is None or "class_type" in inner else inner)]


def _read_api(prompt: dict[str, Any]) -> Graph:
    if not prompt:
        raise BadGraphError("an object without nodes")
    _check_count(len(prompt))
    graph = Graph(prompt, is_editor=False)
    for node_id, value in prompt.items():
        raw = as_object(value)
        inputs = None if raw is None else as_object(raw.get("inputs", {}))
        if raw is None or inputs is None or not isinstance(raw.get("class_type"), str):
            raise BadGraphError(f"an entry {node_id[:40]!r} without class_type and inputs")
        read = {name: _api_link(each) for name, each in inputs.items()}
        title = (as_object(raw.get("_meta")) or {}).get("title", "")
        graph.insert(Node(node_id, raw["class_type"], read, str(title), raw=raw))
    graph.seal()
    return graph


def _api_link(value: Any) -> Any:
    pair = as_array(value)
    if pair is not None and len(pair) == 2 and isinstance(pair[0], str) and type(pair[1]) is int:
        return Link(pair[0], pair[1])
    return value


def _read_editor(workflow: dict[str, Any]) -> Iterator[Graph]:
    definitions = as_object(workflow.get("definitions")) or {}
    inner = [each for each in map(as_object, as_array(definitions.get("subgraphs")) or []) if each]
    for raw in (workflow, *inner):
        yield _read_scope(raw, "" if raw is workflow else str(raw.get("name") or raw.get("id")))


def _read_scope(raw: dict[str, Any], name: str) -> Graph:
    nodes, graph = as_array(raw.get("nodes")) or [], Graph(raw, is_editor=True, name=name)
    _check_count(len(nodes))
    links = {link[0]: link for link in map(read_link, as_array(raw.get("links")) or []) if link is not None}
    for value in nodes:
        node = as_object(value)
        if (
            node is None
            or not isinstance(node.get("type"), str)
            or not re.fullmatch(r"\d+", str(node.get("id")))
        ):
            raise BadGraphError("a node without a type, or without a whole number as its id")
        graph.insert(_editor_node(node, links))
    if name:
        for end, side, at in ((INPUTS, "inputs", 1), (OUTPUTS, "outputs", 3)):
            ports = [each for each in map(as_object, as_array(raw.get(side)) or []) if each]
            kinds = [str(each.get("type")) for each in ports]
            into = {str(link[4]): Link(link[1], link[2]) for link in links.values() if link[3] == end}
            types = {str(place): kind for place, kind in enumerate(kinds)}
            graph.insert(
                Node(end, "subgraph", into, types=types if at == 3 else {}, outputs=kinds if at == 1 else [])
            )
    graph.seal()
    return graph


def read_link(value: Any) -> tuple[Any, str, int, str, int] | None:
    """Return a link of the editor as id, node and output it comes from, node and input it goes to; None for none."""
    parts = as_array(value)
    if parts is not None and len(parts) >= 5 and isinstance(parts[0], int | str):
        return parts[0], str(parts[1]), _whole(parts[2]), str(parts[3]), _whole(parts[4])
    fields = as_object(value)
    if fields is None or "origin_id" not in fields or not isinstance(fields.get("id"), int | str):
        return None
    start = str(fields["origin_id"]), _whole(fields.get("origin_slot"))
    return fields.get("id"), *start, str(fields.get("target_id")), _whole(fields.get("target_slot"))


def sockets(raw: Mapping[str, Any], side: str) -> list[dict[str, Any]]:
    """Return the sockets of one side, ``inputs`` or ``outputs``, of a node of the editor."""
    return [each for each in map(as_object, as_array(raw.get(side)) or []) if each is not None]


def named_sockets(raw: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the sockets for inputs of a node of the editor, each with a name that no other has."""
    found: dict[str, dict[str, Any]] = {}
    for place, socket in enumerate(sockets(raw, "inputs")):
        name = str(socket.get("name"))
        found[f"{name}#{place}" if name in found else name] = socket
    return list(found.items())


def _editor_node(raw: dict[str, Any], links: Mapping[Any, tuple[Any, str, int, str, int]]) -> Node:
    inputs = name_values(raw["type"], raw.get("widgets_values"), [
        str(each["name"]) for each in sockets(raw, "inputs") if each.get("widget") and "name" in each
    ])  # fmt: skip
    types: dict[str, str] = {}
    for name, socket in named_sockets(raw):
        types[name] = str(socket.get("type"))
        number = socket.get("link")
        link = links.get(number) if isinstance(number, int | str) else None
        if link is not None:
            inputs[name] = Link(link[1], link[2])
    outputs = [str(each.get("type")) for each in sockets(raw, "outputs")]
    mode = raw.get("mode")
    return Node(
        str(raw["id"]),
        raw["type"],
        inputs,
        str(raw.get("title") or ""),
        mode if isinstance(mode, int) else 0,
        types,
        outputs,
        raw,
    )


def is_passage(node: Node) -> bool:
    """Tell whether a node only hands on what it gets."""
    return node.kind in REROUTES or node.kind in (SET, GET)


def _check_count(count: int) -> None:
    if count > MOST_NODES:
        raise BadGraphError(f"{count:,} nodes, and at most {MOST_NODES:,} are read")


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _first_value(node: Node) -> Any:
    values = as_array((node.raw or {}).get("widgets_values"))
    return values[0] if values else None


def _only_value(node: Node) -> str:
    return str(_first_value(node) or "")


def _passed(node: Node, slot: int) -> Any:
    """Return what a bypassed node lets through to an output: the input of its type, at its own place if that fits."""
    kinds = list(node.types.items())
    wanted = node.outputs[slot] if slot < len(node.outputs) else None
    for name, kind in [*kinds[slot : slot + 1], *kinds]:
        if kind == wanted:
            return node.inputs.get(name)
    return None
