"""Run a checked workflow: every node that the outputs need, once, when its inputs are there.

Lists, lazy inputs and blocked results behave as in ComfyUI 0.33. Nodes of one class with equal inputs share one run.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ...host import api
from ...host.values import refuse_input
from ..v3.core_node import CoreNode
from ..v3.io import ComfyNode, Hidden, HiddenHolder, NodeOutput, overrides
from ..v3.node_info import nest
from .graph import Graph, GraphNode, Link

Results = list[list[Any]]
"""Per result of a node: the list of its values, one long unless lists are in play."""


class NodeFailedError(RuntimeError):
    """A node raised an error; its cause is the error."""

    def __init__(self, node: GraphNode, error: Exception) -> None:
        super().__init__(f"node {node.node_id} ({node.class_type}): {type(error).__name__}: {error}")
        self.node = node


@dataclass(frozen=True)
class _Blocked:
    """Stands for a result that is not to be used: nodes that get it don't run."""

    message: str


@dataclass
class Report:
    """What a run gave. ``shown``: node id -> what the node would show in the interface (saved files, text)."""

    shown: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)


class Executor:
    """One run of one workflow.

    Args:
        graph: the workflow.
        on_node: function that is called before a node runs, with its place among those that run at most, their number,
            and the node.
    """

    def __init__(
        self, graph: Graph, on_node: Callable[[int, int, GraphNode], None] = lambda *_: None
    ) -> None:
        self.graph = graph
        self.on_node = on_node
        self.report = Report()
        self.results: dict[str, Results] = {}
        self.shared: dict[tuple[Any, ...], str] = {}
        self.owners: dict[str, str] = {}
        self.asked: dict[str, set[str]] = {}

    def run(self) -> Report:
        """Run the workflow.

        Raises:
            NodeFailedError: a node failed.
        """
        with torch.inference_mode():
            waiting = list(reversed(self.graph.outputs))
            while waiting:
                node = self.graph.nodes[waiting[-1]]
                needed = [] if node.node_id in self.results else self._needed(node)
                if needed:
                    waiting += needed
                    continue
                waiting.pop()
                if node.node_id not in self.results:
                    self._run_once(node)
        return self.report

    def _needed(self, node: GraphNode) -> list[str]:
        asked = self.asked.get(node.node_id, set())
        links = {name: value.node_id for name, value in node.inputs.items() if isinstance(value, Link)}
        strong = {
            n: source for n, source in links.items() if n in asked or not node.specs[n].options.get("lazy")
        }
        missing = [source for source in strong.values() if source not in self.results]
        if missing or not overrides(node.info.node, "check_lazy_status"):
            return missing
        self._guard(node, lambda: self._ask(node, asked))
        new = self.asked.get(node.node_id, set()) - asked
        return [links[name] for name in sorted(new) if links[name] not in self.results]

    def _ask(self, node: GraphNode, asked: set[str]) -> None:
        """Let the node name the lazy inputs that it needs, given what is there."""
        values, missing = self._values(node)
        node_class = self._class(node)
        if node.info.is_input_list:
            answers = [node_class.check_lazy_status(**values)]
        else:
            answers = [node_class.check_lazy_status(**each) for each in _slices(values)]
        wanted = {name for answer in answers for name in answer or []} & set(missing)
        self.asked[node.node_id] = asked | wanted

    def _run_once(self, node: GraphNode) -> None:
        owner = node.node_id if self._is_own(node) else self.shared.setdefault(self._key(node), node.node_id)
        self.owners[node.node_id] = owner
        if owner != node.node_id:
            self.results[node.node_id] = self.results[owner]
            return
        self.on_node(len(self.results) + 1, len(self.graph.nodes), node)
        self.results[node.node_id] = self._guard(node, lambda: self._run(node))

    def _is_own(self, node: GraphNode) -> bool:
        """Tell whether a node's run can't stand for another's: it saves something, or asks who it is."""
        return node.info.is_output_node or bool({"UNIQUE_ID", "DYNPROMPT"} & set(node.info.hidden.values()))

    def _key(self, node: GraphNode) -> tuple[Any, ...]:
        """Return what the node's results depend on. Equal nodes upstream count as one."""
        inputs = [
            (name, self.owners.get(value.node_id, value.node_id), value.slot)
            if isinstance(value, Link)
            else (name, repr(value))
            for name, value in sorted(node.inputs.items())
        ]
        return node.class_type, *inputs

    def _run(self, node: GraphNode) -> Results:
        values, _ = self._values(node)
        node_class = self._class(node)
        calls = [values] if node.info.is_input_list else _slices(values)
        outputs = [self._call(node, node_class, each) for each in calls]
        self._show(node, outputs)
        merged: Results = []
        for slot, is_list in enumerate(node.info.output_is_list):
            found = [each.args[slot] if slot < len(each.args) else None for each in outputs]
            if is_list:
                found = [
                    value for part in found for value in (part if isinstance(part, list | tuple) else [part])
                ]
            merged.append(found)
        return merged

    def _call(self, node: GraphNode, node_class: type[ComfyNode], values: dict[str, Any]) -> NodeOutput:
        blocked = _first_blocked(values, node.info.is_input_list)
        if blocked is not None:
            self.report.blocked[node.node_id] = blocked.message
            return NodeOutput(*[blocked] * len(node.info.outputs))
        api.port().check_interrupt()
        _check_links(node, values)
        output = node_class.execute(**nest(node.specs, values))
        if inspect.isawaitable(output):
            output = asyncio.run(_wait(output))
        if not isinstance(output, NodeOutput):
            output = NodeOutput(
                *(output if isinstance(output, tuple) else () if output is None else (output,))
            )
        if output.expand is not None:
            raise NotImplementedError(
                f"{node.class_type} expands to other nodes; run this workflow in ComfyUI."
            )
        if output.block_execution is not None:
            return NodeOutput(*[_Blocked(output.block_execution)] * len(node.info.outputs), ui=output.ui)
        return output

    def _show(self, node: GraphNode, outputs: list[NodeOutput]) -> None:
        shown = [each.ui if isinstance(each.ui, dict) else each.ui.as_dict() for each in outputs if each.ui]
        for part in shown:
            for name, values in part.items():
                self.report.shown.setdefault(node.node_id, {}).setdefault(name, []).extend(values)

    def _values(self, node: GraphNode) -> tuple[dict[str, list[Any]], list[str]]:
        """Return each input's values, and the names of those not evaluated (their value is [None])."""
        values: dict[str, list[Any]] = {}
        missing = []
        for name, value in node.inputs.items():
            if not isinstance(value, Link):
                values[name] = [value]
            elif value.node_id in self.results:
                values[name] = self.results[value.node_id][value.slot]
            else:
                missing.append(name)
                values[name] = [None]
        return values, missing

    def _class(self, node: GraphNode) -> type[ComfyNode]:
        """Return the node's class with this node's hidden values; the class itself stays as it is."""
        known: Mapping[str, Any] = {
            Hidden.unique_id.value: node.node_id,
            Hidden.prompt.value: self.graph.prompt,
        }
        names = [Hidden(kind).name for kind in node.info.hidden.values()]
        hidden = HiddenHolder(**{name: known.get(Hidden[name].value) for name in names})
        return type(node.info.node.__name__, (node.info.node,), {"hidden": hidden})

    def _guard(self, node: GraphNode, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as error:
            raise NodeFailedError(node, error) from error


async def _wait(awaitable: Any) -> Any:
    return await awaitable


def _slices(values: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Return the inputs of each call: as many calls as the longest list, shorter lists repeat their last value.

    With an empty list there is nothing to repeat, so no call (ComfyUI stops with an IndexError).
    """
    count = max((len(each) for each in values.values()), default=1) if all(values.values()) else 0
    return [{name: each[min(i, len(each) - 1)] for name, each in values.items()} for i in range(count)]


def _check_links(node: GraphNode, values: dict[str, Any]) -> None:
    """Refuse what came over a link and the input can't take; what was written was checked with the workflow."""
    free = issubclass(node.info.node, CoreNode) and overrides(node.info.node, "validate_inputs")
    for name, spec in node.specs.items():
        if not isinstance(node.inputs.get(name), Link):
            continue
        for value in values[name] if node.info.is_input_list else [values[name]]:
            refusal = refuse_input(spec.kind, spec.options, value, required=spec.required, choices=not free)
            if refusal is not None:
                raise ValueError(f"{name}: got {refusal.got} over a link; expected {refusal.expected}.")


def _first_blocked(values: dict[str, Any], are_lists: bool) -> _Blocked | None:
    flat = [item for value in values.values() for item in (value if are_lists else [value])]
    return next((item for item in flat if isinstance(item, _Blocked)), None)
