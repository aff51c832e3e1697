"""Layouts on SDXL, whose two text encoders read one prompt: bias, gather, energy, masks and ControlNets."""

from __future__ import annotations

import copy

import comfy.cldm.cldm
import comfy.sdxl_clip
import pytest
import torch
from frameloom.models.network.unet import layer_grid
from frameloom.models.storyboard.masks import box_masks
from frameloom.models.storyboard.scenes import BoxKey, Entity, Storyboard
from frameloom.models.storyboard.scenes import Scene as Shot
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.contract.test_energy import slope_of_the_move
from frameloom.tests.host.inside.control import controlnet, fill
from frameloom.tests.host.inside.core import call
from frameloom.tests.host.inside.tiny_models import TOKENS, XL
from frameloom.tests.support.input_table import run_node
from frameloom.tests.support.layout import guide, lay_out
from frameloom.tests.support.scene import FRAMES, SIDE
from frameloom.tests.support.tensors import apart
from safetensors.torch import save_file

import nodes

PROMPT = "a red circle and a blue cross on navy"
SPANS = {"red circle": (2, 4), "blue cross": (6, 8)}  # among the tokens of CLIP's own vocabulary
BARE, ALONE = "a and a on navy", ("a red circle on navy", "a blue cross on navy")
BOXES = {"red circle": (0.0, 0.0, 0.5, 0.6), "blue cross": (0.4, 0.5, 1.0, 1.0)}


def board(boxes=BOXES, prompt=PROMPT, frames=FRAMES):
    entities = [
        Entity(id=text, text=text, track=[BoxKey(f=0, box=box)], hold=True) for text, box in boxes.items()
    ]
    return Storyboard(
        size=(8 * SIDE, 8 * SIDE), scenes=[Shot(id=1, prompt=prompt, frames=frames, entities=entities)]
    )


def laid_out(xl, **settings):
    """The model and the condition of Layout Conditioning."""
    from frameloom.nodes.layout.conditioning import LayoutConditioning

    given = {"storyboard": board(), "prompt": PROMPT, "method": "bias", "strength": 0.0, "end_percent": 1.0}
    return LayoutConditioning.execute(
        model=xl[0], clip=xl[1], **(given | {"gather_percent": 1.0} | settings)
    ).args


def covers(box, side):
    return box_masks(torch.tensor([box]), torch.tensor([True]), side, side)[0]


def test_a_phrase_has_the_same_place_in_both_text_encoders(port, xl, tmp_path):
    _, spans = port.encode_text(xl[1], PROMPT, list(SPANS))
    assert {text: spans[text] for text in SPANS} == {text: [span] for text, span in SPANS.items()}
    for name, rows in (("even", 3), ("odd", 2)):
        save_file(
            {"clip_l": torch.zeros(3, 768), "clip_g": torch.zeros(rows, 1280)},
            tmp_path / f"{name}.safetensors",
        )
    clip = copy.copy(xl[1])
    clip.tokenizer = comfy.sdxl_clip.SDXLTokenizer(embedding_directory=str(tmp_path))
    from frameloom.host.comfyui.text import find_spans

    assert find_spans(clip, f"embedding:even, {PROMPT}", "red circle") == [(6, 8)]
    with pytest.raises(
        ValueError, match=r"prompt: got 12 tokens from text encoder g and 13 from l, or.*expected the"
    ):
        find_spans(clip, f"embedding:odd, {PROMPT}", "red circle")


def test_the_bias_is_added_to_the_logits_of_every_layer(xl, xl_scene):
    """By an attention of our own in the place of each of SDXL's layers, of both levels and all depths."""
    model, conditioning = laid_out(xl, strength=8.0)
    sides = {layer_grid((SIDE, SIDE), level)[0] ** 2: layer_grid((SIDE, SIDE), level)[0] for level in (1, 2)}

    def attend(query, key, value, extra):
        q, k, v = (each.unflatten(2, (extra["n_heads"], -1)).transpose(1, 2) for each in (query, key, value))
        bias = torch.zeros(query.shape[1], key.shape[1])
        for text, (start, stop) in SPANS.items():
            bias[:, start:stop] += 8 * (2 * covers(BOXES[text], sides[query.shape[1]]).flatten()[:, None] - 1)
        logits = q @ k.mT * q.shape[-1] ** -0.5 + bias
        return (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)

    byhand = xl[0].clone()
    blocks = (
        [("input", each) for each in (4, 5, 7, 8)] + [("output", each) for each in range(6)] + [("middle", 0)]
    )
    for block in blocks:
        for depth in range(2):
            byhand.set_model_attn2_replace(attend, *block, depth)
    plain = [[tokens, {"pooled_output": options["pooled_output"]}] for tokens, options in conditioning]
    wanted = xl_scene.predict(byhand, plain)
    assert apart(xl_scene.predict(model, conditioning), wanted) <= 1e-4
    assert apart(wanted, xl_scene.predict(xl[0], plain)) > 1e-2


@pytest.mark.parametrize(
    "sizes", [{}, {"width": 1024, "height": 512, "crop_w": 8}], ids=["own size", "sizes"]
)
def test_gather_asks_prompts_with_their_own_pooled_text_and_the_conditions_sizes(port, xl, xl_scene, sizes):
    """Of predictions for whole prompts: with their tokens, of both encoders, and their pooled text."""

    def encode(text):
        return [[tokens, {**options, **sizes}] for tokens, options in port.encode_text(xl[1], text)[0]]

    model, conditioning = laid_out(xl, method="bias + gather", conditioning=encode(PROMPT))
    d_0, *alone = (xl_scene.predict(xl[0], encode(text)) for text in (BARE, *ALONE))
    m = [covers(box, SIDE) for box in BOXES.values()]
    wanted = d_0.clone()
    for own, other, d_i in zip(m, reversed(m), alone, strict=True):
        effect = (d_i - d_0).double()
        whole, inside = (
            part.abs().sum((1, 2, 3), keepdim=True)
            for part in (effect * (1 - other), own * effect * (1 - other))
        )
        wanted += (own * effect * (whole / inside).clamp(1, 30)).float()
    assert apart(xl_scene.predict(model, conditioning), wanted) <= 1e-4
    assert apart(wanted, xl_scene.predict(xl[0], encode(PROMPT))) > 1e-2


def test_predictions_move_against_the_gradient_of_the_energy(port, xl):
    slope, expected = slope_of_the_move(port, xl[0], xl[1], step=0.01)
    assert slope == pytest.approx(expected, rel=0.02)


def test_a_layout_that_does_not_act_is_the_plain_model_bit_for_bit(port, xl, xl_scene):
    model, conditioning = laid_out(xl)
    plain = [[tokens, {"pooled_output": options["pooled_output"]}] for tokens, options in conditioning]
    assert torch.equal(xl_scene.predict(model, conditioning), xl_scene.predict(xl[0], plain))
    still = guide(port, xl[0], strength=0.0)
    assert torch.equal(
        xl_scene.predict(still, lay_out(port, xl[1])), xl_scene.predict(xl[0], lay_out(port, xl[1]))
    )


def test_a_layout_in_windows_is_that_of_each_frame(xl, xl_scene):
    """A frame by itself is as it is in a clip, since nothing mixes frames; boxes go by the frames' numbers."""
    moving = board({"red circle": BOXES["red circle"]})
    scene = moving.scenes[0]
    scene = scene.model_copy(
        update={
            "entities": [
                Entity(
                    id="a", text="red circle",
                    track=[BoxKey(f=0, box=(0.0, 0.0, 0.4, 0.4)), BoxKey(f=FRAMES - 1, box=(0.6, 0.6, 1.0, 1.0))],
                )
            ]
        }
    )  # fmt: skip
    model, conditioning = laid_out(
        xl, method="bias + gather", strength=4.0, storyboard=moving.model_copy(update={"scenes": [scene]})
    )
    whole = xl_scene.run(model, positive=conditioning)
    windowed = xl_scene.run(xl_scene.windowed(model, WindowPlan(2, 0)), positive=conditioning)
    assert apart(windowed, whole) <= 1e-4


def test_gligen_is_refused_by_name_and_nothing_is_sampled(xl):
    with pytest.raises(
        ValueError, match=r"model: got SDXL, .*expected Stable Diffusion 1.x, since GLIGEN.*; load an"
    ):
        laid_out(xl, gligen=object())


def test_masks_of_a_layout_are_each_frames(port, xl, xl_scene):
    """The prompt of a mask that is all of a frame is that frame's, and has no say where the mask is nothing."""
    full = {"red circle": (0.0, 0.0, 1.0, 1.0)}
    first = board(full).scenes[0]
    first = first.model_copy(
        update={"entities": [Entity(id="a", text="red circle", track=[BoxKey(f=0, box=full["red circle"])])]}
    )
    shot = Storyboard(size=(8 * SIDE, 8 * SIDE), scenes=[first])
    masks = {
        invert: run_node("LayoutToMasks", storyboard=shot, entity="a", width=0, height=0, invert=invert)
        for invert in (False, True)
    }
    assert masks[False].mean((1, 2)).tolist() == [1.0] + [0.0] * (FRAMES - 1)
    circle, cross = (port.encode_text(xl[1], text)[0] for text in SPANS)
    both = [
        *call(nodes.ConditioningSetMask, circle, masks[False], "default", 1.0),
        *call(nodes.ConditioningSetMask, cross, masks[True], "default", 1.0),
    ]
    drawn = xl_scene.run(xl[0], positive=both)
    assert apart(drawn[:1], xl_scene.run(xl[0], positive=circle)[:1]) <= 1e-4
    assert apart(drawn[1:], xl_scene.run(xl[0], positive=cross)[1:]) <= 1e-4


@pytest.fixture(scope="module")
def net():
    """A ControlNet of SDXL's blocks."""
    sizes = {
        name: value for name, value in XL.items() if name not in ("out_channels", "transformer_depth_output")
    }
    del sizes["use_checkpoint"]
    with torch.inference_mode():
        network = comfy.cldm.cldm.ControlNet(
            hint_channels=3, dtype=torch.float32, **(sizes | {"adm_in_channels": TOKENS // 2 + 6 * 256})
        )
        return controlnet(3, net=fill(network, 3))


@pytest.mark.parametrize("windows", [False, True], ids=["whole", "windows"])
def test_a_controlnet_of_a_layouts_pictures_has_the_strength_of_each_frame(core, xl, xl_scene, net, windows):
    hints = run_node(
        "LayoutToControl", storyboard=board(), kind="filled labels", width=8 * SIDE, height=8 * SIDE
    )
    model = xl_scene.windowed(xl[0], WindowPlan(2, 0)) if windows else xl[0]

    def drawn(power, **schedule):
        pair = core.apply_control(xl_scene.positive, xl_scene.negative, net, hints, power, 0.0, 1.0)
        if schedule:
            from frameloom.nodes.video.control_schedule import ControlSchedule

            given = {
                "between": "linear",
                "by_step": "1",
                "soft": 1.0,
                "negative_strength": 1.0,
                "which": "last",
            }
            pair = ControlSchedule.execute(*pair, frames=FRAMES, **given, **schedule).args[:2]
        return xl_scene.run(model, positive=pair[0], negative=pair[1])

    falling = drawn(1.0, strength="0: 1, 1: 0.5, -1: 0")
    whole, half, plain = drawn(1.0), drawn(0.5), xl_scene.drawn(xl[0])
    assert apart(falling[:1], whole[:1]) <= 1e-4
    assert apart(falling[1:2], half[1:2]) <= 1e-4
    assert apart(falling[-1:], plain[-1:]) <= 1e-4
    assert apart(whole, plain) > 1e-2


def test_cross_frame_attention_inside_an_sdxl_controlnet_reads_the_anchor(core, xl, xl_scene, net):
    hints = torch.rand(FRAMES, 8 * SIDE, 8 * SIDE, 3, generator=torch.Generator().manual_seed(1))
    pair = core.apply_control(xl_scene.positive, xl_scene.negative, net, hints, 8.0, 0.0, 1.0)
    given = dict(zip(("positive", "negative"), pair, strict=True))
    plain = xl_scene.run(xl[0], **given)
    inside, outside = (
        xl_scene.run(run_node("CrossFrameAttnPatch", model=xl[0], in_controlnet=is_in), **given)
        for is_in in (True, False)
    )
    assert apart(inside[:1], plain[:1]) <= 1e-4
    assert apart(inside[1:], outside[1:]) > 3e-4


def test_the_plain_model_is_the_same_bit_for_bit_after_layouts(port, xl, xl_scene):
    before = xl_scene.run(xl[0])
    for method in ("bias + gather", "bias + energy (experimental)"):
        model, conditioning = laid_out(xl, method=method, strength=4.0)
        assert apart(xl_scene.run(model, positive=conditioning), before) > 1e-2
        assert torch.equal(xl_scene.run(xl[0]), before)
