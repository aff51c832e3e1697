"""How edits compose: the one rule of each seam, and what of them acts in a model call.

Both hosts ask here, and nowhere else does one edit meet another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from torch import Tensor

from ..video.grid import Tiles
from ..video.shapes import Clip, Hidden, Ids, Tokens
from .call import Call, Layer, Plan, check_places
from .edit import SEAMS, Added, Conditions, Edit, Merged, Part, Source, TokenMerge

logger = logging.getLogger(__name__)

Ask = Callable[[Any, Any], Any]
"""Asks a part, given the answer so far."""
Rule = Callable[[Sequence[Any], Ask, Any], Any]
"""Makes one answer of several parts': (parts in the order of their edits, how to ask one, the answer of none)."""
_Condition = TypeVar("_Condition")


def last(parts: Sequence[Any], ask: Ask, none: Any) -> Any:
    """Ask the last part alone."""
    return ask(parts[-1], none) if parts else none


def chain(parts: Sequence[Any], ask: Ask, none: Any) -> Any:
    """Hand each part what the one before it made."""
    for part in parts:
        none = ask(part, none)
    return none


def add(parts: Sequence[Any], ask: Ask, none: Any) -> Any:
    """Sum what parts answer; one that answers None adds nothing."""
    answers = [answer for part in parts if (answer := ask(part, none)) is not None]
    return sum(answers[1:], answers[0]) if answers else none


def each(parts: Sequence[Any], ask: Ask, none: Any) -> Any:
    """Ask every part, and take no answer."""
    for part in parts:
        ask(part, none)
    return none


RULES: Mapping[str, Rule] = {
    "schedule": last,
    "noise": last,
    "run": last,
    "result": chain,
    "windows": last,
    "grid": last,
    "conditions": last,
    "cfg": chain,
    "chunks": last,
    "guide": last,
    "input": chain,
    "residuals": add,
    "slots": chain,
    "skips": chain,
    "time": last,
    "temporal_attention": chain,
    "self_attention": chain,
    "merge": last,
    "between": last,
    "cross_attention": add,
    "observe": each,
}
"""How parts of one seam compose. Of those under ``last``, the last counts also where it does not act."""


def find(edits: Sequence[Edit], seam: str) -> Any | None:
    """Return the part that counts at a seam where the last one does; None: no edit has any."""
    return RULES[seam](_parts(edits, seam), lambda part, _: part, None)


def finish(edits: Sequence[Edit], clip: Clip) -> Clip:
    """Return what goes on of a clip that a run has drawn to the end."""
    return RULES["result"](_parts(edits, "result"), lambda part, clip: part.finish(clip), clip)


def find_notes(edits: Sequence[Edit], plan: Plan) -> list[str]:
    """Return, and log, what to tell the user about a sampling run before it begins."""
    cutting = [part for seam in ("windows", "time") if (part := find(edits, seam)) is not None]
    lengths = [part.length for part in cutting if part.is_needed(plan.frames)]
    plan = replace(plan, together=min(lengths, default=plan.frames))
    parts = [part for edit in edits for part in edit.own_parts()]
    notes = list(dict.fromkeys(note for part in parts if (note := part.note(plan)) is not None))
    for note in notes:
        logger.warning(note)
    return notes


def check_composed(part: Conditions | None, composed: Sequence[_Condition]) -> _Condition | None:
    """Return the condition of one side that a part asks as several, or None.

    Raises:
        ValueError: there are two, and what they change can't be told apart in their average.
    """
    if part is not None and len(composed) > 1:
        raise ValueError(part.crowded(len(composed)))
    return composed[0] if composed else None


class RunEdits:
    """The edits of a model for one run, with what their parts remember between its calls."""

    def __init__(self, edits: Sequence[Edit], conditions: Sequence[Mapping[str, Any]] = ()) -> None:
        """Check that the edits go together, and with the options of every condition of the run.

        Raises:
            ValueError: they do not.
        """
        self.edits, self.conditions = tuple(edits), conditions
        for part in (part for edit in self.edits for part in edit.own_parts()):
            part.check(self.edits, conditions)
        self.forget()

    def forget(self) -> None:
        """Drop what parts remember of earlier calls."""
        self._memories: dict[Hashable, Any] = {}
        self.memory: dict[Hashable, Any] = {}

    def parts(self, seam: str) -> list[Any]:
        """Return the parts of a seam, in the order of their edits."""
        return _parts(self.edits, seam)

    def find(self, seam: str) -> Any | None:
        """Return the part that counts at a seam where the last one does; None: there is none."""
        return find(self.edits, seam)

    def tiles(self, frame_ids: Ids) -> Tiles | None:
        """Return how frames lie in pictures; None: each is one itself."""
        grid = self.find("grid")
        return None if grid is None or grid.side == 1 else Tiles(grid.side, tuple(frame_ids))

    def scale_cfg(
        self, cfg: float, frame_ids: Sequence[int], progress: float, size: Sequence[int]
    ) -> float | Tensor:
        """Return the guidance of each frame, as ``CFG`` has it, where a sampler has one number for all."""

        def ask(part: Any, cfg: float | Tensor) -> Tensor:
            return part.scale(cfg, frame_ids, progress, size)

        return RULES["cfg"](self.parts("cfg"), ask, cfg)

    def remembered(self, number: int, part: Any, of: Hashable) -> Any:
        """Return what a part, by its number at its seam, remembers ``of`` a network, as ``Active.read`` has it."""
        if (number, of) not in self._memories:
            self._memories[number, of] = part.memory()
        return self._memories[number, of]

    def at(
        self, call: Call, instead: Mapping[str, Sequence[Any]] | None = None, *, in_control: bool = False
    ) -> Active:
        """Work out what acts in a model call.

        Args:
            call: call of the network.
            instead: parts in the place of those of a seam, by the seam.
            in_control: True: the network is a ControlNet, in which self-attention alone is edited.
        """
        return Active(self, call, instead or {}, in_control)


class Active:
    """What edits do in one model call."""

    def __init__(
        self, run: RunEdits, call: Call, instead: Mapping[str, Sequence[Any]], in_control: bool
    ) -> None:
        """Work it out; ``RunEdits.at`` says the arguments."""
        self.call, self._run = call, run
        parts = {seam: list(instead.get(seam, run.parts(seam))) for seam in SEAMS}

        def numbered(seam: str) -> list[tuple[int, Any]]:
            return [(number, part) for number, part in enumerate(parts[seam]) if _acts(part, call)]

        readers = [each for each in numbered("self_attention") if each[1].in_control or not in_control]
        if in_control:
            parts = {seam: list[Any]() for seam in SEAMS}
        self._acting = {
            seam: [part for part in parts[seam] if _acts(part, call)]
            for seam in ("input", "slots", "skips", "cross_attention", "observe")
        }
        self._acting["self_attention"] = readers
        self._acting |= {seam: numbered(seam) for seam in ("residuals", "temporal_attention")}
        self._time = RULES["time"](parts["time"], lambda part, _: part, None)
        merges = [part for part in parts["merge"] if call.frames > 1 or call.is_part]
        self._merge = RULES["merge"](merges, lambda part, _: part, None)
        self._change = RULES["between"](parts["between"], lambda part, _: part.change(call), None)
        self._biases: dict[Hashable, Tensor | None] = {}

    def acts_at(self, seam: str) -> bool:
        """Tell whether something acts at a seam inside the network; where nothing does, it need not be asked."""
        at_most_one = {"between": self._change, "merge": self._merge}
        return at_most_one[seam] is not None if seam in at_most_one else bool(self._acting[seam])

    @property
    def keeps_frames_apart(self) -> bool:
        """Whether no edit lets a frame have a say in another's prediction."""
        return not any(map(self.acts_at, ("slots", "self_attention", "merge")))

    @property
    def norm_frames(self) -> int:
        """Frames over which the network's residual norms go."""
        return self.call.frames if any(part.over_clip for part in self._acting["slots"]) else 1

    def input(self, hidden: Hidden) -> Hidden:
        """Return what goes on from the first convolution."""
        return self._compose("input", lambda part, hidden: part.add(hidden, self.call), hidden)

    def residuals(self, tokens: Tokens) -> Added | None:
        """Return what is added to the UNet from beside it, for a prompt with a row for each picture; None: nothing."""

        def ask(numbered: tuple[int, Any], _: None) -> Added | None:
            number, part = numbered
            return part.residuals(
                tokens, self.call, self._time, self._run.remembered(number, part, "residuals")
            )

        return self._compose("residuals", ask, None)

    def slot(self, name: str, hidden: Hidden) -> Hidden:
        """Return what goes on from a slot."""
        if not any(name in part.slots for part in self._acting["slots"]):
            return hidden
        merges = self._merges(name, hidden)

        def run(part: Any, hidden: Hidden) -> Hidden:
            return part.run(name, hidden, self.call, self._time, merges) if name in part.slots else hidden

        return self._compose("slots", run, hidden)

    def _merges(self, slot: str, hidden: Hidden) -> list[TokenMerge]:
        """Return what parts change, in their order, in what the first attention of a slot reads."""
        found = [
            part.merges(slot, hidden, self.call, self._run.remembered(number, part, "temporal_attention"))
            for number, part in self._acting["temporal_attention"]
        ]
        return [each for each in found if each is not None]

    def join(self, hidden: Hidden, skip: Hidden, factor: int) -> tuple[Hidden, Hidden]:
        """Return what a block of the way up takes side by side, as ``Skips`` has it."""
        return self._compose("skips", lambda part, both: part.join(*both, self.call, factor), (hidden, skip))

    def read(self, tokens: Tokens, layer: Layer, of: Hashable = None) -> Source | None:
        """Return what a layer of self-attention reads in place of its own tokens; None: itself.

        ``of`` tells networks apart, and values from keys where a layer has other tokens for them.
        """

        def ask(numbered: tuple[int, Any], source: Source | None) -> Source | None:
            number, part = numbered
            if layer.level not in part.levels:
                return source
            own = tokens if source is None else source.per_frame(self.call.frames)
            return part.read(own, self.call, self._run.remembered(number, part, of), layer)

        return self._compose("self_attention", ask, None)

    def merge(self, tokens: Tokens, layer: Layer) -> Merged | None:
        """Return what a layer of self-attention goes among in place of its tokens; None: among all.

        Raises:
            ValueError: it has other rows than the pictures of the call.
        """
        part = self._merge
        if part is None or layer.level not in part.levels:
            return None
        if len(tokens) != self.call.frames * len(self.call.conditions):
            raise ValueError(
                f"model: got self-attention over {len(tokens)} rows of tokens; expected one for each of "
                f"{self.call.frames} frames and {len(self.call.conditions)} conditions; take nodes that cut pictures "
                "into tiles (HyperTile) out of the graph."
            )
        return part.merge(tokens, self.call, self._run.remembered(0, part, "merge"), layer)

    def between(self, tokens: Tokens, number: int) -> Tokens:
        """Return what goes from self- to cross-attention in a transformer, by its number in the network's order."""
        return tokens if self._change is None else self._change(tokens, number)

    def bias(self, layer: Layer, query: Tensor, tokens: int) -> Tensor | None:
        """Return what is added to a layer's logits, [N, L, S] like its query, [N, L, ...]; None: nothing.

        Raises:
            ValueError: the layer's places are not those of the latents at its level.
        """
        key = (layer.level, tokens, query.dtype, query.device)
        if key not in self._biases:
            made = self._compose("cross_attention", lambda part, _: part.bias(self.call, layer, tokens), None)
            self._biases[key] = None if made is None else made.to(query)
        bias = self._biases[key]
        if bias is not None:
            check_places(self.call, layer, query.shape[1])
        return bias

    def is_watched(self, layer: Layer) -> bool:
        """Tell whether anything looks at a layer's cross-attention."""
        return any(layer.level in part.levels for part in self._acting["observe"])

    def see(self, query: Tensor, key: Tensor, layer: Layer) -> None:
        """Show a layer's cross-attention, [N, heads, L, D], to what looks at it, as ``Observer`` has it."""

        def show(part: Any, _: None) -> None:
            if layer.level in part.levels:
                part.see(query, key, self.call, layer)

        self._compose("observe", show, None)

    def _compose(self, seam: str, ask: Ask, none: Any) -> Any:
        return RULES[seam](self._acting[seam], ask, none)


def _parts(edits: Sequence[Edit], seam: str) -> list[Any]:
    return [part for edit in edits if (part := getattr(edit, seam)) is not None]


def _acts(part: Any, call: Call) -> bool:
    return not isinstance(part, Part) or part.acts(call)
