"""The demo's layout prior: are its layouts valid, like held-out ones, and what their captions say?

It is asked as users ask it, by Layout Prior's own function with the node's defaults, for the captions and names of
scenes that training held out. Random boxes and random weights keep to the same grammar. One caption's layout is held
against another caption, and that of a caption in which two things' names changed places against what it said before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from frameloom.language.planning.layout_prior import Request, Sampling, read_layout_prior, sample_storyboard
from frameloom.models.layout_prior.metrics import compare_points, track_features
from frameloom.models.layout_prior.prior import LayoutGPT
from frameloom.models.layout_prior.sequence import Words
from frameloom.models.storyboard.scenes import Entity, Scene
from frameloom.tools.evidence.rows import SEED, Row, row
from frameloom.tools.evidence.studio import ASSETS, Section
from frameloom.training import shapes
from frameloom.training.layout import scenes as layout_scenes
from frameloom.training.layout.report import is_valid, sample_freely
from frameloom.training.layout.scenes import GRID, at_keyframes, names_of
from frameloom.training.layout.training import LayoutSettings, make_corpus, new_prior, score
from frameloom.training.loop import step_generator
from torch import Tensor

FILE = "layout_prior.safetensors"
SETTINGS = LayoutSettings(steps=4000, context=160, seed=2026)  # the Makefile's demo-model
DEFAULTS, UNIFORM = Sampling(), Sampling(temperature=1e9, top_k=0)
PRIOR, WEIGHTS, BOXES = "layout prior", "random weights", "random boxes"
ANOTHER, EXCHANGED = "layout prior, another caption", "layout prior, names exchanged in the caption"
SEEN, TRUTH = "layout prior, captions trained on", "held-out scenes themselves"
TRAINED_ON = "scenes trained on"
ENDS = (0, shapes.FRAMES - 1)
FAR = 0.1  # of the picture, that a thing goes at least if it moves
BETWEEN = sum(shapes.SIZES.values())  # of a box's width, small from big

# What was asked for, the thing in it, and the same as it was sampled.
Things = list[tuple[Scene, Entity, Entity]]


def prior_rows(studio: object, samples: int) -> list[Row]:
    """Return the rows; ``studio`` isn't needed."""
    del studio
    scenes = layout_scenes.draw_scenes(layout_scenes.SCENES, step_generator(SETTINGS.seed, 0))
    corpus = make_corpus(scenes, SETTINGS)
    network = read_layout_prior(ASSETS / FILE)
    untrained = new_prior(SETTINGS, corpus.words).eval()
    held_out = [at_keyframes(scene, ENDS) for scene in corpus.held_out[:samples]]
    picks = torch.randperm(len(corpus.training), generator=step_generator(SEED, 60))[:samples].tolist()
    trained_on = [at_keyframes(corpus.training[pick], ENDS) for pick in picks]
    boards = {
        PRIOR: _sample(network, held_out),
        WEIGHTS: _sample(untrained, held_out),
        BOXES: _sample(untrained, held_out, UNIFORM),
        TRAINED_ON: trained_on,
    }
    return [
        *_valid_rows(network, held_out, boards[PRIOR]),
        *_loss_rows({PRIOR: network, WEIGHTS: untrained}, held_out),
        *_fidelity_rows(held_out, boards),
        *_caption_rows(held_out, boards, (trained_on, _sample(network, trained_on))),
        *_own_rows(*_two_things(network, held_out, boards)),
    ]


def _sample(network: LayoutGPT, asked: Sequence[Scene], how: Sampling = DEFAULTS) -> list[Scene]:
    found = []
    for number, scene in enumerate(asked):
        request = Request(names_of(scene), scene.prompt, scene.frames, len(ENDS))
        sampling = Sampling(how.temperature, how.top_k, seed=SEED + number)
        found.append(sample_storyboard(network, PRIOR, request, sampling).only_scene())
    return found


def _valid_rows(network: LayoutGPT, asked: Sequence[Scene], within: Sequence[Scene]) -> list[Row]:
    """Layouts that read back with the names asked for and a box for each; those of the grammar were read back."""
    words = Words(network.words)
    freely = [
        is_valid(sample_freely(network, scene, SEED + i), scene, words) for i, scene in enumerate(asked)
    ]
    kept = [
        names_of(found) == names_of(scene) and all(len(each.track) == len(ENDS) for each in found.entities)
        for scene, found in zip(asked, within, strict=True)
    ]
    claim = "valid layouts of held-out captions"
    return [
        row(claim, PRIOR, torch.tensor(kept), ">= 1"),
        row(claim, "layout prior, sampled freely", torch.tensor(freely)),
    ]


def _loss_rows(networks: Mapping[str, LayoutGPT], asked: Sequence[Scene]) -> list[Row]:
    def per_token(sets: Tensor) -> Tensor:
        return sets[..., 0].sum(1) / sets[..., 1].sum(1)

    rows = []
    for arm, network in networks.items():
        with torch.no_grad():
            scores = [score(network, [scene]) for scene in asked]
        values = torch.tensor([(float(nats), tokens) for nats, tokens in scores])
        rows.append(row("loss on held-out layouts, nats a token", arm, values, statistic=per_token))
    return rows


def _fidelity_rows(held_out: Sequence[Scene], boards: Mapping[str, Sequence[Scene]]) -> list[Row]:
    real = track_features(held_out)
    points = {arm: compare_points(real, track_features(scenes)) for arm, scenes in boards.items()}
    return [
        row(f"tracks against held-out ones: {name}", arm, each[name])
        for name in ("precision", "recall", "density", "coverage")
        for arm, each in points.items()
    ]


def _caption_rows(
    held_out: Sequence[Scene],
    boards: Mapping[str, Sequence[Scene]],
    seen: tuple[Sequence[Scene], Sequence[Scene]],
) -> list[Row]:
    """What captions say, held against the track that they were made of. ``seen``: scenes trained on, and sampled."""
    sampled = {arm: boards[arm] for arm in (PRIOR, WEIGHTS, BOXES)} | {TRUTH: held_out}
    things = {arm: _pair(held_out, scenes) for arm, scenes in sampled.items()}
    alone = [scene for scene in held_out if len(scene.entities) == 1]
    found = [scene for scene in boards[PRIOR] if len(scene.entities) == 1]
    things[ANOTHER] = _pair(alone, [*found[1:], *found[:1]])
    things[SEEN] = _pair(*seen)
    claims: dict[str, tuple[Callable[[Scene, Entity], bool], Callable[[Entity, Entity], bool]]] = {
        "moves as its caption says": (lambda scene, thing: _moves(thing), _goes_alike),
        "stands still as its caption says": (
            lambda scene, thing: not _moves(thing),
            lambda thing, other: not _moves(other),
        ),
        "is at the place that its caption says": (_is_placed, _is_there),
        "is small or big as its caption says": (
            lambda scene, thing: bool(shapes.SIZES.keys() & thing.text.split()),
            lambda thing, other: (_width(thing) > BETWEEN) == (_width(other) > BETWEEN),
        ),
    }
    rows = []
    for claim, (is_asked, is_met) in claims.items():
        for arm, each in things.items():
            values = [is_met(thing, other) for scene, thing, other in each if is_asked(scene, thing)]
            rows.append(row(f"layout: {claim}", arm, torch.tensor(values), ">= 0.9" if arm == PRIOR else ""))
    for arm, scenes in sampled.items():
        values = [_is_clear(scene) for scene in scenes if len(scene.entities) > 1]
        rows.append(row("layout: no two things overlap", arm, torch.tensor(values)))
    return rows


def _two_things(
    network: LayoutGPT, held_out: Sequence[Scene], boards: Mapping[str, Sequence[Scene]]
) -> tuple[list[Scene], dict[str, list[Scene]]]:
    """Return the scenes of two things, and their boards; with those of captions in which the names are exchanged."""
    places = [place for place, scene in enumerate(held_out) if len(scene.entities) == 2]
    asked = [held_out[place] for place in places]
    found = {arm: [boards[arm][place] for place in places] for arm in (PRIOR, WEIGHTS, BOXES)}
    return asked, found | {EXCHANGED: _sample(network, [_exchange(scene) for scene in asked])}


def _own_rows(asked: Sequence[Scene], boards: Mapping[str, Sequence[Scene]]) -> list[Row]:
    """Are both things nearer to their own held-out tracks than to each other's?"""
    rows = []
    for arm, scenes in boards.items():
        values = [
            _distance(scene, found) < _distance(scene, _turn(found))
            for scene, found in zip(asked, scenes, strict=True)
        ]
        claim = "layout: of two things each is where its own words say"
        rows.append(row(claim, arm, torch.tensor(values), ">= 0.9" if arm == PRIOR else ""))
    return rows


def _distance(scene: Scene, other: Scene) -> float:
    pairs = zip(scene.entities, other.entities, strict=True)
    return sum(float((_centers(one) - _centers(two)).square().sum()) for one, two in pairs)


def _turn(scene: Scene) -> Scene:
    return scene.model_copy(update={"entities": scene.entities[::-1]})


def _exchange(scene: Scene) -> Scene:
    """Return a scene of two things whose caption says of each what it said of the other."""
    first, last = (entity.text for entity in scene.entities)
    before, between = scene.prompt.split(first, 1)
    middle, after = between.split(last, 1)
    return scene.model_copy(update={"prompt": f"{before}{last}{middle}{first}{after}"})


def _pair(asked: Sequence[Scene], found: Sequence[Scene]) -> Things:
    return [
        (scene, thing, other)
        for scene, sampled in zip(asked, found, strict=True)
        for thing, other in zip(scene.entities, sampled.entities, strict=True)
    ]


def _centers(thing: Entity) -> Tensor:
    """Return a thing's middle in the first and last frame, [2, 2]."""
    boxes, _ = thing.boxes_at(ENDS)
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _width(thing: Entity) -> float:
    boxes, _ = thing.boxes_at(ENDS)
    return float((boxes[:, 2] - boxes[:, 0]).mean())


def _way(thing: Entity) -> Tensor:
    start, end = _centers(thing)
    return end - start


def _moves(thing: Entity) -> bool:
    return float(_way(thing).norm()) > FAR


def _goes_alike(thing: Entity, other: Entity) -> bool:
    """Return whether the other moves, within 45 degrees of the thing's way."""
    cosine = torch.cosine_similarity(_way(thing), _way(other), dim=0)
    return _moves(other) and float(cosine) > 0.5**0.5


def _is_placed(scene: Scene, thing: Entity) -> bool:
    """Return whether the caption says a place: of what doesn't move, it says so or where it is."""
    said = scene.prompt.split(thing.text, 1)[1].split(" and a ")[0]
    return not _moves(thing) and "standing still" not in said


def _is_there(thing: Entity, other: Entity) -> bool:
    return _cell(thing) == _cell(other)


def _cell(thing: Entity) -> list[int]:
    """Return the place of the nine that a thing is nearest to in the first frame."""
    return (_centers(thing)[0, :, None] - torch.tensor(shapes.CELL_CENTERS)).abs().argmin(1).tolist()


def _is_clear(scene: Scene) -> bool:
    """Return whether no two boxes overlap by more than a line of the grid in any frame."""
    boxes = [entity.boxes_at(scene.frames)[0] for entity in scene.entities]
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            shared = torch.minimum(one[:, 2:], other[:, 2:]) - torch.maximum(one[:, :2], other[:, :2])
            if (shared > 1 / GRID).all(1).any():
                return False
    return True


SECTIONS = {
    "layout prior": Section(
        prior_rows,
        (ASSETS / FILE,),
        "The bundled one, made by Train Layout Prior's recipe of drawn shapes in seven minutes of a CPU "
        "core. Asked by Layout Prior's defaults for captions and names of scenes that training held out. "
        "Random weights and random boxes keep to the same grammar. Precision, recall, density and coverage "
        "are Naeem et al.'s with five neighbours, on tracks: places, sizes and their changes; scenes trained "
        "on are what a perfect prior has. Recall means little beside scattered boxes, whose neighbourhoods "
        "are wide. A caption is held against the track that it was made of: same way within 45 degrees; "
        f"still is what goes no farther than {FAR} of the picture; the same of nine places. Another caption: "
        "the layout of one, held against what another says.",
    ),
}
