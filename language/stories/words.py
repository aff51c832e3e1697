"""The words that made-up scripts are written in. Another table makes scripts that share no words with these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WAYS = ("left", "right", "up", "down", "still", "grow", "shrink")
RELATIONS = ("left of", "right of", "above", "below")


@dataclass(frozen=True)
class Words:
    """What scripts are made of. In templates, ``{a}`` is a thing, ``{b}`` another, ``{does}`` what ``{a}`` does.

    Attributes:
        things: nouns that take a plural s.
        looks: adjectives before them.
        sizes: adjectives that say a box's side, as a share of the picture.
        settings: places, each with its preposition: ``in a park``.
        does: verb phrases by way. Each begins with a verb that takes an s.
        relations: phrases for where ``{a}`` is, seen from ``{b}``, by relation.
        towards: verb phrases for going to ``{b}``.
        takes: verbs for moving ``{b}`` along.
        alone: templates of one thing.
        pair: templates of two things, each with its way.
        related: templates of two things and a relation, ``{rel}``.
        met: templates of a thing that goes to another.
        again: templates that go on with a thing of the scene before, ``{the_a}``.
        numbers: words for two and three.
        heads: beginnings of scenes, with ``{n}``; an empty one: each scene is a sentence.
        scenes: numbers of scenes.
    """

    things: tuple[str, ...]
    looks: tuple[str, ...]
    sizes: Mapping[str, float]
    settings: tuple[str, ...]
    does: Mapping[str, tuple[str, ...]]
    relations: Mapping[str, tuple[str, ...]]
    towards: tuple[str, ...]
    takes: tuple[str, ...]
    alone: tuple[str, ...]
    pair: tuple[str, ...]
    related: tuple[str, ...]
    met: tuple[str, ...]
    again: tuple[str, ...]
    numbers: Mapping[int, str]
    heads: tuple[str, ...]
    scenes: tuple[int, ...]


def every(verbs: str, directions: str) -> tuple[str, ...]:
    """Return each verb with each direction: verbs stand between spaces, directions between commas."""
    return tuple(f"{verb} {direction}" for verb in verbs.split() for direction in directions.split(", "))


_GOING = "move roll run walk fly slide travel glide swim crawl drift float march skate hop race trot wander jog sail"

TRAINING = Words(
    things=tuple(
        "ball circle square triangle cross star cube cat dog horse cow duck hen goat tiger bear lion monkey "
        "turtle frog crab whale dolphin shark eagle owl parrot robot car truck train tractor van boat ship "
        "plane rocket balloon kite bike scooter boy girl king queen pirate doctor farmer dancer sailor "
        "soldier teacher painter knight wizard ghost alien dragon apple banana pumpkin cake cup bottle book "
        "lamp chair clock drum guitar umbrella hat cloud moon sun snowball wheel barrel crate basket ladder "
        "tree flower mushroom pot sign".split()
    ),
    looks=tuple(
        "red green blue yellow orange purple white black brown pink gray golden old young wooden metal shiny "
        "striped round furry happy sad wet dusty broken".split()
    ),
    sizes={"small": 0.2, "big": 0.45, "tiny": 0.15, "large": 0.45, "huge": 0.6},
    settings=tuple(
        "in a park, in a kitchen, on a beach, in a forest, on a road, in a garden, in a desert, in a city, on "
        "a meadow, on a lake, in the sky, on a hill, in a classroom, in a shop, at a station, on a farm, in "
        "the snow, on a stage, in a cave, on a navy background, on a black background, on a white background, "
        "in front of a brown wall, on a gray background, in the rain".split(", ")
    ),
    does={
        "left": every(_GOING, "to the left, left, from right to left, to the left side, leftwards"),
        "right": every(_GOING, "to the right, right, from left to right, to the right side, rightwards"),
        "up": (*every("move fly climb float glide drift hop", "up, upwards, to the top"), "rise", "climb", "go up"),
        "down": (*every("move fly slide float drift roll", "down, downwards, to the bottom"), "fall", "sink", "drop"),
        "still": (
            "stand still", "stand", "sit", "wait", "rest", "sleep", "stay", "stay where it is", "lie there",
            "do nothing",
        ),
        "grow": ("grow", "get bigger", "get larger", "grow slowly", "swell"),
        "shrink": ("shrink", "get smaller", "shrink slowly", "get tiny"),
    },
    relations={
        "left of": ("to the left of", "left of", "on the left of"),
        "right of": ("to the right of", "right of", "on the right of"),
        "above": ("above", "over", "on top of"),
        "below": ("below", "under", "underneath"),
    },
    towards=every("move walk run roll fly swim slide", "towards, to, up to"),
    takes=("carry", "pull", "push", "drag"),
    alone=(
        "{a} {does}{setting}",
        "{setting}, {a} {does}",
        "{a}{setting} {does}",
        "a video of {a} that {does}{setting}",
        "we see how {a} {does}{setting}",
        "{a} slowly {does}{setting}",
    ),
    pair=(
        "{a} {does} and {b} {does_b}{setting}",
        "{a} {does} while {b} {does_b}{setting}",
        "{setting}, {a} {does}, and {b} {does_b}",
        "{a} {does}; {b} {does_b}{setting}",
    ),
    related=(
        "{a} is {rel} {b}{setting}",
        "{a} stands {rel} {b}{setting}",
        "{setting}, {a} is {rel} {b}",
        "there is {a} {rel} {b}{setting}",
    ),
    met=("{a} {goes} {b}{setting}", "{setting}, {a} {goes} {b}"),
    again=("{the_a} {does}", "then {the_a} {does}", "now {it} {does}", "{it} {does}", "after that, {it} {does}"),
    numbers={2: "two", 3: "three"},
    heads=("", "", "", "Scene {n}: ", "{n}. ", "Shot {n}: "),
    scenes=(1, 1, 2, 2, 3),
)  # fmt: skip
