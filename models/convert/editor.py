"""A graph in the editor's form: new nodes where the old ones stood, with all else as it was.

Nodes that stay keep their places, sizes and values; groups grow round what stands in them. A new node stands where the
one stood that it was made of, or below it, as far down as there is room.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..files.json_text import as_array, as_object
from .graph import INPUTS, OUTPUTS, Graph, Link, Node, named_sockets, read_link, sockets
from .tables import name_values, places
from .targets import TARGETS, TEXT

# Of the editor's drawing, in pixels.
TITLE, ROW, MARGIN, GAP, CELL = 30, 24, 12, 30, 256
WIDTH, WIDE, TEXT_ROWS = 270, 400, 4
NOTE, NOTE_COLUMNS = "MarkdownNote", 60
_TEXTS = ("text", "strength", "by_step", "prepend", "append")  # in several lines


class Box(NamedTuple):
    """A box in the editor's drawing."""

    left: float
    top: float
    width: float
    height: float

    def meets(self, other: Box) -> bool:
        """Tell whether two boxes have a place in common."""
        return (
            self.left < other.left + other.width
            and other.left < self.left + self.width
            and self.top < other.top + other.height
            and other.top < self.top + self.height
        )

    def has(self, other: Box) -> bool:
        """Tell whether the middle of a box lies in this one."""
        x, y = other.left + other.width / 2, other.top + other.height / 2
        return self.left <= x <= self.left + self.width and self.top <= y <= self.top + self.height

    def round(self, other: Box) -> Box:
        """Return this box, wide and high enough to hold another."""
        left, top = min(self.left, other.left - MARGIN), min(self.top, other.top - TITLE - MARGIN)
        right = max(self.left + self.width, other.left + other.width + MARGIN)
        bottom = max(self.top + self.height, other.top + other.height + MARGIN)
        return Box(left, top, right - left, bottom - top)


class Board:
    """Boxes that stand somewhere, found by place."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], list[Box]] = {}

    def put(self, box: Box) -> None:
        """Take in a box, with its title above it."""
        with_title = Box(box.left, box.top - TITLE, box.width, box.height + TITLE)
        for cell in _cells(with_title):
            self._cells.setdefault(cell, []).append(with_title)

    def free(self, box: Box) -> Box:
        """Return a box's place, or the next one below it that is free."""
        while True:
            wanted = Box(box.left, box.top - TITLE, box.width, box.height + TITLE + GAP)
            met = [
                each for cell in _cells(wanted) for each in self._cells.get(cell, ()) if each.meets(wanted)
            ]
            if not met:
                return box
            box = box._replace(top=max(each.top + each.height for each in met) + GAP + TITLE)


def _cells(box: Box) -> Iterator[tuple[int, int]]:
    for x in range(int(box.left // CELL), int((box.left + box.width) // CELL) + 1):
        for y in range(int(box.top // CELL), int((box.top + box.height) // CELL) + 1):
            yield x, y


def write_scope(graph: Graph, note: str) -> dict[str, Any]:
    """Return a graph, or a subgraph, in the editor's form.

    Args:
        graph: graph as it is now.
        note: text of a note that is put above it; "" for none.
    """
    ids = _Links(graph)
    written: list[dict[str, Any]] = []
    boxes, groups = _places(graph)
    for node in graph.nodes.values():
        if node.id in (INPUTS, OUTPUTS):
            continue
        made = _new_node(node, boxes[node.id]) if node.raw is None else _kept_node(node)
        for place, (name, socket) in enumerate(named_sockets(made)):
            socket["link"] = ids.link(node, place, name)
        for slot, output in enumerate(made["outputs"]):
            output["links"] = ids.of(node.id, slot) or None
        written.append(made)
    end = graph.nodes.get(OUTPUTS)
    for place in end.inputs if end is not None else ():
        ids.link(graph.nodes[OUTPUTS], int(place), place)
    for made in written:  # again: a node may be used by one that stands behind it
        for slot, output in enumerate(made["outputs"]):
            output["links"] = ids.of(str(made["id"]), slot) or None
    if note:
        number = max((int(each["id"]) for each in written), default=0) + 1
        written.append(_note(number, note, list(boxes.values())))
    result = graph.raw | {"nodes": written, "links": ids.written(), "groups": groups}
    return result | ids.counts(max((int(node["id"]) for node in written), default=0)) | ids.ends()


class _Links:
    """Links as the editor writes them: those that stay keep their numbers."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        raw = as_array(graph.raw.get("links")) or []
        self.old = {read[0]: (read, each) for each in raw if (read := read_link(each)) is not None}
        self.last = max([0, *(each for each in self.old if isinstance(each, int))])
        self.is_object = as_object(raw[0]) is not None if raw else bool(graph.name)
        self.made: dict[Any, Any] = {}
        self._by_end = {(read[3], read[4]): read for read, _ in self.old.values()}
        self._users: dict[tuple[str, int], list[Any]] = {}

    def link(self, node: Node, place: int, name: str) -> Any:
        """Return the number of the link into a node's input; None where there is none."""
        value = node.inputs.get(name)
        if not isinstance(value, Link):
            return None
        before = self._by_end.get((node.id, place))
        if before is not None and before[1:3] == (value.node, value.slot):
            number, written = before[0], self.old[before[0]][1]
        else:
            self.last += 1
            number, source = self.last, self.graph.nodes[value.node]
            kind = source.outputs[value.slot] if value.slot < len(source.outputs) else "*"
            start = (int(value.node), value.slot, int(node.id), place, kind)
            names = ("origin_id", "origin_slot", "target_id", "target_slot", "type")
            written = (
                {"id": number} | dict(zip(names, start, strict=True)) if self.is_object else [number, *start]
            )
        self.made[number] = written
        self._users.setdefault((value.node, value.slot), []).append(number)
        return number

    def of(self, node: str, slot: int) -> list[Any]:
        """Return the numbers of the links from an output."""
        return self._users.get((node, slot), [])

    def written(self) -> list[Any]:
        """Return all links: those that stay in their order, then the new ones."""
        kept = [number for number in self.old if number in self.made]
        return [
            self.made[number] for number in (*kept, *(each for each in self.made if each not in self.old))
        ]

    def counts(self, last_node: int) -> dict[str, Any]:
        """Return what the graph says of its highest numbers, and of bends of links that are gone."""
        raw, found = self.graph.raw, dict[str, Any]()
        for name, least in (("last_node_id", last_node), ("last_link_id", self.last)):
            if name in raw:
                found[name] = max(least, raw[name]) if isinstance(raw[name], int) else least
        state = as_object(raw.get("state"))
        if state is not None:
            highest = {"lastNodeId": last_node, "lastLinkId": self.last}
            found["state"] = state | {
                name: max(least, old) if isinstance(old := state.get(name), int) else least
                for name, least in highest.items()
            }
        if isinstance(raw.get("reroutes"), list):
            found["reroutes"] = self._bends(raw["reroutes"])
        extra = as_object(raw.get("extra"))
        if extra is not None and ("linkExtensions" in extra or "reroutes" in extra):
            shown = [
                each
                for each in map(as_object, as_array(extra.get("linkExtensions")) or [])
                if each is not None and each.get("id") in self.made
            ]
            found["extra"] = extra | {
                "linkExtensions": shown,
                "reroutes": self._bends(extra.get("reroutes")),
            }
        return found

    def _bends(self, reroutes: Any) -> list[Any]:
        kept: list[Any] = []
        for each in map(as_object, as_array(reroutes) or []):
            if each is not None:
                links = [number for number in as_array(each.get("linkIds")) or [] if number in self.made]
                kept += [each | {"linkIds": links}] if links else []
        return kept

    def ends(self) -> dict[str, Any]:
        """Return a subgraph's inputs and outputs with the numbers of their links."""
        if not self.graph.name:
            return {}
        inputs, outputs = (sockets(self.graph.raw, side) for side in ("inputs", "outputs"))
        into = {
            str(place): number
            for number, link in self.made.items()
            for read in [read_link(link)]
            if read is not None and read[3] == OUTPUTS
            for place in [read[4]]
        }
        return {
            "inputs": [each | {"linkIds": self.of(INPUTS, place)} for place, each in enumerate(inputs)],
            "outputs": [
                each | {"linkIds": [into[str(place)]] if str(place) in into else []}
                for place, each in enumerate(outputs)
            ],
        }


def _kept_node(node: Node) -> dict[str, Any]:
    """Return a copy of a node that stays, with values that were changed."""
    raw = dict(node.raw or {})
    raw["inputs"] = [dict(each) for each in sockets(raw, "inputs")]
    raw["outputs"] = [dict(each) for each in sockets(raw, "outputs")]
    values = as_array(raw.get("widgets_values"))
    if values is not None:
        before = name_values(node.kind, values)
        names = places(node.kind, values)
        changed = [node.inputs[name] if _is_changed(node, name, before) else old
                   for name, old in zip(names, values, strict=False)]  # fmt: skip
        raw["widgets_values"] = changed + values[len(changed) :]
    return raw


def _is_changed(node: Node, name: str, before: dict[str, Any]) -> bool:
    value = node.inputs.get(name)
    return value is not None and not isinstance(value, Link) and value != before.get(name)


def _new_node(node: Node, box: Box) -> dict[str, Any]:
    target = TARGETS[node.kind]
    values: list[Any] = []
    for name in target.values:
        value = node.inputs.get(name)
        values.append(target.default(name) if isinstance(value, Link) or value is None else value)
        if target.extra is not None and name in target.extra:
            values.append(target.extra[name])
    inputs: list[dict[str, Any]] = [
        {"name": name, "type": kind, "link": None} for name, kind in target.sockets.items()
    ]
    inputs += [
        {"name": name, "type": target.type_of(name), "link": None, "widget": {"name": name}}
        for name in target.values
    ]
    return {
        "id": int(node.id), "type": node.kind, "pos": [box.left, box.top], "size": [box.width, box.height], "flags": {},
        "order": 0, "mode": node.mode, "inputs": inputs,
        "outputs": [{"name": name, "type": kind, "links": None} for name, kind in target.outputs.items()],
        "properties": {"Node name for S&R": node.kind}, "widgets_values": values,
    }  # fmt: skip


def _size(kind: str) -> tuple[float, float]:
    target = TARGETS[kind]
    texts = sum(name in _TEXTS and target.type_of(name) == TEXT for name in target.values)
    rows = max(len(target.sockets), len(target.outputs)) + len(target.values) + len(target.extra or ())
    return (WIDE if texts else WIDTH), (rows + texts * TEXT_ROWS) * ROW + MARGIN


def _places(graph: Graph) -> tuple[dict[str, Box], list[Any]]:
    """Return where every node stands, and the groups round them."""
    old = {
        str(raw.get("id")): _box(raw) for raw in map(as_object, as_array(graph.raw.get("nodes")) or []) if raw
    }
    boxes = {node.id: old[node.id] for node in graph.nodes.values() if node.id in old}
    board = Board()
    for box in boxes.values():
        board.put(box)
    groups = [each for each in map(as_object, as_array(graph.raw.get("groups")) or []) if each is not None]
    rounds = [_group_box(each) for each in groups]
    below: dict[str, Box] = {}
    for node in graph.nodes.values():
        if node.raw is None and node.id not in (INPUTS, OUTPUTS):
            stood, size = old.get(node.place, Box(0, 0, 0, 0)), _size(node.kind)
            at = below.get(node.place)
            top = stood.top if at is None else at.top + at.height + GAP + TITLE
            boxes[node.id] = below[node.place] = board.free(Box(stood.left, top, *size))
            board.put(boxes[node.id])
            rounds = [each and (each.round(boxes[node.id]) if each.has(stood) else each) for each in rounds]
    grown = [
        group if box is None or box == _group_box(group) else group | {"bounding": list(box)}
        for group, box in zip(groups, rounds, strict=True)
    ]
    return boxes, grown


def _box(raw: dict[str, Any]) -> Box:
    return Box(*_pair(raw.get("pos"), 0.0), *_pair(raw.get("size"), 100.0))


def _pair(value: Any, default: float) -> tuple[float, float]:
    fields = as_object(value)
    parts = as_array(value) if fields is None else [fields.get("0"), fields.get("1")]
    pair = [each if isinstance(each, int | float) and abs(each) < 1e7 else default for each in parts or ()][
        :2
    ]
    return (pair[0], pair[1]) if len(pair) == 2 else (default, default)


def _group_box(group: dict[str, Any]) -> Box | None:
    sides = as_array(group.get("bounding"))
    if sides is None or len(sides) != 4 or not all(isinstance(each, int | float) for each in sides):
        return None
    return Box(*sides)


def _note(number: int, text: str, boxes: list[Box]) -> dict[str, Any]:
    """Return a note above everything."""
    rows = sum(1 + len(line) // NOTE_COLUMNS for line in text.splitlines())
    height = rows * ROW + 2 * MARGIN
    left = min((box.left for box in boxes), default=0.0)
    top = min((box.top for box in boxes), default=0.0) - height - 4 * TITLE
    return {
        "id": number, "type": NOTE, "pos": [left, top], "size": [WIDE * 1.5, height], "flags": {}, "order": 0,
        "mode": 0, "inputs": [], "outputs": [], "title": "Converted to Frameloom", "properties": {},
        "widgets_values": [text],
    }  # fmt: skip
