"""Make a storyboard of planned scenes: what every planner's answer has in common."""

from __future__ import annotations

from collections.abc import Sequence

from ..models.phrases import with_phrases
from ..models.storyboard import Provenance, Scene, Storyboard


def assemble(
    scenes: Sequence[Scene], *, fps: float, size: tuple[int, int], provenance: Provenance
) -> Storyboard:
    """Return a storyboard whose prompts name all they hold, and whose groups are what several scenes share."""
    named = [
        scene.model_copy(
            update={
                "prompt": with_phrases(
                    scene.prompt, [*(entity.text for entity in scene.entities), scene.background]
                )
            }
        )
        for scene in scenes
    ]
    members: dict[str, list[int]] = {}
    for scene in scenes:
        for name in dict.fromkeys([*(entity.id for entity in scene.entities), scene.background]):
            members.setdefault(name, []).append(scene.id)
    groups = {name: tuple(ids) for name, ids in members.items() if name and len(ids) > 1}
    return Storyboard(fps=fps, size=size, scenes=tuple(named), groups=groups, provenance=provenance)
