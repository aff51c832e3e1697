"""One graph while it is converted: what rules ask it, and what they tell it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .graph import Graph, Link, Node, is_passage
from .report import Report, Verdict
from .targets import TARGETS

# Nodes that sample, and the name of the input that their latent comes by.
SAMPLERS = {
    "KSampler": "latent_image", "KSamplerAdvanced": "latent_image", "SamplerCustom": "latent_image",
    "SamplerCustomAdvanced": "latent_image", "KSampler (Efficient)": "latent_image",
    "KSampler Adv. (Efficient)": "latent_image",
}  # fmt: skip
LATENTS = ("EmptyLatentImage", "ADE_EmptyLatentImageLarge")
_THROUGH = {"samples", "latent", "latents", "latent_image", "LATENT"}
_FAR = 50


@dataclass(slots=True)
class Work:
    """One graph, and its report.

    Attributes:
        graph: graph that is changed.
        report: report that rules write.
        done: ids of the nodes whose part others play now.
        made: node that was made of another, by that one's id and a name.
    """

    graph: Graph
    report: Report
    done: set[str] = field(default_factory=set[str])
    made: dict[tuple[str, str], Node] = field(default_factory=dict[tuple[str, str], Node])

    def say(self, node: Node, verdict: Verdict, said: str) -> None:
        """Write a line of the report about a node."""
        self.report.add(verdict, self.name(node), said)

    def name(self, node: Node) -> str:
        """Return how a node is named in the report."""
        title = f" {node.title!r}" if node.title and node.raw is not None else ""
        inside = f" in subgraph {self.graph.name}" if self.graph.name else ""
        return f"node {node.id}{title} ({node.kind}){inside}"

    def take(self, node: Node) -> Node:
        """Note that others play a node's part now; it goes when nothing is left that uses it."""
        self.done.add(node.id)
        return node

    def new(self, kind: str, place: Node, /, **inputs: Any) -> Node:
        """Make a node in the place of an old one, with every value that it has; inputs of None stay unconnected."""
        target = TARGETS[kind]
        values = {name: target.default(name) for name in target.values}
        node = self.graph.add(
            kind, place, **(values | {name: value for name, value in inputs.items() if value is not None})
        )
        node.types = {name: target.type_of(name) for name in (*target.sockets, *target.values)}
        node.outputs = list(target.outputs.values())
        return node

    def title(self, node: Node) -> str:
        """Return how a new node is named in the report."""
        return f"{TARGETS[node.kind].title} (node {node.id})"

    def read(self, node: Node, name: str, default: Any) -> Any:
        """Return what an input's value is; where a node works it out, a link; where there is none, the default."""
        found = self.graph.value(node.inputs.get(name))
        return default if found is None else found

    def number(self, node: Node, name: str, default: float) -> float:
        """Return an input's number; where a node works it out, or it is no number, the default."""
        found = self.read(node, name, default)
        return found if isinstance(found, int | float) and not isinstance(found, bool) else default

    def pass_on(self, node: Node, name: str, default: Any) -> Any:
        """Return what to write into another node's input: the link where there is one, the value, or the default."""
        found = node.inputs.get(name)
        return default if self.graph.value(found) is None else found

    def part(self, node: Node, *names: str) -> Node | None:
        """Return the node that gives an input, by the first of some names that is connected."""
        for name in names:
            found = self.graph.node_of(node.inputs.get(name))
            if found is not None:
                return found
        return None

    def chain(self, node: Node, name: str, before: str) -> list[Node]:
        """Return the nodes that are stacked behind an input, the first that was put there first.

        Args:
            node: node that takes the last of them.
            name: name of its input.
            before: name of their own input, by which each takes the one before it.
        """
        found: list[Node] = []
        last = self.part(node, name)
        while last is not None and last not in found:
            found.append(last)
            last = self.part(last, before)
        return found[::-1]

    def samplers(self, model: Node, slot: int = 0) -> Iterator[Node]:
        """Yield the nodes that sample with what a node gives, through all that takes a model on its way."""
        seen, ahead = {model.id}, self.graph.users(model, slot)
        while ahead:
            user, name = ahead.pop()
            if user.id in seen or not (is_passage(user) or "model" in name.lower() or name == "guider"):
                continue
            seen.add(user.id)
            if user.kind in SAMPLERS:
                yield user
            else:
                ahead += self.graph.users(user) + self.graph.received(user)

    def frames(self, model: Node) -> int | None:
        """Return how many frames all samplers of a model draw; None where they differ, or nobody can tell."""
        found = {self.length(each.inputs.get(SAMPLERS[each.kind])) for each in self.samplers(model)}
        return found.pop() if len(found) == 1 else None

    def latent(self, model: Node) -> Link | None:
        """Return the one latent that all samplers of a model draw; None where they differ, or it comes from them."""
        found = {
            source
            for each in self.samplers(model)
            if isinstance(source := self.graph.source(each.inputs.get(SAMPLERS[each.kind])), Link)
        }
        latent = found.pop() if len(found) == 1 else None
        return None if latent is None or model.id in self.before(latent) else latent

    def before(self, link: Link) -> set[str]:
        """Return the ids of all nodes that a result comes from."""
        found: set[str] = set()
        ahead = [link.node]
        while ahead:
            node = self.graph.nodes.get(ahead.pop())
            if node is not None and node.id not in found:
                found.add(node.id)
                ahead += [each.node for each in node.inputs.values() if isinstance(each, Link)]
                ahead += [each.id for each in self.graph.setters(node)]
        return found

    def length(self, latent: Any) -> int | None:
        """Return how many frames a latent has; None where nobody can tell."""
        for _ in range(_FAR):
            node = self.graph.node_of(latent)
            if node is None:
                return None
            if node.kind == "RepeatLatentBatch":
                count, once = self.read(node, "amount", None), self.length(node.inputs.get("samples"))
                return count * once if isinstance(count, int) and once is not None else None
            if node.kind in LATENTS:
                count = self.read(node, "batch_size", None)
                return count if isinstance(count, int) else None
            through = [name for name in node.inputs if name in _THROUGH]
            if len(through) != 1 or "batch" in node.kind.lower():
                return None
            latent = node.inputs[through[0]]
        return None
