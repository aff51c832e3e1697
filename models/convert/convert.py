"""The door: a workflow of AnimateDiff-Evolved and the packs around it, as one with this pack's nodes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from . import art_venture, control, evolved, prompts, videos  # which add their rules
from .graph import BYPASSED, MUTED, BadGraphError, Node, is_passage, read_graphs
from .report import Report
from .rules import NOT_HERE, RULES, runs
from .work import Work
from .write import write_graphs

__all__ = ["BadGraphError", "Converted", "convert"]
_MOST_KINDS = 12
_ENDS = "subgraph"
del art_venture, control, evolved, prompts, videos


@dataclass(frozen=True, slots=True)
class Converted:
    """A workflow that was converted.

    Attributes:
        graph: the workflow, in the form in which it came.
        report: lines on what became of each node.
    """

    graph: dict[str, Any]
    report: Report


def convert(value: Any) -> Converted:
    """Convert a workflow.

    Args:
        value: JSON of a workflow, in API form or the editor's; it stays as it is.

    Raises:
        BadGraphError: it is no workflow, or one that can't be read. Its words say what was got.
    """
    report, graphs, run = Report(), read_graphs(value), runs()
    for graph in graphs:
        work = Work(graph, report)
        busy = {node.id for node in graph.nodes.values() if graph.is_used(node)}
        for node in list(graph.nodes.values()):
            if node.kind in run and node.id in graph.nodes:
                run[node.kind](work, node)
        _tidy(work, busy)
        _say_left(work)
    return Converted(write_graphs(value, graphs, _note(report)), report)


def _tidy(work: Work, busy: set[str]) -> None:
    """Take out nodes whose part others play, unless something that stays uses them, and wires to nowhere.

    Args:
        work: graph that was converted.
        busy: ids of the nodes that had users before.
    """
    graph = work.graph
    ahead = list(graph.nodes.values())
    while ahead:
        node = ahead.pop()
        if node.id not in graph.nodes or node.raw is None or graph.is_used(node):
            continue
        if not (node.id in work.done or (node.id in busy and _is_loose(work, node))):
            continue
        sources = [
            source for each in node.inputs.values() if (source := graph.nodes.get(getattr(each, "node", "")))
        ]
        graph.remove(node)
        ahead += sources + graph.setters(node)


def _is_loose(work: Work, node: Node) -> bool:
    """Tell whether a node did nothing but hand on, or be skipped, for nodes that are gone."""
    if is_passage(node):
        return True
    if node.mode in (MUTED, BYPASSED) and node.kind in _known():
        work.say(node, "exact", "left out; it was muted or bypassed, so it did nothing")
        return True
    return False


def _known() -> set[str]:
    return {kind for each in RULES for kind in each.kinds} | set(NOT_HERE)


def _say_left(work: Work) -> None:
    """Say which nodes stay: known ones that were not converted, and how many others."""
    known, others = _known(), Counter[str]()
    said = {line.what for line in work.report.lines}
    for node in work.graph.nodes.values():
        if node.raw is None or node.kind == _ENDS or node.id in work.done:
            continue
        if node.kind in NOT_HERE and work.name(node) not in said:
            if _is_idle(work, node, set()):
                work.say(node, "left", "as it is; nothing that runs uses it")
            else:
                work.say(node, "not possible", f"{NOT_HERE[node.kind]} Left as it is.")
        elif node.kind in known and work.name(node) not in said:
            work.say(node, "left", "as it is; nothing that was converted uses it")
        elif node.kind.startswith("ADE_") and node.kind not in known:
            work.say(node, "not possible", "a node that the converter does not know; left as it is")
        else:
            others[node.kind] += 1
    if others:
        kinds = ", ".join(kind for kind, _ in others.most_common(_MOST_KINDS))
        more = f" and {len(others) - _MOST_KINDS} more kinds" if len(others) > _MOST_KINDS else ""
        where = f" in subgraph {work.graph.name}" if work.graph.name else ""
        work.report.add("left", f"{others.total()} other nodes{where}", f"as they are ({kinds}{more})")


def _is_idle(work: Work, node: Node, seen: set[str]) -> bool:
    """Tell whether a node of AnimateDiff-Evolved does nothing: it does not run, or nothing that does uses it."""
    if node.mode in (MUTED, BYPASSED) or node.id in seen:
        return True
    if not (is_passage(node) or node.kind.startswith(("ADE_", "ACN_"))):
        return False
    users = work.graph.users(node) + work.graph.received(node)
    return all(_is_idle(work, user, seen | {node.id}) for user, _ in users)


def _note(report: Report) -> str:
    """Return the lines of a report that a user should know, as Markdown."""
    lines = [line for line in report.lines if line.verdict in ("near", "not possible")]
    if not any(line.verdict != "left" for line in report.lines):
        return ""
    said = [f"- **{line.verdict}**: {line.what}: {line.said}" for line in lines]
    return "\n".join(["Converted to Frameloom's nodes. What is not exact:", *(said or ["- nothing"])])
