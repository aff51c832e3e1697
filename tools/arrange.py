"""Where the nodes of an editor's graph stand: in groups from left to right, all of it large enough to be read at once.

The editor fits a template into three quarters of its window. Groups may stand side by side or below each other, and a
group may have more columns or fewer; of all these arrangements the one is taken that reads best (``_cost``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise, product
from typing import Any

# What a window of 1440 x 900 pixels shows at 60 %: three quarters of it, less the editor's margin.
VIEW_WIDTH, VIEW_HEIGHT = 1440 * 0.75 / 0.6 - 20, 900 * 0.75 / 0.6 - 20
# Of the editor's drawing, in its pixels. A node's position is below its title.
TITLE, NODE_GAP, COLUMN_GAP = 30, 12, 30
GROUP_TITLE, GROUP_EDGE, GROUP_GAP = 34, 10, 16
MOST_COLUMNS, FEW = 5, 6
GROUP_COLOR = "#3f789e"

Node = dict[str, Any]
Links = Sequence[tuple[int, int]]
Place = tuple[int, float, float, int, int]


@dataclass(frozen=True)
class Block:
    """A group with its columns; ``title`` is None for the note, which has no frame."""

    title: str | None
    columns: tuple[tuple[Node, ...], ...]

    @cached_property
    def width(self) -> float:
        """Width with the frame."""
        widths = [max(node["size"][0] for node in column) for column in self.columns]
        return sum(widths) + COLUMN_GAP * (len(widths) - 1) + 2 * self.edge

    @cached_property
    def height(self) -> float:
        """Height with the frame."""
        return max(map(_height, self.columns)) + self.head + self.edge

    @cached_property
    def places(self) -> list[Place]:
        """Id, corner and size of each node, from the block's own corner. All nodes of a column are as wide as it is."""
        places, left = [], float(self.edge)
        for column in self.columns:
            top, width = self.head, max(node["size"][0] for node in column)
            for node in column:
                places.append((node["id"], left, top + TITLE, width, node["size"][1]))
                top += _tall(node) + NODE_GAP
            left += width + COLUMN_GAP
        return places

    @property
    def edge(self) -> int:
        """Width of the frame."""
        return GROUP_EDGE if self.title else 0

    @property
    def head(self) -> int:
        """Height of the frame's title."""
        return GROUP_TITLE if self.title else 0


def arrange(
    groups: Mapping[str, Sequence[Node]], notes: Sequence[Node], links: Links
) -> list[dict[str, Any]]:
    """Set the position of every node, and return the editor's groups.

    Args:
        groups: nodes by the title of their group, both in reading order.
        notes: nodes that stand before all others, without a frame.
        links: ids of each link's two nodes.
    """
    choices = [[Block(None, (tuple(notes),))]] if notes else []
    choices += [_blocks(title, nodes, links) for title, nodes in groups.items()]
    # Each block stands right of the one before, or below it. Links are counted where it fits, or nearly does.
    turns = list(product((True, False), repeat=len(choices) - 1))
    tried = [(turn, blocks) for blocks in product(*choices) for turn in turns]
    filled = [_filled(_corners(*one), one[1]) for one in tried]
    enough = max(1.0, min(filled))
    fitting = [one for one, share in zip(tried, filled, strict=True) if share <= enough]
    turn, blocks = min(fitting, key=lambda one: _cost(_corners(*one), one[1], links))
    nodes = {node["id"]: node for each in (notes, *groups.values()) for node in each}
    frames = []
    for block, (left, top) in zip(blocks, _corners(turn, blocks), strict=True):
        for node_id, x, y, width, height in block.places:
            nodes[node_id].update(pos=[round(left + x), round(top + y)], size=[width, height])
        if block.title:
            bounding = [round(side) for side in (left, top, block.width, block.height)]
            frames.append({"id": len(frames) + 1, "title": block.title, "bounding": bounding,
                           "color": GROUP_COLOR, "font_size": 24, "flags": {}})  # fmt: skip
    return frames


def _blocks(title: str, nodes: Sequence[Node], links: Links) -> list[Block]:
    """Return a group in columns of every useful kind: no other is as narrow and as low.

    Of few nodes, a kind is useful too if fewer of its links run down a column.
    """
    inside = [(a, b) for a, b in links if {a, b} <= {node["id"] for node in nodes}]
    best: dict[tuple[float, float], tuple[int, Block]] = {}
    for early in (True, False):
        for columns in _packings(_sorted(nodes, inside, early)):
            block = Block(title, columns)
            column_of = {node["id"]: place for place, column in enumerate(columns) for node in column}
            down = sum(column_of[a] == column_of[b] for a, b in inside)
            size = block.width, block.height
            best[size] = min((down, block), best.get(size, (down, block)), key=lambda one: one[0])
    small = len(nodes) <= FEW
    keys = {(*size, down if small else 0): block for size, (down, block) in best.items()}
    return [block for key, block in keys.items() if not any(_beats(other, key) for other in keys)]


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _sorted(nodes: Sequence[Node], links: Links, early: bool) -> list[Node]:
    """Sort nodes from left to right: each near to those it reads (``early``), or near to those that read it."""
    next_to: dict[int, list[int]] = {node["id"]: [] for node in nodes}
    for a, b in links:
        next_to[b if early else a].append(a if early else b)

    def steps(node_id: int) -> int:
        return max((steps(other) + 1 for other in next_to[node_id]), default=0)

    return sorted(nodes, key=lambda node: steps(node["id"]) if early else -steps(node["id"]))


def _packings(nodes: list[Node]) -> Iterator[tuple[tuple[Node, ...], ...]]:
    """Yield every way of cutting the row of nodes into columns that could fit."""
    for size in range(1, min(len(nodes), MOST_COLUMNS) + 1):
        for cuts in combinations(range(1, len(nodes)), size - 1):
            edges = (0, *cuts, len(nodes))
            yield tuple(tuple(nodes[start:end]) for start, end in pairwise(edges))


def _corners(turns: Sequence[bool], blocks: Sequence[Block]) -> list[tuple[float, float]]:
    """Return each block's corner. A turn of True: the block stands right of all before."""
    corners, left, right, top = [], 0.0, blocks[0].width, blocks[0].height
    corners.append((0.0, 0.0))
    for block, to_the_right in zip(blocks[1:], turns, strict=True):
        if to_the_right:
            left, top = right + GROUP_GAP, 0.0
        else:
            top += GROUP_GAP
        corners.append((left, top))
        right, top = max(right, left + block.width), top + block.height
    return corners


def _filled(corners: Sequence[tuple[float, float]], blocks: Sequence[Block]) -> float:
    """Return what share of the view's width or height the nodes take."""
    right = max(left + block.width - block.edge for (left, _), block in zip(corners, blocks, strict=True))
    bottom = max(top + block.height - block.edge for (_, top), block in zip(corners, blocks, strict=True))
    return max((right - blocks[0].edge) / VIEW_WIDTH, (bottom - blocks[0].head) / VIEW_HEIGHT)


def _cost(
    corners: Sequence[tuple[float, float]], blocks: Sequence[Block], links: Links
) -> tuple[int, int, float]:
    """Count the links that run back and those that run down, then say how much of the view is taken."""
    span = {
        node_id: (left + x, left + x + width)
        for (left, _), block in zip(corners, blocks, strict=True)
        for node_id, x, _, width, _ in block.places
    }
    back = sum(span[b][0] < span[a][0] for a, b in links)
    down = sum(span[a][0] <= span[b][0] < span[a][1] for a, b in links)
    return back, down, _filled(corners, blocks)


def _height(column: Sequence[Node]) -> float:
    return sum(_tall(node) + NODE_GAP for node in column) - NODE_GAP


def _tall(node: Node) -> int:
    """Return a node's height; of a folded one there is only the title."""
    return TITLE + (0 if node["flags"].get("collapsed") else node["size"][1])
