"""Make a storyboard of planned scenes; every planner ends here."""

from __future__ import annotations

from collections.abc import Sequence

from ...models.storyboard.phrases import with_phrases
from ...models.storyboard.scenes import Provenance, Scene, Storyboard
from ..formats.tracks import groups_of


def assemble(
    scenes: Sequence[Scene], *, fps: float, size: tuple[int, int], provenance: Provenance
) -> Storyboard:
    """Return a storyboard. Its prompts name all entities, and its groups are the things that several scenes share."""
    named: list[Scene] = []
    for scene in scenes:
        phrases = [*(entity.text for entity in scene.entities), scene.background]
        named.append(scene.model_copy(update={"prompt": with_phrases(scene.prompt, phrases)}))
    groups = {name: ids for name, ids in groups_of(scenes).items() if len(ids) > 1}
    return Storyboard(fps=fps, size=size, scenes=tuple(named), groups=groups, provenance=provenance)
