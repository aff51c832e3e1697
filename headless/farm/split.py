"""A graph with one Keyframed Video, cut into prompts: one for the keyframes alone, and one for each clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NODE, FIRST = "Frameloom_KeyframedVideo", "first_clip"
SAVED = "frameloom_farm_frames"  # id of the node whose pictures the farm fetches
_ENDS = "frameloom_farm_ends"

Prompt = dict[str, Any]


@dataclass(frozen=True)
class FarmJob:
    """One prompt for any server.

    Attributes:
        name: words for people.
        prompt: graph in API form, whose node ``SAVED`` makes the pictures.
        index: clip that it draws, from 0; None: it shows the keyframes.
        frames: number of pictures that must come back; None: two or more.
        ends: hashes of the pixels that the first picture and the last must have; none: any.
    """

    name: str
    prompt: Prompt = field(compare=False, repr=False)
    index: int | None = None
    frames: int | None = None
    ends: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class SplitGraph:
    """A graph, as far as its Keyframed Video needs it.

    Attributes:
        nodes: the node and all that leads to it.
        node: id of that node.
        left_out: names of the other nodes, which no server runs.
    """

    nodes: Mapping[str, Any]
    node: str
    left_out: tuple[str, ...]

    @property
    def length(self) -> int | None:
        """Frames of a clip; None: another node says it."""
        length = self._inputs.get("length")
        return length if isinstance(length, int) else None

    def keyframes(self) -> FarmJob:
        """Return the job that shows the keyframes, and samples nothing."""
        link = self._inputs["keyframes"]
        return FarmJob("the keyframes", {**_leading_to(self.nodes, [link[0]]), SAVED: _shown(link)})

    def clip(self, index: int, ends: tuple[str, str]) -> FarmJob:
        """Return the job that draws a clip between two keyframes, whose pixels' hashes are given."""
        cut = {"image": self._inputs["keyframes"], "batch_index": index, "length": 2}
        number = self._inputs.get(FIRST, 0) + index
        node = {
            "class_type": NODE,
            "inputs": {**self._inputs, "keyframes": [_ENDS, 0], FIRST: number},
        }
        added = {
            _ENDS: {"class_type": "ImageFromBatch", "inputs": cut},
            self.node: node,
            SAVED: _shown([self.node, 0]),
        }
        frames = ""
        if self.length is not None:
            first = index * (self.length - 1)
            frames = f" (frames {first} to {first + self.length - 1})"
        return FarmJob(f"clip {index + 1}{frames}", {**self.nodes, **added}, index, self.length, ends)

    @property
    def _inputs(self) -> dict[str, Any]:
        return self.nodes[self.node]["inputs"]


def split_graph(prompt: Mapping[str, Any]) -> SplitGraph:
    """Cut a graph in API form.

    Raises:
        ValueError: it does not have exactly one Keyframed Video, with keyframes; or a link leads nowhere.
    """
    for name, each in prompt.items():
        if not isinstance(each, dict) or not isinstance(each.get("inputs"), dict) or "class_type" not in each:
            raise ValueError(
                f"node {name}: got {str(each)[:60]!r}; expected class_type and inputs; in ComfyUI use "
                '"Export (API)".'
            )
    found = [name for name, each in prompt.items() if each["class_type"] == NODE]
    if len(found) != 1:
        raise ValueError(
            f"got {len(found)} nodes of Keyframed Video{''.join(f', node {name}' for name in found)}; expected exactly "
            "one, whose clips the servers share; take the others out of the graph, and farm each by itself."
        )
    (node,) = found
    inputs = prompt[node]["inputs"]
    if not _is_link(inputs.get("keyframes")):
        raise ValueError(
            f"node {node}, keyframes: got {inputs.get('keyframes')!r}; expected a link to a batch of pictures; connect "
            "one and export the graph again."
        )
    if not isinstance(inputs.get(FIRST, 0), int):
        raise ValueError(
            f"node {node}, {FIRST}: got {inputs[FIRST]!r}; expected a whole number, since each clip is given its own; "
            "disconnect it and type the number."
        )
    nodes = _leading_to(prompt, [node])
    left_out = [f"{each['class_type']} (node {name})" for name, each in prompt.items() if name not in nodes]
    return SplitGraph(nodes, node, tuple(left_out))


def _leading_to(prompt: Mapping[str, Any], goals: list[str]) -> Prompt:
    """Return nodes and all that they need, without what the editor notes on them."""
    nodes: Prompt = {}
    waiting = list(goals)
    while waiting:
        name = waiting.pop()
        if name in nodes:
            continue
        if name not in prompt:
            raise ValueError(
                f"got a link to node {name}, which the graph does not have; expected one of "
                f"{', '.join(prompt)}; export the graph again."
            )
        nodes[name] = {"class_type": prompt[name]["class_type"], "inputs": prompt[name]["inputs"]}
        waiting += [value[0] for value in prompt[name]["inputs"].values() if _is_link(value)]
    return {name: nodes[name] for name in prompt if name in nodes}


def _is_link(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
    )


def _shown(link: list[Any]) -> Prompt:
    return {"class_type": "PreviewImage", "inputs": {"images": link}}
