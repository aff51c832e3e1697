"""What every host promises of Prompt Travel.

The demo model alone mixes no frames, so a frame of a clip is what it would be in a clip of its prompt alone.
"""

from __future__ import annotations

import math

import pytest
import torch
from frameloom.models.storyboard.scenes import Scene, Storyboard
from frameloom.tests.contract.test_windows import PLANS, windowed

FRAMES, SIGMA = 10, 5.0
FIRST, LAST = "a red circle", "a blue cross on navy"
LONG = ", ".join(["a big green triangle"] * 30)  # two chunks of tokens
PARTS = {
    "linear": lambda way: way,
    "ease in-out": lambda way: (1 - math.cos(math.pi * way)) / 2,
    "hold": lambda way: 0.0,
}


def travel(clip, text="", frames=FRAMES, interpolation="linear", prepend="", append="", storyboard=None):
    """Run the node, which is imported when a host is there; returns its outputs."""
    from frameloom.nodes.long_video.prompt_travel import PromptTravel

    return PromptTravel.execute(clip, text, frames, interpolation, prepend, append, storyboard).args


def predict(port, model, conditioning, frames=FRAMES):
    noise = torch.randn(frames, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    return port.predict(model, conditioning, {"samples": noise * 20}, SIGMA)


def alone(port, demo, prompt):
    """What a clip of a single prompt is."""
    return predict(port, demo[0], port.encode_text(demo[1], prompt)[0])


def assert_same(got, wanted, tolerance=1e-5):
    assert float((got - wanted).norm() / wanted.norm()) <= tolerance


@pytest.mark.parametrize("interpolation", list(PARTS))
def test_every_frame_is_drawn_from_its_own_mixture(port, demo, interpolation):
    """As a clip is whose frames all have that mixture, made here by hand."""
    (mixed, _, _) = travel(demo[1], f"2: {FIRST}\n7: {LAST}", interpolation=interpolation)
    got = predict(port, demo[0], mixed)
    (first, options), (last, _) = (port.encode_text(demo[1], prompt)[0][0] for prompt in (FIRST, LAST))
    for frame in range(FRAMES):
        way = min(max((frame - 2) / 5, 0), 1)
        part = PARTS[interpolation](way) if way < 1 else 1.0
        wanted = predict(port, demo[0], [[(1 - part) * first + part * last, options]])
        assert_same(got[frame], wanted[frame])
    apart = alone(port, demo, FIRST) - alone(port, demo, LAST)
    assert float(apart.norm() / got.norm()) > 1e-2


@pytest.mark.parametrize("prompts", [(FIRST, LONG), (LONG, FIRST)], ids=["longer", "shorter"])
def test_keyframes_of_prompts_of_any_length_are_as_by_themselves(port, demo, prompts):
    text = "\n".join(f"{frame}: {prompt}" for frame, prompt in zip((0, FRAMES - 1), prompts, strict=True))
    (mixed, _, _) = travel(demo[1], text)
    lengths = {port.encode_text(demo[1], prompt)[0][0][0].shape[1] for prompt in prompts}
    assert len(lengths) == 2
    got = predict(port, demo[0], mixed)
    for frame, prompt in zip((0, -1), prompts, strict=True):
        assert_same(got[frame], alone(port, demo, prompt)[frame])
    assert torch.isfinite(got).all()


def test_scenes_of_a_storyboard_have_their_own_frames(port, demo):
    scenes = [Scene(id=1, prompt=FIRST, frames=4), Scene(id=2, prompt=LAST, frames=6)]
    held, told, frames = travel(demo[1], "", 0, "hold", storyboard=Storyboard(scenes=scenes))
    assert frames == FRAMES
    assert told == f"0 to 3: {FIRST}\n4 to 9: {LAST}"
    got = predict(port, demo[0], held)
    assert_same(got[:4], alone(port, demo, FIRST)[:4])
    assert_same(got[4:], alone(port, demo, LAST)[4:])


def test_what_goes_before_and_behind_is_in_every_prompt(port, demo):
    held, _, _ = travel(demo[1], f"0: {FIRST}\n5: {LAST}", FRAMES, "hold", "a photo", "on black")
    got = predict(port, demo[0], held)
    assert_same(got[:5], alone(port, demo, f"a photo, {FIRST}, on black")[:5])
    assert_same(got[5:], alone(port, demo, f"a photo, {LAST}, on black")[5:])


@pytest.mark.parametrize(
    ("plan", "last"),
    [(PLANS[0], LAST), (PLANS[1], LONG), (PLANS[2], LONG), (PLANS[3], LAST)],
    ids=["static", "uniform, two lengths", "looped, two lengths", "batched"],
)
def test_under_context_windows_frames_keep_their_prompts(port, scene, demo, plan, last):
    """Windows change nothing where frames do not mix, if each has the tokens of its absolute number."""
    (mixed, _, _) = travel(demo[1], f"0: {FIRST}\n9: {last}")
    plain = scene.run(demo[0], frames=FRAMES, positive=mixed)
    assert_same(scene.run(windowed(port, demo[0], plan), frames=FRAMES, positive=mixed), plain)
    (turned, _, _) = travel(demo[1], f"0: {last}\n9: {FIRST}")
    other = scene.run(demo[0], frames=FRAMES, positive=turned)
    assert float((other - plain).norm() / plain.norm()) > 1e-2


def test_a_negative_prompt_may_travel_beside_one_that_does_not(port, demo, scene):
    (mixed, _, _) = travel(demo[1], f"0: {FIRST}\n9: {LONG}", interpolation="hold")

    def run(negative, frames):
        latent = {"samples": torch.zeros(FRAMES, 4, 16, 16)}
        out = port.sample(
            demo[0], scene.positive, negative, latent, noise=scene.noise(FRAMES),
            sigmas=port.sigmas(demo[0], 3, "normal"), sampler="euler", cfg=3.0,
        )["samples"]  # fmt: skip
        return out[frames]

    travelled = run(mixed, slice(None))
    for prompt, frames in ((FIRST, slice(0, 9)), (LONG, slice(9, 10))):
        assert_same(travelled[frames], run(port.encode_text(demo[1], prompt)[0], frames), 1e-4)


def test_a_motion_module_takes_prompts_that_travel(port, demo, motion, scene):
    """It mixes frames: the first frame is not the one of a clip that does not change."""
    (mixed, _, _) = travel(demo[1], f"0: {FIRST}\n9: {LAST}")
    moving = scene.moving(demo[0], motion)
    got = scene.run(moving, frames=FRAMES, positive=mixed)
    still = scene.run(moving, frames=FRAMES, positive=port.encode_text(demo[1], FIRST)[0])
    assert torch.isfinite(got).all()
    assert float((got[0] - still[0]).norm() / still[0].norm()) > 1e-4


@pytest.mark.parametrize(
    ("text", "frames", "message"),
    [
        ("0: a\nfirst: b", 4, r"prompts line 2, column 1: got 'first'; expected a frame, counted from 0"),
        ('{"0": "a",\n "8" "b"}', 4, r"prompts line 2, column 2: .*; expected `frame: prompt`"),
        ("0: a", 0, r"frames=0; expected 1 to 10,000; set frames to how many are sampled"),
    ],
)
def test_a_wrong_schedule_is_refused_with_its_place(port, demo, text, frames, message):
    with pytest.raises(ValueError, match=message):
        travel(demo[1], text, frames)
