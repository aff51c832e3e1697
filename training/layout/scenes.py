"""Scenes to train a layout prior on: layouts of shapes, and the keyframes of any scene that a prior is shown.

This file makes scenes, chooses their keyframes, and holds some scenes out. It draws no pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...models.storyboard.scenes import BoxKey, Entity, Ids, Scene
from .. import shapes

SCENES = 6000  # number of scenes for training a prior
THINGS = (0.5, 0.35, 0.15)  # chances of one, two and three things in a scene
MOVING = 0.65  # chance that the caption says a motion, or standing still; else it says a place
SIZED = 0.5  # chance that a scene says sizes
GRID = 32  # lines that boxes lie on: half a cell of the demo's latents, and few enough for a small prior
TRIES = 8  # attempts to draw a thing that touches no other; then it is left out
HELD_OUT = 0.1  # share of the contents
FEWEST = 16  # contents; with fewer there are too few to hold out and measure


def draw_scenes(count: int, generator: torch.Generator) -> list[Scene]:
    """Draw scenes of one to three shapes that never touch, each with a box in every frame.

    A scene of one shape has the caption that the demo model was trained on. The captions of several shapes are joined.
    No two things of a scene look alike. The result depends on the generator alone.

    Args:
        count: number of scenes.
        generator: source of every random number.
    """
    wanted = 1 + torch.multinomial(torch.tensor(THINGS), count, replacement=True, generator=generator)
    sized = (torch.rand(count, generator=generator) < SIZED).tolist()
    layers = [_draw_things(count, generator)]
    boxes = [_boxes(layers[0])]
    present = [torch.ones(count, dtype=torch.bool)]
    for layer in range(1, len(THINGS)):
        drawn, fits = _draw_clear(layers, boxes, present, generator)
        layers.append(drawn)
        boxes.append(_boxes(drawn))
        present.append(fits & (wanted > layer))
    return [
        _scene(
            [(layer, box[i]) for layer, box, here in zip(layers, boxes, present, strict=True) if here[i]],
            i,
            with_size=sized[i],
        )
        for i in range(count)
    ]


def _boxes(clips: shapes.Clips) -> Tensor:
    """Return the boxes of clips on the nearest lines of ``GRID``: [B, F, 4]."""
    return (shapes.bounds(clips) * GRID).round() / GRID


def _draw_things(count: int, generator: torch.Generator) -> shapes.Clips:
    clips, stills = shapes.sample_clips(count, generator), shapes.sample_images(count, generator)
    stills = replace(stills, centers=stills.centers.expand(-1, clips.frames, -1))
    return _choose(torch.rand(count, generator=generator) < MOVING, clips, stills)


def _choose(first: Tensor, one: shapes.Clips, other: shapes.Clips) -> shapes.Clips:
    """Return the clips of ``one`` where ``first``, [B] bool, is true, and those of ``other`` elsewhere."""
    parts = {}
    for name in one.__dataclass_fields__:
        a, b = getattr(one, name), getattr(other, name)
        parts[name] = torch.where(first.view(-1, *[1] * (a.ndim - 1)), a, b)
    return shapes.Clips(**parts)


def _draw_clear(
    layers: Sequence[shapes.Clips],
    boxes: Sequence[Tensor],
    present: Sequence[Tensor],
    generator: torch.Generator,
) -> tuple[shapes.Clips, Tensor]:
    """Return one more thing for each scene, and whether it touches none of the others, [B] bool."""
    count = len(layers[0])
    kept, fits = _draw_things(count, generator), torch.zeros(count, dtype=torch.bool)
    for _ in range(TRIES):
        drawn = _draw_things(count, generator)
        clear = torch.ones(count, dtype=torch.bool)
        for layer, box, here in zip(layers, boxes, present, strict=True):
            alike = (layer.color == drawn.color) & (layer.shape == drawn.shape)
            clear &= ~(here & (alike | _touch(box, _boxes(drawn))))
        kept, fits = _choose(clear & ~fits, drawn, kept), fits | clear
    return kept, fits


def _touch(one: Tensor, other: Tensor) -> Tensor:
    """Tell whether boxes, [B, F, 4], overlap in any frame: [B] bool."""
    starts, stops = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    return (starts < stops).all(-1).any(-1)


def _scene(things: Sequence[tuple[shapes.Clips, Tensor]], index: int, *, with_size: bool) -> Scene:
    """Return a scene of a clip and boxes, [F, 4], for each thing. The first thing's background is the scene's."""
    entities, ids = [], Ids()
    for number, (clips, boxes) in enumerate(things):
        name = shapes.name_thing(clips, index, with_size=with_size)
        track = tuple(BoxKey(f=f, box=tuple(box)) for f, box in enumerate(boxes.tolist()))
        entities.append(Entity(id=ids.of(number, name), text=name, track=track))
    first, frames = things[0][0], len(things[0][1])
    prompt = shapes.caption(first, index, with_size=with_size)
    if len(things) > 1:
        phrases = [
            f"{entity.text} {_whereabouts(clips, index)}"
            for entity, (clips, _) in zip(entities, things, strict=True)
        ]
        prompt = f"{' and '.join(phrases)} {shapes.name_background(first, index)}"
    return Scene(id=1, prompt=prompt, frames=frames, entities=tuple(entities))


def _whereabouts(clips: shapes.Clips, index: int) -> str:
    place = shapes.place_phrase(*clips.cell[index].tolist())
    return shapes.name_motion(clips, index) or f"at the {place}"


def at_keyframes(scene: Scene, frames: Sequence[int]) -> Scene:
    """Return a scene as a prior sees it: boxes at some frames alone, and no entity that is absent in all of them.

    Args:
        scene: scene with boxes at any frames.
        frames: rising frame numbers of the keyframes; with a single one everything stands still.
    """
    entities = []
    for entity in scene.entities:
        boxes, present = entity.boxes_at(frames)
        if present.any():
            keys = tuple(
                BoxKey(f=f, box=tuple(box) if here else None)
                for f, box, here in zip(frames, boxes.tolist(), present.tolist(), strict=True)
            )
            entities.append(Entity(id=entity.id, text=entity.text, track=keys, hold=len(frames) == 1))
    return scene.model_copy(update={"entities": tuple(entities)})


def draw_keyframes(scene: Scene, most: int, generator: torch.Generator) -> list[int]:
    """Draw the frames at which a scene is shown: the first, the last, and up to ``most - 2`` between.

    If nothing in the scene moves, it is a single frame once in ``most`` times.

    Args:
        scene: scene to show.
        most: largest number of keyframes, at least 1.
        generator: source of the random numbers.
    """
    fewest = 1 if is_still(scene) else 2
    most = min(max(most, fewest), scene.frames)
    count = int(torch.randint(min(fewest, most), most + 1, (), generator=generator))
    if count == 1:
        return [0]
    between = torch.randperm(scene.frames - 2, generator=generator)[: count - 2] + 1
    return [0, *sorted(between.tolist()), scene.frames - 1]


def is_still(scene: Scene) -> bool:
    """Tell whether no entity moves, appears or leaves."""
    return scene.frames == 1 or all(
        len({key.box for key in entity.track}) <= 1 and bool(entity.boxes_at((0, scene.frames - 1))[1].all())
        for entity in scene.entities
    )


def split_scenes(scenes: Sequence[Scene]) -> tuple[list[Scene], list[Scene]]:
    """Return the scenes to train on and those held out.

    Scenes with the same caption and names are on the same side. The choice depends on the set of all contents, not on
    their order.

    Args:
        scenes: scenes with at least ``FEWEST`` different contents.

    Raises:
        ValueError: there are fewer different contents.
    """
    contents = {content_of(scene) for scene in scenes}
    if len(contents) < FEWEST:
        raise ValueError(
            f"layouts: got {len(contents)} scenes whose caption and names differ; expected {FEWEST} at least, of which "
            f"{FEWEST // 2} are held out and measured; give more layouts."
        )
    ordered = sorted(contents, key=lambda content: hashlib.sha256(content.encode()).digest())
    held = set(ordered[: max(FEWEST // 2, round(HELD_OUT * len(ordered)))])
    return (
        [scene for scene in scenes if content_of(scene) not in held],
        [scene for scene in scenes if content_of(scene) in held],
    )


def content_of(scene: Scene) -> str:
    """Return the caption and names of a scene, which ask for a layout."""
    return "\n".join([scene.prompt, *names_of(scene)])


def names_of(scene: Scene) -> list[str]:
    """Return the names of a scene's entities."""
    return [entity.text for entity in scene.entities]
