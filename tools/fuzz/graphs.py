"""Workflows of the pack made cheap, and what may be wrong with a workflow that somebody sends."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from frameloom.tools.schemas import schemas

Graph = dict[str, Any]
WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows" / "api"
# input -> the most that a cheap workflow has of it
CHEAP = {
    "steps": 2, "width": 64, "height": 64, "frames": 4, "batch_size": 3, "amount": 4, "length": 3, "overlap": 1,
    "window_length": 3, "stride": 1, "extra_iterations": 1, "passes": 1, "clips": 2, "warmup": 1, "longer_side": 64,
    "rank": 2, "attempts": 1, "timeout": 2.0, "repairs": 0, "layers": 1, "context": 64,
    "step": 1,
}  # fmt: skip
# What else a workflow wants to be cheap and right, by class and input.
SPECIAL = {
    ("EmptyLatentImage", "batch_size"): 4,
    ("Frameloom_VideoDataset", "width"): 128,
    ("Frameloom_VideoDataset", "height"): 128,
    ("Frameloom_TrainLayoutPrior", "context"): 320,
    ("Frameloom_TrainLayoutPrior", "width"): 8,
    ("Frameloom_TrainMotionModule", "steps"): 1,
    ("Frameloom_NuwaPlan", "length"): 4,
    ("BasicScheduler", "steps"): 3,
    ("Frameloom_ZeroShotSampler", "steps"): 20,
}
# More of these is honest work, and no fault: their largest values are not tried.
WORK = {
    *CHEAP, "depth", "resample_rounds", "columns", "clips_per_video", "accumulation", "batch", "max_tokens", "dilation",
    "top_k", "keyframes", "chunk_size", "hold", "max_frames", "frames_per_step", "skip", "cross_fade",
}  # fmt: skip
NUMBERS = (
    math.nan, math.inf, -math.inf, 0, -1, -0.0, 1e308, -1e308, 5e-324, 2**31, 2**63, -(2**63), 2**64, 10**400, 0.5, 1e-9
)  # fmt: skip
THINGS = (
    None, True, "", "1", "nan", " ", "none", [], {}, [1, 2], ["1"], {"__value__": []}, {"__value__": math.nan},
    {"a": {}}, "../../etc/passwd", "/dev/null", "\x00", "\ud800", "\u202ered", "%s%d{}", [[["1", 0]]], 3, 0.25, -7,
    math.nan,
)  # fmt: skip
TEXTS = (
    "", " ", "(" * 500, "((a:1.1)" * 40, "a " * 3000, "a\x00b", "\ud800", "(red ball:nan)", "(a:1e999)", "[a|b]", "\\(",
    '{"version": 1}', "0: a\n1: b", "null", "é̂" * 50, "[" * 5000, "BREAK", "embedding:x", "a, , ,", "-1: a", "1e9: a",
)  # fmt: skip


def cheap_graphs() -> dict[str, Graph]:
    """Return every workflow of the pack by name, small enough to be run in a second."""
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(WORKFLOWS.glob("*.json"))}
    board = json.loads(found["layout_masks_demo"]["2"]["inputs"]["text"])
    scene = board["scenes"][0]
    board["scenes"] = [
        scene | {"id": number, "prompt": f"{scene['prompt']}, {number}"} for number in range(1, 17)
    ]
    return {name: _cheapened(graph, json.dumps(board)) for name, graph in found.items()}


def _cheapened(graph: Graph, board: str) -> Graph:
    """Return a workflow with little to do.

    Args:
        graph: the workflow.
        board: a storyboard, to learn layouts from: drawn shapes are many.
    """
    for node in graph.values():
        for name, value in node["inputs"].items():
            most = SPECIAL.get((node["class_type"], name), CHEAP.get(name))
            if most is not None and isinstance(value, int | float):
                node["inputs"][name] = min(value, most)
        if node["class_type"] == "Frameloom_NuwaPlan":  # one prompt for all keyframes, which are fewer
            node["inputs"]["prompts"] = node["inputs"]["prompts"].splitlines()[0]
        if node["class_type"] == "Frameloom_TrainLayoutPrior":
            node["inputs"] |= {"source": "text", "text": board}
    return graph


def mutate(rng: random.Random, graph: Graph) -> tuple[str, str]:
    """Return a graph with one to three faults as JSON, and what was done.

    Args:
        rng: chooses them.
        graph: a right one; it stays as it is.
    """
    changed = copy.deepcopy(graph)
    done = [rng.choice(MUTATIONS)(rng, changed) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    text = json.dumps(changed)
    if rng.random() < 0.03:
        text = _spoil_text(rng, text)
        done.append("text spoiled")
    return text, "; ".join(done)


def _inputs(graph: Graph, wanted: Callable[[Any], bool]) -> list[tuple[str, str]]:
    return [
        (node_id, name)
        for node_id, node in graph.items()
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
        for name, value in node["inputs"].items()
        if wanted(value)
    ]


def _pick(rng: random.Random, graph: Graph, wanted: Callable[[Any], bool]) -> tuple[str, str, str]:
    """Choose an input; return its node, its name and both in words."""
    found = _inputs(graph, wanted) or _inputs(graph, lambda _: True)
    if not found:
        graph["fuzz"] = {"class_type": "EmptyImage", "inputs": {"width": 1}}
        found = [("fuzz", "width")]
    node_id, name = rng.choice(found)
    return node_id, name, f"{graph[node_id].get('class_type')}.{name}"


def _is_link(value: Any) -> bool:
    return isinstance(value, list)


def _spec(graph: Graph, node_id: str, name: str) -> tuple[Any, Mapping[str, Any]]:
    """Return the kind and the options of an input, as far as they are known."""
    entry = _known().get(str(graph[node_id].get("class_type")), {}).get("input", {})
    spec: Any = entry.get("required", {}).get(name) or entry.get("optional", {}).get(name) or ["?"]
    return spec[0], spec[1] if len(spec) > 1 else {}


@cache
def _known() -> dict[str, Any]:
    return schemas()


def _set_value(rng: random.Random, graph: Graph) -> str:
    """Give a widget a value at its limits or beyond."""
    node_id, name, place = _pick(rng, graph, lambda value: not _is_link(value))
    kind, options = _spec(graph, node_id, name)
    value: Any = rng.choice(THINGS)
    if kind in ("INT", "FLOAT"):
        low, high = options.get("min", 0), options.get("max", 1)
        edges = [low, low - 1, high + 1, low + (1 if kind == "INT" else 1e-6)] + (
            [] if name in WORK else [high]
        )
        value = rng.choice([rng.choice(NUMBERS), rng.choice(edges), rng.choice(edges)])
    elif kind == "STRING":
        value = rng.choice(TEXTS)
    elif kind == "COMBO" or isinstance(kind, list):
        choices = kind if isinstance(kind, list) else options.get("options", [])
        value = rng.choice([*choices, rng.choice(THINGS)]) if choices else value
    graph[node_id]["inputs"][name] = value
    return f"{place} = {json.dumps(value)[:60]}"


def _set_legal(rng: random.Random, graph: Graph) -> str:
    """Give a widget a value that its schema allows; whether the graph still makes sense is another matter."""
    node_id, name, place = _pick(rng, graph, lambda value: not _is_link(value))
    kind, options = _spec(graph, node_id, name)
    low, high = options.get("min", 0), options.get("max", 1)
    value: Any = graph[node_id]["inputs"][name]
    if kind == "INT":
        value = rng.randint(low, min(high, low + 9))
    elif kind == "FLOAT":
        value = rng.choice([rng.uniform(low, min(high, low + 2)), rng.uniform(low, high)])
    elif kind == "BOOLEAN":
        value = not value
    elif kind == "COMBO" and options.get("options"):
        value = rng.choice(options["options"])
    graph[node_id]["inputs"][name] = value
    return f"{place} = {json.dumps(value)[:60]} (allowed)"


def _set_thing(rng: random.Random, graph: Graph) -> str:
    node_id, name, place = _pick(rng, graph, lambda _: True)
    value = rng.choice([*THINGS, *NUMBERS, _deep(rng.choice([20, 400, 3000]))])
    graph[node_id]["inputs"][name] = value
    return f"{place} = {json.dumps(value)[:60] if not isinstance(value, dict) else 'an object'}"


def _deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(min(levels, 400)):
        value = {"a": [value]}
    return value


def _set_literal(rng: random.Random, graph: Graph) -> str:
    node_id, name, place = _pick(rng, graph, _is_link)
    graph[node_id]["inputs"][name] = value = rng.choice([*THINGS, 1, 0.5, "1"])
    return f"{place}, a socket, = {json.dumps(value)[:60]}"


def _drop_input(rng: random.Random, graph: Graph) -> str:
    node_id, name, place = _pick(rng, graph, lambda _: True)
    del graph[node_id]["inputs"][name]
    return f"{place} dropped"


def _link(rng: random.Random, graph: Graph, wanted: Callable[[Any], bool]) -> str:
    node_id, name, place = _pick(rng, graph, wanted)
    source, slot = rng.choice(list(graph)), rng.choice([0, 0, 0, 1, 2, 3, -1, 99, 0.5, math.nan])
    graph[node_id]["inputs"][name] = [source, slot]
    return f"{place} from {source}, {slot}"


def _move_link(rng: random.Random, graph: Graph) -> str:
    return _link(rng, graph, _is_link)


def _link_widget(rng: random.Random, graph: Graph) -> str:
    return _link(rng, graph, lambda value: not _is_link(value))


def _swap_links(rng: random.Random, graph: Graph) -> str:
    one, other = _pick(rng, graph, _is_link), _pick(rng, graph, _is_link)
    first, second = graph[one[0]]["inputs"], graph[other[0]]["inputs"]
    first[one[1]], second[other[1]] = second[other[1]], first[one[1]]
    return f"{one[2]} and {other[2]} swapped"


def _remove_node(rng: random.Random, graph: Graph) -> str:
    node_id = rng.choice(list(graph))
    return f"node {node_id} removed: {str(graph.pop(node_id))[:40]}"


def _double_node(rng: random.Random, graph: Graph) -> str:
    node_id = rng.choice(list(graph))
    graph["again"] = copy.deepcopy(graph[node_id])
    place = _pick(rng, graph, _is_link)
    graph[place[0]]["inputs"][place[1]] = ["again", 0]
    return f"node {node_id} twice, {place[2]} from the copy"


def _change_class(rng: random.Random, graph: Graph) -> str:
    node_id = rng.choice(list(graph))
    name = rng.choice([*sorted(_known()), "Unknown", "", None, 7, "KSampler\n", ["KSampler"]])
    if isinstance(graph[node_id], dict):
        graph[node_id]["class_type"] = name
    return f"node {node_id} is a {name!r}"


def _spoil_node(rng: random.Random, graph: Graph) -> str:
    node_id = rng.choice(list(graph))
    what = rng.choice(["node", "inputs", "_meta", "class_type"])
    value = copy.deepcopy(rng.choice(THINGS))
    if what == "node" or not isinstance(graph[node_id], dict):
        graph[node_id] = value
    else:
        graph[node_id][what] = value
    return f"{what} of node {node_id} = {json.dumps(value)[:40]}"


def _clip_source(rng: random.Random, graph: Graph) -> str:
    """Give a socket of pictures or latents a fresh node that fits, of another size."""
    node_id, name, place = _pick(rng, graph, _is_link)
    kind, _ = _spec(graph, node_id, name)
    size = {
        "width": rng.choice([16, 64, 72, 200]),
        "height": rng.choice([16, 64, 88]),
        "batch_size": rng.randint(1, 5),
    }
    classes = {"LATENT": ("EmptyLatentImage", {}), "IMAGE": ("EmptyImage", {"color": 0x407090})}
    if not isinstance(kind, str) or kind not in classes:  # a choice's type is a list of its names
        return _set_legal(rng, graph)
    class_type, more = classes[kind]
    graph["fresh"] = {"class_type": class_type, "inputs": size | more}
    graph[node_id]["inputs"][name] = ["fresh", 0]
    return f"{place} of {size}"


MUTATIONS = (
    *[_set_value] * 8, *[_set_legal] * 10, *[_set_thing] * 3, *[_set_literal] * 2, *[_drop_input] * 2,
    *[_move_link] * 3, *[_link_widget] * 2, *[_swap_links] * 2, _remove_node, *[_double_node] * 2, *[_change_class] * 2,
    _spoil_node, *[_clip_source] * 4,
)  # fmt: skip


def _spoil_text(rng: random.Random, text: str) -> str:
    place = rng.randrange(len(text))
    return rng.choice(
        [
            text[:place],
            text[:place] + rng.choice('{}[],:"0 \x00\ufeff') + text[place:],
            "[" * 100_000 + text,
            text + text,
        ]
    )


def settings(rng: random.Random, graph: Graph) -> Iterator[str]:
    """Yield arguments for ``--set``, sometimes none, of things that the command line may be given."""
    if rng.random() < 0.1:
        node_id, name, _ = _pick(rng, graph, lambda _: True)
        value = rng.choice(
            ["NaN", "Infinity", "-1", "1e999", "9" * 5000, "[" * 3000, "null", "", "{}", '"x', "true"]
        )
        yield "--set"
        yield rng.choice(
            [f"{node_id}.{name}={value}", f"{name}={value}", f"{node_id}.{name}", f"9.9.9={value}"]
        )
