"""Layout Conditioning on the headless host: what is read out of a scene and its prompt, and what is refused."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.layout.attention import LAYOUT, BoxBias, BoxGather
from frameloom.models.layout.energy import BoxEnergy
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene, Storyboard

CIRCLE, CROSS = (0.1, 0.1, 0.4, 0.4), (0.6, 0.6, 0.9, 0.9)
BOTH = "a red circle and a blue cross on a navy background"


def entity(name, text, *boxes):
    track = [BoxKey(f=frame, box=box) for frame, box in enumerate(boxes)]
    return Entity(id=name, text=text, track=track, hold=True)


def board(*entities, prompt=BOTH, frames=4):
    return Storyboard(scenes=[Scene(id=1, prompt=prompt, frames=frames, entities=entities)])


TWO = board(entity("circle", "red circle", CIRCLE), entity("cross", "blue cross", CROSS))


@pytest.fixture
def lay_out(run, demo):
    given = {"model": demo[0], "clip": demo[1]}
    return lambda storyboard, prompt="", conditioning=None, **settings: run(
        "LayoutConditioning",
        **given,
        storyboard=storyboard,
        prompt=prompt,
        conditioning=conditioning,
        **settings,
    )


def layout_of(conditioning):
    (layout,) = [options["frameloom"][LAYOUT] for _, options in conditioning if "frameloom" in options]
    return layout


def encode(host, demo, text):
    return host.encode_text(demo[1], text)[0]


def words(layout, host, demo, text):
    """The phrases that a layout's regions speak of, by the prompt's own spans."""
    names = ("red circle", "blue cross", "red ball")
    spans = host.encode_text(demo[1], text, [name for name in names if name in text])[1]
    return [
        [name for name, places in spans.items() if set(places) & set(region.spans)]
        for region in layout.whole.regions
    ]


def test_each_entity_has_its_words_and_its_boxes(lay_out, host, demo):
    layout = layout_of(lay_out(TWO)[1])
    assert words(layout, host, demo, BOTH) == [["red circle"], ["blue cross"]]
    for region, box in zip(layout.whole.regions, (CIRCLE, CROSS), strict=True):
        ((boxes, present),) = region.tracks
        assert present.all()
        torch.testing.assert_close(boxes, torch.tensor(box).expand(4, 4))


@pytest.mark.parametrize(
    ("prompt", "circle", "cross", "none"),
    [
        (
            BOTH,
            "a red circle on a navy background",
            "a blue cross on a navy background",
            "a and a on a navy background",
        ),
        ("red circle, blue cross, black", "red circle, black", "blue cross, black", ", , black"),
        ("The red circle, the blue cross", "The red circle", "the blue cross", "The , the"),
        # CLIP reads 't and he, which is no article
        ("'the red circle' and a blue cross", "'the red circle'", "'the ' and a blue cross", "'the ' and a"),
    ],
)
def test_alone_an_entity_is_named_without_the_others_and_their_joints(
    lay_out, host, demo, prompt, circle, cross, none
):
    layout = layout_of(lay_out(TWO, prompt)[1])
    for got, wanted in zip((*layout.alone, layout.bare), (circle, cross, none), strict=True):
        torch.testing.assert_close(got.tokens, encode(host, demo, wanted)[0][0])


@pytest.mark.parametrize(
    ("prompt", "background", "wanted"),
    [
        ("A Red Circle", "", "A Red Circle, blue cross"),
        (
            "A red circle and a blue cross.",
            "navy background",
            "A red circle and a blue cross, navy background",
        ),
        (BOTH, "navy background", BOTH),
    ],
    ids=["entity", "background", "nothing"],
)
def test_what_the_prompt_lacks_is_added_once(lay_out, host, demo, prompt, background, wanted):
    scene = TWO.only_scene().model_copy(update={"prompt": prompt, "background": background})
    ((tokens, _),) = lay_out(Storyboard(scenes=[scene]))[1]
    assert torch.equal(tokens, encode(host, demo, wanted)[0][0])


def test_things_named_apart_by_one_text_have_a_region_each_and_named_together_one(lay_out):
    same = board(entity("first", "red ball", CIRCLE), entity("second", "red ball", CROSS))
    apart = layout_of(lay_out(same, "a red ball and a red ball")[1])
    assert [len(region.tracks) for region in apart.whole.regions] == [1, 1]
    together = layout_of(lay_out(same, "a red ball twice")[1])
    assert [len(region.tracks) for region in together.whole.regions] == [2]


def test_one_entity_alone_is_the_whole_prompt(lay_out):
    layout = layout_of(lay_out(board(entity("circle", "red circle", CIRCLE)))[1])
    assert layout.alone == (layout.whole,)


def test_conditions_of_the_prompt_keep_what_they_have_and_others_are_left_alone(lay_out, host, demo):
    mine = [[encode(host, demo, BOTH)[0][0], {"strength": 0.5}], *encode(host, demo, "a green tree")]
    (first, options), (second, plain) = lay_out(TWO, BOTH, mine)[1]
    assert options["strength"] == 0.5
    assert "frameloom" in options
    assert torch.equal(first, mine[0][0])
    assert torch.equal(second, mine[1][0])
    assert "frameloom" not in plain
    assert "frameloom" not in mine[0][1]  # the node's input is as it was


def test_every_method_is_the_bias_with_what_its_name_adds(lay_out):
    """Energy takes its own strength, and the end that all share."""
    (biased,), (gathered,), (guided,) = (
        lay_out(TWO, method=method, strength=3.0, energy_strength=7.0, end_percent=0.2)[0].edits
        for method in ("bias", "bias + gather", "bias + energy (experimental)")
    )
    assert biased.cross_attention == gathered.cross_attention == guided.cross_attention == BoxBias(3.0, 0.2)
    assert (biased.conditions, biased.guide, gathered.guide, guided.conditions) == (None, None, None, None)
    assert gathered.conditions == BoxGather(0.2, 1.0)
    assert guided.guide == BoxEnergy(7.0, 0.2)


@pytest.mark.parametrize(
    ("storyboard", "prompt", "conditions", "message"),
    [
        (board(entity("circle", "red circle")), "", None, "no entity of scene 1 has boxes; expected one"),
        (TWO, "a red circle", None, "'blue cross'"),
        (TWO, "", "a green tree", "none was encoded from the prompt given here"),
        (TWO, "", "area", "conditioning: got an area, which cuts boxes off; expected masks"),
        (
            Storyboard(scenes=[TWO.scenes[0], TWO.scenes[0].model_copy(update={"id": 2})]),
            "",
            None,
            "Select Scene",
        ),
    ],
    ids=["no boxes", "phrase", "another prompt", "area", "two scenes"],
)
def test_what_cannot_be_laid_out_is_refused(lay_out, host, demo, storyboard, prompt, conditions, message):
    given = None
    if conditions is not None:
        options = {"area": (8, 8, 0, 0)} if conditions == "area" else {}
        text = BOTH if conditions == "area" else conditions
        given = [[encode(host, demo, text)[0][0], options]]
    with pytest.raises(ValueError, match=message):
        lay_out(storyboard, prompt, given)
