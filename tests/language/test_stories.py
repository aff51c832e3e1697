"""Made-up scripts: what they say holds in their boxes; the held-out ones share no words with those of the tuning."""

from __future__ import annotations

import random
import re

import pytest
from frameloom.language.planning.assemble import assemble
from frameloom.language.stories.words import RELATIONS, TRAINING, WAYS
from frameloom.language.stories.writing import write_story
from frameloom.models.storyboard.scenes import Provenance
from frameloom.tools.evidence.held_out_scripts import HELD_OUT, LONGER
from frameloom.tools.evidence.scripts import Case, Want, measure

PROVENANCE = Provenance(planner="language model", seed=0)


@pytest.mark.parametrize("words", [TRAINING, HELD_OUT, LONGER], ids=["training", "held out", "longer"])
def test_all_that_a_script_says_holds_in_its_boxes_by_the_measure_of_the_evidence(words):
    rng = random.Random(7)
    ways, relations = set(), set()
    for _ in range(400):
        story = write_story(words, rng)
        board = assemble(story.scenes, fps=8.0, size=(512, 512), provenance=PROVENANCE)
        wants = tuple(Want(told.things, told.ways, told.relations) for told in story.told)
        score = measure(lambda script, board=board: board, Case(story.script, wants))
        assert score.valid == 1, story.script
        assert {*score.things, *score.ways, *score.relations} <= {1.0}, story.script
        ways |= {way.split()[0] for told in story.told for way in told.ways.values()}
        relations |= {kind for told in story.told for _, kind, _ in told.relations}
    assert ways == {*WAYS, "towards"}
    assert relations == set(RELATIONS)


def test_a_generator_decides_the_story():
    one, same, other = (write_story(TRAINING, random.Random(seed)) for seed in (1, 1, 2))
    assert one == same != other


def test_a_thing_that_goes_on_begins_where_it_was():
    rng = random.Random(3)
    checked = 0
    for _ in range(200):
        before: dict[str, object] = {}
        for scene in write_story(TRAINING, rng).scenes:
            for entity in scene.entities:
                if entity.id in before:
                    first, last = entity.track[0].box, before[entity.id]
                    centers = [
                        [a + b for a, b in zip(box[:2], box[2:], strict=True)] for box in (first, last)
                    ]
                    assert centers[0] == pytest.approx(centers[1], abs=1e-3)
                    checked += 1
            before |= {entity.id: entity.track[-1].box for entity in scene.entities}
    assert checked > 50


def test_held_out_scripts_share_no_noun_look_setting_verb_relation_or_sentence_with_the_tuning():
    def words_of(table):
        verbs = {phrase.split()[0] for group in table.does.values() for phrase in group}
        verbs |= {phrase.split()[0] for phrase in (*table.towards, *table.takes)}
        templates = {*table.alone, *table.pair, *table.related, *table.met, *table.again}
        settings = {setting.split()[-1] for setting in table.settings} - {"background"}
        colors = {setting.split()[-2] for setting in table.settings if setting.endswith("background")}
        relations = {phrase for group in table.relations.values() for phrase in group}
        return {
            "nouns": set(table.things),
            "looks": {*table.looks, *table.sizes, *colors},
            "settings": settings,
            "verbs": verbs - {"become"},
            "relations": relations,
            "towards": {phrase.partition(" ")[2] for phrase in table.towards},
            "templates": templates,
            "heads": {head for head in table.heads if head},
            "numbers": set(table.numbers.values()),
        }

    ours, theirs = words_of(TRAINING), words_of(HELD_OUT)
    assert {name: ours[name] & theirs[name] for name in ours} == {name: set() for name in ours}
    assert set(LONGER.scenes).isdisjoint(TRAINING.scenes)


def test_there_are_far_more_scripts_than_a_tuning_sees():
    rng = random.Random(0)
    scripts = {write_story(TRAINING, rng).script for _ in range(3000)}
    assert len(scripts) > 2990
    assert all(re.search(r"[.]$", script) for script in scripts)
