"""What became of each node, line by line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["exact", "near", "not possible", "left"]
VERDICTS: tuple[Verdict, ...] = ("exact", "near", "not possible", "left")
"""From best to worst for a graph, but for ``left``: what the converter does not know, and did not touch."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a report.

    Attributes:
        verdict: word for how well it was converted.
        what: the node, or nodes.
        said: words on what it became, and of what is not exact, why.
    """

    verdict: Verdict
    what: str
    said: str

    def __str__(self) -> str:
        """Say it in one line."""
        return " ".join(f"{self.verdict}: {self.what}: {self.said}".split())


@dataclass(slots=True)
class Report:
    """The lines of a graph's conversion."""

    _lines: dict[Line, None] = field(default_factory=dict["Line", None])

    def add(self, verdict: Verdict, what: str, said: str) -> None:
        """Add a line, unless it was said before."""
        self._lines[Line(verdict, what, said)] = None

    @property
    def lines(self) -> list[Line]:
        """The lines, in the order in which they were said."""
        return list(self._lines)

    @property
    def verdict(self) -> Verdict:
        """The worst of all lines; exact where there is nothing to convert."""
        found = {line.verdict for line in self.lines}
        if "not possible" in found:
            return "not possible"
        return "near" if "near" in found else "exact"

    def __str__(self) -> str:
        """Return the lines, and a last one that counts them."""
        counts = Counter(line.verdict for line in self.lines)
        if not counts["exact"] + counts["near"] + counts["not possible"]:
            total = "nothing to convert: no node of AnimateDiff-Evolved or of the packs around it was found"
        else:
            total = (
                f"the graph: {self.verdict} ("
                + ", ".join(f"{counts[each]} {each}" for each in VERDICTS)
                + ")"
            )
        return "\n".join([*map(str, self.lines), total])
