"""The Prompt Travel node: what it puts out beside the prompts, which ``tests/contract`` looks at."""

from __future__ import annotations

import pytest
from frameloom.models.storyboard.scenes import Scene, Storyboard


@pytest.fixture
def travel(run, demo):
    return lambda text, frames, **given: run("PromptTravel", clip=demo[1], text=text, frames=frames, **given)


def test_it_says_what_is_drawn_when_and_how_many_frames_to_sample(travel):
    _, told, frames = travel("0: a red circle\n50%: a cross\n40: a triangle", 9, append="on navy")
    assert frames == 9
    assert told.splitlines() == [
        "0: a red circle, on navy",
        "1 to 3: a red circle, on navy -> a cross, on navy (0.25 to 0.75)",
        "4: a cross, on navy",
        "5 to 8: a cross, on navy -> a triangle, on navy (0.03 to 0.11)",
    ]


def test_a_storyboard_goes_before_the_text_and_may_be_cut_short(travel):
    scenes = [Scene(id=1, prompt="a red circle", frames=4), Scene(id=2, prompt="a cross", frames=6)]
    conditioning, told, frames = travel(
        "not a schedule", 5, interpolation="hold", storyboard=Storyboard(scenes=scenes)
    )
    assert (len(conditioning[0][0]), frames) == (5, 5)
    assert told == "0 to 3: a red circle\n4: a cross"
