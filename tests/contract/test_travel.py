"""What every host promises of Prompt Travel.

The demo model alone mixes no frames, so a frame of a clip is what it would be in a clip of its prompt alone.
"""

from __future__ import annotations

import pytest
import torch
from frameloom.tests.contract.test_windows import PLANS
from frameloom.tests.support.tensors import apart

FRAMES = 10
FIRST, LAST = "a red circle", "a blue cross on navy"
LONG = ", ".join(["a big green triangle"] * 30)  # two chunks of tokens


def travel(clip, text="", frames=FRAMES, interpolation="linear", prepend="", append="", storyboard=None):
    """Run the node, which is imported when a host is there; returns its outputs."""
    from frameloom.nodes.long_video.prompt_travel import PromptTravel

    return PromptTravel.execute(clip, text, frames, interpolation, prepend, append, storyboard).args


def alone(port, demo, scene, prompt):
    """What a clip of a single prompt is."""
    return scene.predict(demo[0], port.encode_text(demo[1], prompt)[0], frames=FRAMES)


def test_every_frame_is_drawn_from_its_own_mixture(port, demo, scene):
    """As a clip is whose frames all have that mixture, made here by hand."""
    (mixed, _, _) = travel(demo[1], f"2: {FIRST}\n7: {LAST}")
    got = scene.predict(demo[0], mixed, frames=FRAMES)
    (first, options), (last, _) = (port.encode_text(demo[1], prompt)[0][0] for prompt in (FIRST, LAST))
    for frame, part in ((1, 0.0), (4, 0.4), (6, 0.8), (9, 1.0)):
        wanted = scene.predict(demo[0], [[(1 - part) * first + part * last, options]], frames=FRAMES)
        assert apart(got[frame], wanted[frame]) <= 1e-5
    assert apart(alone(port, demo, scene, FIRST), alone(port, demo, scene, LAST)) > 1e-2


@pytest.mark.parametrize("prompts", [(FIRST, LONG), (LONG, FIRST)], ids=["longer", "shorter"])
def test_keyframes_of_prompts_of_any_length_are_as_by_themselves(port, demo, scene, prompts):
    (mixed, _, _) = travel(demo[1], "0: {}\n9: {}".format(*prompts))
    lengths = {port.encode_text(demo[1], prompt)[0][0][0].shape[1] for prompt in prompts}
    assert len(lengths) == 2
    got = scene.predict(demo[0], mixed, frames=FRAMES)
    for frame, prompt in zip((0, -1), prompts, strict=True):
        assert apart(got[frame], alone(port, demo, scene, prompt)[frame]) <= 1e-5
    assert torch.isfinite(got).all()


@pytest.mark.parametrize(
    ("plan", "last"), [(PLANS[3], LAST), (PLANS[2], LONG)], ids=["batched", "looped, two lengths"]
)
def test_under_context_windows_frames_keep_their_prompts(scene, demo, plan, last):
    """Windows change nothing where frames do not mix, if each has the tokens of its absolute number."""
    (mixed, _, _) = travel(demo[1], f"0: {FIRST}\n9: {last}")
    plain = scene.run(demo[0], frames=FRAMES, positive=mixed)
    windowed = scene.run(scene.windowed(demo[0], plan), frames=FRAMES, positive=mixed)
    assert apart(windowed, plain) <= 1e-5
    (turned, _, _) = travel(demo[1], f"0: {last}\n9: {FIRST}")
    assert apart(scene.run(demo[0], frames=FRAMES, positive=turned), plain) > 1e-2


def test_a_negative_prompt_may_travel_beside_one_that_does_not(port, demo, scene):
    (mixed, _, _) = travel(demo[1], f"0: {FIRST}\n9: {LONG}", interpolation="hold")
    travelled = scene.run(demo[0], frames=FRAMES, negative=mixed)
    for prompt, frames in ((FIRST, slice(0, 9)), (LONG, slice(9, 10))):
        still = scene.run(demo[0], frames=FRAMES, negative=port.encode_text(demo[1], prompt)[0])
        assert apart(travelled[frames], still[frames]) <= 1e-4
