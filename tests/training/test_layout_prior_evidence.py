"""Evidence of the layout prior: what captions say is met by the scenes that they were made of, and not by others."""

from __future__ import annotations

import pytest
from frameloom.tools.evidence import layout_prior as evidence
from frameloom.training.layout.scenes import at_keyframes, draw_scenes
from frameloom.training.loop import step_generator


@pytest.fixture(scope="module")
def scenes():
    return [at_keyframes(scene, evidence.ENDS) for scene in draw_scenes(200, step_generator(9, 0))]


@pytest.fixture(scope="module")
def rows(scenes):
    """As if the prior had drawn the scenes themselves, and controls the scenes in another order."""
    other = [scene for scene in scenes if len(scene.entities) == 1]
    mixed = iter([*other[1:], other[0]])
    moved = [next(mixed) if len(scene.entities) == 1 else scene for scene in scenes]
    boards = {evidence.PRIOR: scenes, evidence.WEIGHTS: moved, evidence.BOXES: moved}
    return {(each.claim, each.arm): each for each in evidence._caption_rows(scenes, boards, (scenes, scenes))}


def test_scenes_keep_what_their_own_captions_say(rows):
    for arm, claims in ((evidence.PRIOR, 5), (evidence.TRUTH, 5), (evidence.SEEN, 4)):
        values = {claim: each.value for (claim, of), each in rows.items() if of == arm}
        assert len(values) == claims
        assert set(values.values()) == {1.0}


def test_another_captions_layout_mostly_does_not(rows):
    claims = {claim for claim, arm in rows if arm == evidence.ANOTHER}
    assert len(claims) == 4
    for claim in claims:
        assert rows[claim, evidence.ANOTHER].value < 0.8, claim
        assert rows[claim, evidence.ANOTHER].count >= 10, claim


def test_of_two_things_each_is_where_its_own_words_say_and_not_when_they_change_places(scenes):
    two = [scene for scene in scenes if len(scene.entities) == 2]
    turned = [evidence._turn(scene) for scene in two]
    rows = evidence._own_rows(two, {evidence.PRIOR: two, evidence.EXCHANGED: turned})
    assert [(each.arm, each.value, each.count) for each in rows] == [
        (evidence.PRIOR, 1.0, len(two)),
        (evidence.EXCHANGED, 0.0, len(two)),
    ]


def test_names_change_places_in_a_caption_and_what_is_said_of_places_stays(scenes):
    two = next(scene for scene in scenes if len(scene.entities) == 2)
    first, last = (entity.text for entity in two.entities)
    exchanged = evidence._exchange(two)
    assert exchanged.entities == two.entities
    assert exchanged.prompt.index(last) < exchanged.prompt.index(first)
    assert exchanged.prompt.replace(first, "").replace(last, "") == two.prompt.replace(first, "").replace(
        last, ""
    )


def test_every_claim_counts_what_the_captions_say(scenes, rows):
    things = [(scene.prompt, entity.text) for scene in scenes for entity in scene.entities]
    said = [prompt.split(text, 1)[1].split(" and a ")[0] for prompt, text in things]
    counts = {claim: each.count for (claim, arm), each in rows.items() if arm == evidence.TRUTH}
    assert counts["layout: moves as its caption says"] == sum("moving" in words for words in said)
    assert counts["layout: is at the place that its caption says"] == sum(
        "moving" not in words and "standing" not in words for words in said
    )
    assert counts["layout: is small or big as its caption says"] == sum(
        "small" in text or "big" in text for _, text in things
    )


def test_a_row_of_nats_a_token_is_of_all_tokens(scenes):
    from frameloom.training.layout.report import held_out_loss
    from frameloom.training.layout.training import LayoutSettings, new_prior

    network = new_prior(LayoutSettings(width=16, layers=1)).eval()
    (found,) = evidence._loss_rows({"arm": network}, scenes[:20])
    assert found.value == pytest.approx(held_out_loss(network, scenes[:20]), rel=1e-5)
