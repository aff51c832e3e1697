"""The Prompt Travel node on the headless host: its contract, and what it puts out beside the prompts."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.storyboard.scenes import Scene, Storyboard
from frameloom.tests.contract.test_port import BUNDLED_MOTION
from frameloom.tests.contract.test_travel import travel
from frameloom.tests.support.scene import Scene as SmallRun


@pytest.fixture
def port(host):
    return host


@pytest.fixture
def demo(port):
    return port.load_demo()


@pytest.fixture
def motion(port):
    return port.load_motion(read_motion_weights(port.resolve("animatediff_models", BUNDLED_MOTION)))


@pytest.fixture
def scene(port, demo):
    return SmallRun(port, demo[1])


def test_it_says_what_is_drawn_when_and_how_many_frames_to_sample(demo):
    _, told, frames = travel(demo[1], "0: a red circle\n50%: a cross\n40: a triangle", 9, append="on navy")
    assert frames == 9
    assert told.splitlines() == [
        "0: a red circle, on navy",
        "1 to 3: a red circle, on navy -> a cross, on navy (0.25 to 0.75)",
        "4: a cross, on navy",
        "5 to 8: a cross, on navy -> a triangle, on navy (0.03 to 0.11)",
    ]


def test_one_prompt_throughout_is_an_ordinary_condition(demo, host):
    conditioning, _, _ = travel(demo[1], "0: a red circle\n8: a red circle", 16)
    ((tokens, options),) = conditioning
    ((wanted, others),) = host.encode_text(demo[1], "a red circle")[0]
    assert torch.equal(tokens, wanted)
    assert torch.equal(options["pooled_output"], others["pooled_output"])


def test_a_storyboard_goes_before_the_text_and_may_be_cut_short(demo):
    board = Storyboard(
        scenes=[Scene(id=1, prompt="a red circle", frames=4), Scene(id=2, prompt="a cross", frames=6)]
    )
    conditioning, told, frames = travel(demo[1], "not a schedule", 5, "hold", storyboard=board)
    assert (len(conditioning[0][0]), frames) == (5, 5)
    assert told == "0 to 3: a red circle\n4: a cross"


def test_a_scene_that_says_nothing_is_named(demo):
    board = Storyboard(scenes=[Scene(id=3, prompt=" ", frames=4)])
    with pytest.raises(
        ValueError, match=r"storyboard: scene 3 has no prompt, background or entity; expected"
    ):
        travel(demo[1], "", 4, storyboard=board)
