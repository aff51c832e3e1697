"""What GLIGEN promises on every host, as tests that run on each: they import them from here.

They need the fixtures of ``port_contract``, and ``load`` (a file to what the GLIGEN socket carries), ``network`` (of
random weights), ``wide`` (the demo's text encoder, its pooled text 768 wide) and ``text_box`` (core's node).
"""

from __future__ import annotations

import json

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import CheckpointError
from frameloom.models.layout.gligen import Grounding
from frameloom.models.storyboard.scenes import parse_storyboard
from frameloom.tests.contract.test_windows import FRAMES, PLANS, apart, windowed
from frameloom.tests.support.gligen import BOXES, edit, embeddings, grounded, grounding, write_gligen
from frameloom.tests.support.training import predict_in_training

SIGMA = 5.0
SIDE = 128  # pixels of the latents of a Scene
STORY = {
    "size": [SIDE, SIDE],
    "scenes": [
        {
            "id": 1,
            "prompt": "a red circle and a blue cross on navy",
            "frames": 4,
            "entities": [
                {"id": text, "text": text, "track": [{"f": 0, "box": list(box)}], "hold": True}
                for text, box in zip(("red circle", "blue cross"), BOXES, strict=True)
            ],
        }
    ],
}


@pytest.fixture
def condition(port):
    """The node; its file is imported by a host."""
    from frameloom.nodes.layout.conditioning import LayoutConditioning

    return LayoutConditioning.execute


def ground(port, model, network, **settings):
    return port.install(model, Edit("test", between=edit(network, **settings)))


def predict(port, model, conditioning, frames=4):
    noise = torch.randn(frames, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    return port.predict(model, conditioning, {"samples": noise * 20}, SIGMA)


def boxed(port, clip, conditioning, network, text_box, boxes=BOXES):
    """The scene's entities by core's node."""
    for text, (x0, y0, x1, y1) in zip(("red circle", "blue cross"), boxes, strict=True):
        places = (x1 - x0, y1 - y0, x0, y0)
        conditioning = text_box(conditioning, clip, network, text, *(int(SIDE * place) for place in places))
    return conditioning


def test_the_nodes_boxes_that_stand_still_equal_cores(port, demo, wide, network, text_box, condition):
    story = parse_storyboard(json.dumps(STORY))
    settings = {"method": "bias", "strength": 0.0, "end_percent": 0.3, "gather_percent": 1.0}
    model, ours = condition(demo[0], wide, story, "", **settings, gligen=network, gligen_percent=1.0).args
    plain, _ = port.encode_text(demo[1], STORY["scenes"][0]["prompt"])
    theirs = predict(port, demo[0], boxed(port, wide, plain, network, text_box))
    result = predict(port, model, ours)
    assert float((result - theirs).norm() / theirs.norm()) <= 1e-5
    assert float((predict(port, demo[0], plain) - theirs).norm() / theirs.norm()) > 1e-2


def test_a_sampling_run_equals_cores(port, demo, wide, network, text_box):
    """Core gives the negative prompt the positive one's boxes; here it has those that it is given."""
    sides = [port.encode_text(demo[1], text)[0] for text in (STORY["scenes"][0]["prompt"], "")]
    payload = grounding()
    payload = Grounding(
        payload.boxes,
        payload.present,
        torch.cat([port.pool_text(wide, text) for text in ("red circle", "blue cross")]),
    )

    def run(model, positive, negative):
        return port.sample(
            model, positive, negative, {"samples": torch.zeros(4, 4, 16, 16)},
            noise=torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(0)),
            sigmas=port.sigmas(demo[0], 3, "normal"), sampler="euler", cfg=3.0,
        )["samples"]  # fmt: skip

    theirs = run(demo[0], boxed(port, wide, sides[0], network, text_box), sides[1])
    model = ground(port, demo[0], network)
    ours = run(model, *(grounded(side, payload) for side in sides))
    assert float((ours - theirs).norm() / theirs.norm()) <= 1e-5
    null = run(model, grounded(sides[0], payload), sides[1])
    assert float((null - theirs).norm() / theirs.norm()) > 1e-2


def test_a_frames_box_changes_that_frame_alone(port, demo, scene, network):
    model, one, other = ground(port, demo[0], network), grounding(), grounding()
    other.boxes[2, 0] = torch.tensor([0.5, 0.5, 1.0, 1.0])
    before, after = (scene.run(model, positive=grounded(scene.positive, each)) for each in (one, other))
    assert torch.equal(after[[0, 1, 3]], before[[0, 1, 3]])
    assert not torch.allclose(after[2], before[2], atol=1e-2)


def test_boxes_follow_their_frames_under_context_windows(port, demo, scene, network):
    places = torch.rand(FRAMES, 2, 2, generator=torch.Generator().manual_seed(4)) / 2
    present = torch.ones(FRAMES, 2, dtype=torch.bool)
    moving = Grounding(torch.cat([places, places + 0.4], -1), present, embeddings(2))
    model, positive = ground(port, demo[0], network), grounded(scene.positive, moving)
    plain = scene.run(model, frames=FRAMES, positive=positive)
    for plan in PLANS[1:4]:
        got = scene.run(windowed(port, model, plan), frames=FRAMES, positive=positive)
        assert apart(got, plain) <= 1e-4, plan.schedule
    moving.boxes[:] = moving.boxes.flip(0)
    assert apart(scene.run(model, frames=FRAMES, positive=positive), plain) > 1e-2


def test_an_absent_entity_is_none(port, demo, scene, network):
    model, one, other = ground(port, demo[0], network), grounding(), grounding(BOXES[:1])
    one.present[1, 1] = False
    before, after = (predict(port, model, grounded(scene.positive, each)) for each in (one, other))
    torch.testing.assert_close(before[1], after[1], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(before[0], after[0], atol=1e-2)


@pytest.mark.parametrize("save_memory", [False, True])
def test_training_goes_through_the_layers_with_the_null_set(port, demo, scene, network, save_memory):
    """A step of training sees what a step of sampling does without boxes, and gives gradients."""
    model, latent = ground(port, demo[0], network), scene.noise(3) * 20
    sampled = port.predict(model, scene.positive, {"samples": latent}, SIGMA)
    plain = port.predict(demo[0], scene.positive, {"samples": latent}, SIGMA)
    assert apart(sampled, plain) > 1e-2, "the layers do nothing here"
    assert apart(predict_in_training(port, model, scene.positive, latent, SIGMA), sampled) <= 1e-4
    with torch.inference_mode(False):
        forward = port.train_forward(model, 3, save_memory=save_memory)
        device = next(forward.unet.parameters()).device
        noisy = (
            torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
            .to(device)
            .requires_grad_(True)
        )
        tokens = scene.positive[0][0].clone().to(device)
        forward(noisy, torch.full((3,), 300, device=device), tokens).square().mean().backward()
    assert noisy.grad.abs().max() > 0


def test_schedule_0_strength_0_and_closed_gates_are_bit_identical_to_plain(
    port, demo, scene, network, load, tmp_path
):
    positive = grounded(scene.positive, grounding())
    plain = scene.run(demo[0], positive=positive)
    closed = load(write_gligen(tmp_path / "closed.safetensors", gate=0.0))
    assert torch.equal(scene.run(ground(port, demo[0], network, end_percent=0.0), positive=positive), plain)
    assert torch.equal(scene.run(ground(port, demo[0], network, strength=0.0), positive=positive), plain)
    assert torch.equal(scene.run(ground(port, demo[0], closed), positive=positive), plain)
    assert not torch.allclose(scene.run(ground(port, demo[0], network), positive=positive), plain, atol=1e-2)


def test_schedule_and_strength_each_count(port, demo, scene, network):
    positive = grounded(scene.positive, grounding())
    whole = scene.run(ground(port, demo[0], network), positive=positive)
    for settings in ({"end_percent": 0.3}, {"strength": 0.5}):
        part = scene.run(ground(port, demo[0], network, **settings), positive=positive)
        assert torch.isfinite(part).all()
        assert not torch.allclose(part, whole, atol=1e-2), settings


def test_prompts_without_boxes_read_the_null_set(port, demo, scene, network):
    model = ground(port, demo[0], network)
    none = grounding()
    none.present[:] = False
    null = predict(port, model, scene.negative)
    torch.testing.assert_close(
        null, predict(port, model, grounded(scene.negative, none)), rtol=1e-5, atol=1e-5
    )
    assert not torch.allclose(null, predict(port, demo[0], scene.negative), atol=1e-2)


def test_conditions_keep_their_own_boxes_in_any_order(port, demo, scene, network):
    """Unlike prompts of one length in one batch, of unlike lengths in two; a side's answer is their average."""
    model = ground(port, demo[0], network)
    long, _ = port.encode_text(demo[1], ", ".join(["a big cross"] * 40))
    for second in (scene.negative, long):
        one, other = grounded(scene.positive, grounding()), grounded(second, grounding(BOXES[::-1], seed=8))
        alone = [predict(port, model, each) for each in (one, other)]
        assert not torch.allclose(*alone, atol=1e-2)
        for both in ([*one, *other], [*other, *one]):
            torch.testing.assert_close(predict(port, model, both), sum(alone) / 2, rtol=1e-4, atol=1e-4)


def test_it_acts_with_motion_modules_and_cross_frame_attention_in_any_order(
    port, demo, motion, scene, network
):
    positive = grounded(scene.positive, grounding())
    one = ground(port, scene.crossing(scene.moving(demo[0], motion)), network)
    other = scene.moving(scene.crossing(ground(port, demo[0], network)), motion)
    both = scene.run(one, positive=positive)
    assert torch.equal(both, scene.run(other, positive=positive))
    without = scene.crossing(scene.moving(demo[0], motion))
    assert not torch.allclose(both, scene.run(without, positive=positive), atol=1e-2)
    assert not torch.allclose(both, scene.run(ground(port, demo[0], network), positive=positive), atol=1e-2)


def test_of_two_the_last_counts(port, demo, scene, network, load, tmp_path):
    other = load(write_gligen(tmp_path / "other.safetensors", seed=5))
    positive = grounded(scene.positive, grounding())
    twice = ground(port, ground(port, demo[0], other), network)
    assert torch.equal(
        predict(port, twice, positive), predict(port, ground(port, demo[0], network), positive)
    )
    assert not torch.allclose(
        predict(port, twice, positive), predict(port, ground(port, demo[0], other), positive), atol=1e-2
    )


def test_more_than_30_boxes_are_refused(wide, network, demo, condition):
    entity = STORY["scenes"][0]["entities"][0]
    many = [{**entity, "id": f"circle {number}"} for number in range(31)]
    story = parse_storyboard(json.dumps({**STORY, "scenes": [{**STORY["scenes"][0], "entities": many}]}))
    with pytest.raises(ValueError, match=r"got 31 boxes in a frame; expected at most 30"):
        condition(demo[0], wide, story, "", "bias", 8.0, 0.3, 1.0, gligen=network)


def test_boxes_that_would_be_left_out_or_act_twice_are_refused(port, demo, scene, network):
    model = ground(port, demo[0], network)
    for kind, words in (
        ("position_batched", "kind 'position_batched'.*leaves out"),
        ("position", "one of the two"),
    ):
        boxes = [[tokens, {**options, "gligen": (kind, network, [])}] for tokens, options in scene.positive]
        with pytest.raises(ValueError, match=words):
            predict(port, model, boxes)


def test_what_does_not_fit_is_refused(port, demo, scene, network, load, tmp_path):
    with pytest.raises(
        CheckpointError, match=r"16 layers of widths \[40, 80\]; expected 16 of widths \[32, 64\]"
    ):
        ground(port, demo[0], load(write_gligen(tmp_path / "wide.safetensors", (40, 80, 80))))
    narrow = Grounding(grounding().boxes, grounding().present, embeddings(2, 64))
    with pytest.raises(ValueError, match=r"texts 64 wide; expected 768"):
        predict(port, ground(port, demo[0], network), grounded(scene.positive, narrow))
    with pytest.raises(ValueError, match=r"got frame 3 to sample; expected frames below 3"):
        predict(port, ground(port, demo[0], network), grounded(scene.positive, grounding(frames=3)))
