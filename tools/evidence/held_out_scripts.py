"""Scripts that share no noun, verb, setting, relation or sentence with those that a layout model is tuned on.

They are written by the same hand, ``language/stories/writing.py``, in the words below, and read by the same measure as
the scripts of people in ``scripts.py``. ``tests/language/test_stories.py`` keeps the two tables of words apart.
"""

from __future__ import annotations

import random
from dataclasses import replace

from frameloom.language.english.rules import plan_by_rules
from frameloom.language.stories.words import Words, every
from frameloom.language.stories.writing import FRAMES, Story, write_story
from frameloom.tools.evidence.rows import Row
from frameloom.tools.evidence.scripts import Case, Source, Want, source_rows
from frameloom.tools.evidence.studio import Section

SEED, COUNTS = 31, (200, 100)  # of scripts of one or two scenes, and of four


_GOING = "dash stroll cruise skip bounce zoom paddle waddle sneak stride"

HELD_OUT = Words(
    things=tuple(
        "hexagon diamond arrow camel zebra giraffe hamster rabbit pigeon swan squirrel snail beetle spider lobster "
        "taxi bus tram helicopter submarine canoe sled skateboard nurse judge chef pilot clown ninja monk vampire "
        "unicorn pear melon carrot candle mirror sofa table violin trumpet teapot suitcase lantern comet planet "
        "boulder fountain fence".split()
    ),
    looks=tuple(
        "crimson turquoise silver beige scarlet plastic rusty fluffy sleepy angry glowing checkered icy".split()
    ),
    sizes={"little": 0.2, "giant": 0.6, "miniature": 0.15, "wide": 0.45},
    settings=tuple(
        "in a harbor, in a library, in a jungle, on a glacier, in a swamp, on a rooftop, in a museum, in a tunnel, "
        "near a volcano, on a teal background, before a beige curtain, across a frozen pond, "
        "inside a factory".split(", ")
    ),
    does={
        "left": every(_GOING, "over to the left edge, toward the left, leftward"),
        "right": every(_GOING, "over to the right edge, toward the right, rightward"),
        "up": (*every("bounce zoom shoot soar", "upward, toward the top edge"), "ascend", "soar", "levitate"),
        "down": (*every("bounce zoom plunge", "downward, toward the bottom edge"), "descend", "plunge", "tumble"),
        "still": ("remain in place", "hold its position", "pause", "freeze", "keep still", "snooze"),
        "grow": ("expand", "inflate", "become bigger", "increase in size"),
        "shrink": ("contract", "deflate", "become smaller", "decrease in size"),
    },
    relations={
        "left of": ("at the left side of", "leftward of"),
        "right of": ("at the right side of", "rightward of"),
        "above": ("higher than", "somewhere higher up than"),
        "below": ("beneath", "lower than"),
    },
    towards=every("dash stride zoom stroll", "right up against, all the way over to"),
    takes=("haul", "transport", "shove", "tow"),
    alone=(
        "look, {a} {does}{setting}",
        "picture {a}, which {does}{setting}",
        "{a}, seen{setting}, {does}",
        "somewhere{setting} {a} {does}",
    ),
    pair=(
        "{a} {does}, whereas {b} {does_b}{setting}",
        "as {a} {does}, {b} {does_b}{setting}",
        "both are seen{setting}: {a} {does}, {b} {does_b}",
    ),
    related=("{a} can be seen {rel} {b}{setting}", "we find {a} {rel} {b}{setting}", "{a} appears {rel} {b}{setting}"),
    met=("there {a} {goes} {b}{setting}", "as we watch, {a} {goes} {b}{setting}"),
    again=("moments later {the_a} {does}", "finally {the_a} {does}", "this time {it} {does}"),
    numbers={2: "a pair of", 3: "a trio of"},
    heads=("", "", "Part {n}: ", "- "),
    scenes=(1, 2),
)  # fmt: skip
LONGER = replace(HELD_OUT, scenes=(4,))  # tuning sees at most three scenes


def draw_cases(words: Words, count: int, seed: int = SEED) -> list[Case]:
    """Return scripts in some words, with what a storyboard of each should have."""
    rng = random.Random(seed)
    return [_case(write_story(words, rng)) for _ in range(count)]


def _case(story: Story) -> Case:
    return Case(story.script, tuple(Want(told.things, told.ways, told.relations) for told in story.told))


def rows(name: str, source: Source) -> list[Row]:
    """Return a source's rows: for scripts of one or two scenes, and for scripts of four."""
    short, long = COUNTS
    cases = {
        f"{name}, {short} scripts of 1 or 2 scenes": draw_cases(HELD_OUT, short),
        f"{name}, {long} scripts of 4 scenes": draw_cases(LONGER, long),
    }
    return source_rows(cases, source)


SECTIONS = {
    "storyboards, scripts in other words": Section(
        lambda studio, samples: rows("rules", lambda script: plan_by_rules(script, frames=FRAMES)),
        (),
        "300 scripts, written by rule in words that neither Train Layout Model's stories nor the rules' own tests "
        "have, and measured as those above. They are the held-out set for language models that learn to write "
        "storyboards.",
    ),
}
