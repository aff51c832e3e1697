"""Sample texts of every format of layouts, and what a storyboard of one scene shows frame by frame."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "language" / "samples"

# File -> its format.
SAMPLES = {
    "frameloom.json": "Frameloom JSON",
    "video_director.txt": "VideoDirectorGPT plan",
    "video_director.json": "VideoDirectorGPT plan",
    "lvd.txt": "LVD frames",
    "visor.txt": "VisorGPT sequence",
    "visor_bodies.txt": "VisorGPT sequence",
    "storyboard20k.json": "Storyboard20K JSON",
    "storyboard20k.txt": "Storyboard20K lines",
}


def sample(name):
    return (FOLDER / name).read_text(encoding="utf-8")


def ids(scene):
    """The ids of a scene's entities, in their order."""
    return [entity.id for entity in scene.entities]


def boxes(scene, entity_id, frames=None):
    """An entity's boxes at frames, rounded; None where it is absent."""
    entity = {entity.id: entity for entity in scene.entities}[entity_id]
    found, present = entity.boxes_at(scene.frames if frames is None else frames)
    pairs = zip(found.tolist(), present.tolist(), strict=True)
    return [tuple(round(edge, 4) for edge in box) if here else None for box, here in pairs]
