"""What every host promises of GLIGEN."""

from __future__ import annotations

import json

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import CheckpointError
from frameloom.models.layout.gligen import Grounding
from frameloom.models.storyboard.scenes import parse_storyboard
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.gligen import BOXES, edit, embeddings, grounded, grounding, write_gligen
from frameloom.tests.support.scene import SIDE
from frameloom.tests.support.tensors import apart
from frameloom.tests.support.training import predict_in_training

PIXELS = 8 * SIDE
STORY = {
    "size": [PIXELS, PIXELS],
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


@pytest.fixture(scope="module")
def network(core, tmp_path_factory):
    """GLIGEN's layers, of random weights."""
    return core.load_gligen(write_gligen(tmp_path_factory.mktemp("gligen") / "gligen.safetensors"))


@pytest.fixture
def wide(core, demo):
    """The demo's text encoder, its pooled text as wide as SD1.5's."""
    return core.widen(demo[1])


@pytest.fixture
def condition(port):
    """The node; its file is imported by a host."""
    from frameloom.nodes.layout.conditioning import LayoutConditioning

    return LayoutConditioning.execute


def ground(port, model, network, **settings):
    return port.install(model, Edit("test", between=edit(network, **settings)))


@pytest.fixture
def grounding_model(port, demo, network):
    return ground(port, demo[0], network)


def boxed(core, clip, conditioning, network, boxes=BOXES):
    """The scene's entities by core's node."""
    for text, (x0, y0, x1, y1) in zip(("red circle", "blue cross"), boxes, strict=True):
        places = (x1 - x0, y1 - y0, x0, y0)
        conditioning = core.text_box(
            conditioning, clip, network, text, *(int(PIXELS * place) for place in places)
        )
    return conditioning


def test_the_nodes_boxes_that_stand_still_equal_cores(port, demo, scene, wide, network, core, condition):
    story = parse_storyboard(json.dumps(STORY))
    settings = {"method": "bias", "strength": 0.0, "end_percent": 0.3, "gather_percent": 1.0}
    model, ours = condition(demo[0], wide, story, "", **settings, gligen=network, gligen_percent=1.0).args
    plain, _ = port.encode_text(demo[1], STORY["scenes"][0]["prompt"])
    theirs = scene.predict(demo[0], boxed(core, wide, plain, network))
    assert apart(scene.predict(model, ours), theirs) <= 1e-5
    assert apart(scene.predict(demo[0], plain), theirs) > 1e-2


def test_a_sampling_run_equals_cores(port, demo, scene, wide, network, core, grounding_model):
    """Core gives the negative prompt the positive one's boxes; here it has those that it is given."""
    plain, _ = port.encode_text(demo[1], STORY["scenes"][0]["prompt"])
    boxes = grounding()
    texts = torch.cat([port.pool_text(wide, text) for text in ("red circle", "blue cross")])
    payload = Grounding(boxes.boxes, boxes.present, texts)
    theirs = scene.run(demo[0], positive=boxed(core, wide, plain, network))
    positive = grounded(plain, payload)
    ours = scene.run(grounding_model, positive=positive, negative=grounded(scene.negative, payload))
    assert apart(ours, theirs) <= 1e-5
    assert apart(scene.run(grounding_model, positive=positive), theirs) > 1e-2


def test_a_frames_box_changes_that_frame_alone(scene, grounding_model):
    one, other = grounding(), grounding()
    other.boxes[2, 0] = torch.tensor([0.5, 0.5, 1.0, 1.0])
    before, after = (
        scene.run(grounding_model, positive=grounded(scene.positive, each)) for each in (one, other)
    )
    assert torch.equal(after[[0, 1, 3]], before[[0, 1, 3]])
    assert not torch.allclose(after[2], before[2], atol=1e-2)


def test_boxes_follow_their_frames_under_context_windows(scene, grounding_model):
    places = torch.rand(6, 2, 2, generator=torch.Generator().manual_seed(4)) / 2
    present = torch.ones(6, 2, dtype=torch.bool)
    positive = grounded(
        scene.positive, Grounding(torch.cat([places, places + 0.4], -1), present, embeddings(2))
    )
    plain = scene.run(grounding_model, frames=6, positive=positive)
    windows = scene.windowed(grounding_model, WindowPlan(4, 2, "looped"))
    assert apart(scene.run(windows, frames=6, positive=positive), plain) <= 1e-4


def test_an_absent_entity_is_none(scene, grounding_model):
    one, other = grounding(), grounding(BOXES[:1])
    one.present[1, 1] = False
    before, after = (scene.predict(grounding_model, grounded(scene.positive, each)) for each in (one, other))
    torch.testing.assert_close(before[1], after[1], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(before[0], after[0], atol=1e-2)


@pytest.mark.parametrize("save_memory", [False, True])
def test_training_goes_through_the_layers_with_the_null_set(port, demo, scene, grounding_model, save_memory):
    """A step of training sees what a step of sampling does without boxes, and gives gradients."""
    sampled = scene.predict(grounding_model, frames=3)
    assert apart(sampled, scene.predict(demo[0], frames=3)) > 1e-2, "the layers do nothing here"
    trained = predict_in_training(port, grounding_model, scene.positive, 20 * scene.noise(3), 5.0)
    assert apart(trained, sampled) <= 1e-4
    with torch.inference_mode(False):
        forward = port.train_forward(grounding_model, 3, save_memory=save_memory)
        device = next(forward.unet.parameters()).device
        noisy = scene.noise(3).clone().to(device).requires_grad_(True)
        tokens = scene.positive[0][0].clone().to(device)
        forward(noisy, torch.full((3,), 300, device=device), tokens).square().mean().backward()
    assert noisy.grad.abs().max() > 0


def test_schedule_and_strength_each_count_and_0_and_closed_gates_are_bit_identical_to_plain(
    port, demo, scene, network, core, grounding_model, tmp_path
):
    positive = grounded(scene.positive, grounding())
    plain, whole = (scene.run(model, positive=positive) for model in (demo[0], grounding_model))
    closed = core.load_gligen(write_gligen(tmp_path / "closed.safetensors", gate=0.0))
    for layers, settings in ((network, {"end_percent": 0.0}), (network, {"strength": 0.0}), (closed, {})):
        assert torch.equal(scene.run(ground(port, demo[0], layers, **settings), positive=positive), plain)
    for settings in ({"end_percent": 0.3}, {"strength": 0.5}):
        part = scene.run(ground(port, demo[0], network, **settings), positive=positive)
        assert not torch.allclose(part, whole, atol=1e-2), settings


def test_prompts_without_boxes_read_the_null_set(demo, scene, grounding_model):
    none = grounding()
    none.present[:] = False
    null = scene.predict(grounding_model, scene.negative)
    shown = scene.predict(grounding_model, grounded(scene.negative, none))
    torch.testing.assert_close(null, shown, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(null, scene.predict(demo[0], scene.negative), atol=1e-2)


def test_conditions_keep_their_own_boxes_in_any_order(port, demo, scene, grounding_model):
    """Unlike prompts of one length in one batch, of unlike lengths in two; a side's answer is their average."""
    long, _ = port.encode_text(demo[1], ", ".join(["a big cross"] * 40))
    for second in (scene.negative, long):
        one, other = grounded(scene.positive, grounding()), grounded(second, grounding(BOXES[::-1], seed=8))
        alone = [scene.predict(grounding_model, each) for each in (one, other)]
        assert not torch.allclose(*alone, atol=1e-2)
        for both in ([*one, *other], [*other, *one]):
            drawn = scene.predict(grounding_model, both)
            torch.testing.assert_close(drawn, sum(alone) / 2, rtol=1e-4, atol=1e-4)


def test_more_than_30_boxes_are_refused(wide, network, demo, condition):
    entity = STORY["scenes"][0]["entities"][0]
    many = [{**entity, "id": f"circle {number}"} for number in range(31)]
    story = parse_storyboard(json.dumps({**STORY, "scenes": [{**STORY["scenes"][0], "entities": many}]}))
    with pytest.raises(ValueError, match=r"got 31 boxes in a frame; expected at most 30"):
        condition(demo[0], wide, story, "", "bias", 8.0, 0.3, 1.0, gligen=network)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("position_batched", "kind 'position_batched'.*leaves out"), ("position", "one of the two")],
)
def test_boxes_that_would_be_left_out_or_act_twice_are_refused(scene, network, grounding_model, kind, words):
    boxes = [[tokens, {**options, "gligen": (kind, network, [])}] for tokens, options in scene.positive]
    with pytest.raises(ValueError, match=words):
        scene.predict(grounding_model, boxes)


def test_what_does_not_fit_is_refused(port, demo, scene, core, grounding_model, tmp_path):
    said = r"16 layers of widths \[40, 80\]; expected 16 of widths \[32, 64\]"
    with pytest.raises(CheckpointError, match=said):
        ground(port, demo[0], core.load_gligen(write_gligen(tmp_path / "wide.safetensors", (40, 80, 80))))
    narrow = Grounding(grounding().boxes, grounding().present, embeddings(2, 64))
    with pytest.raises(ValueError, match=r"texts 64 wide; expected 768"):
        scene.predict(grounding_model, grounded(scene.positive, narrow))
    with pytest.raises(ValueError, match=r"got frame 3 to sample; expected frames below 3"):
        scene.predict(grounding_model, grounded(scene.positive, grounding(frames=3)))
