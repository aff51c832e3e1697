"""Which tokens a frame reads, by hand; and on diffusers' UNet against diffusers' own processor."""

from __future__ import annotations

import pytest
import torch
from diffusers.pipelines.deprecated.text_to_video_synthesis.pipeline_text_to_video_zero import (
    CrossFrameAttnProcessor2_0,
)
from frameloom.headless.engine.edits import edited
from frameloom.headless.weights.networks import build_unet
from frameloom.headless.weights.shared_attention import share_tokens
from frameloom.models.edits.call import Call, Condition
from frameloom.models.edits.edit import Edit
from frameloom.models.network.sizes import DEMO
from frameloom.models.zero_shot.cross_frame import AnchorMemory, CrossFrameEdit

TOKENS, CHANNELS = 3, 2


def call(frame_ids=(0, 1, 2, 3), conditions=(1, 0), **changes):
    chunks = tuple(Condition(index, key=index) for index in conditions)
    settings = {"videos": 1, "sigma": 1.0, "progress": 0.5, "size": (16, 16), **changes}
    return Call(len(frame_ids), conditions=chunks, frame_ids=tuple(frame_ids), **settings)


def tokens(rows):
    """Rows of tokens that say which row they are of."""
    return torch.arange(float(rows))[:, None, None].expand(rows, TOKENS, CHANNELS)


def rows_read(edit, run_call, memory=None, rows=None):
    """For each frame the rows that it reads."""
    rows = rows or len(run_call.conditions) * run_call.frames
    source = edit.read(tokens(rows), run_call, memory or AnchorMemory(), "layer")
    return source.per_frame(run_call.frames)[:, ::TOKENS, 0].int().tolist()


def test_frames_of_each_condition_read_its_own_first_frame_handed_over_once():
    edit = CrossFrameEdit()
    source = edit.read(tokens(8), call(), AnchorMemory(), "layer")
    assert source.is_shared
    assert source.tokens.shape == (2, TOKENS, CHANNELS)
    assert rows_read(edit, call()) == [[0]] * 4 + [[4]] * 4


@pytest.mark.parametrize("conditions", [(0,), (1,), (0, 1), (0, 0, 1), (2, 1, 0)])
def test_any_number_and_order_of_conditions(conditions):
    wanted = [[4 * chunk] for chunk in range(len(conditions)) for _ in range(4)]
    assert rows_read(CrossFrameEdit(), call(conditions=conditions)) == wanted


def test_previous_and_first_with_previous():
    run_call = call(conditions=(0,))
    assert rows_read(CrossFrameEdit("previous"), run_call) == [[0], [0], [1], [2]]
    assert rows_read(CrossFrameEdit("first + previous"), run_call) == [[0, 0], [0, 0], [0, 1], [0, 2]]


def test_previous_goes_by_frame_number_not_by_place():
    assert rows_read(CrossFrameEdit("previous"), call((0, 8, 9, 4), (0,))) == [[0], [3], [1], [0]]


def test_a_chosen_frame_is_found_by_its_number():
    edit = CrossFrameEdit("chosen frame", frame=9)
    assert rows_read(edit, call((0, 8, 9, 10), (0,))) == [[2]] * 4


def test_a_chosen_frame_is_one_of_the_clip_and_may_be_outside_a_window():
    edit = CrossFrameEdit("chosen frame", frame=50)
    with pytest.raises(ValueError, match=r"got frame=50; expected 0 to 3, .*lower frame"):
        rows_read(edit, call(conditions=(0,)))
    assert rows_read(edit, call((4, 5), (0,), is_part=True)) == [[0]] * 2


def test_strength_mixes_own_and_anchor():
    source = CrossFrameEdit(strength=0.25).read(tokens(4), call(conditions=(0,)), AnchorMemory(), "layer")
    assert source.tokens[:, 0, 0].tolist() == [0, 0.75, 1.5, 2.25]


def test_a_window_of_one_frame_reads_the_anchor_and_a_clip_of_one_frame_is_left_alone():
    memory, edit = AnchorMemory(), CrossFrameEdit()
    edit.read(tokens(2), call((0,), is_part=True), memory, "layer")
    assert rows_read(edit, call((7,), is_part=True), memory) == [[0], [1]]
    assert edit.acts(call((7,), is_part=True))
    assert not edit.acts(call((0,)))


@pytest.mark.parametrize("batches", [[(1,), (0,)], [(0, 1)], [(2, 0), (1,)]], ids=str)
def test_the_anchor_is_found_whatever_conditions_share_a_batch(batches):
    """ComfyUI decides it from call to call; a condition that is new reads the window's first frame."""
    memory, edit = AnchorMemory(), CrossFrameEdit()
    edit.read(tokens(4), call((0, 1), (1, 0), is_part=True), memory, "layer")
    left = {1: 0, 0: 2, 2: 100}
    for conditions in batches:
        own = tokens(2 * len(conditions)) + 100
        later = call((4, 5), conditions, is_part=True)
        read = edit.read(own, later, memory, "layer").per_frame(2)
        assert read[:, 0, 0].tolist() == [left[index] for index in conditions for _ in range(2)]
    other_layer = edit.read(own, later, memory, "another layer").per_frame(2)
    assert other_layer[:2, 0, 0].tolist() == [100, 100], "not seen yet: the window's first frame"


def test_what_is_kept_of_an_anchor_keeps_no_graph():
    memory, own = AnchorMemory(), tokens(2).clone().requires_grad_()
    CrossFrameEdit().read(own, call((0, 1), (0,), is_part=True), memory, "layer")
    later = CrossFrameEdit().read(tokens(2), call((4, 5), (0,), is_part=True), memory, "layer")
    assert not later.tokens.requires_grad


def test_two_conditions_of_one_key_and_unlike_sides_have_their_own_anchors():
    """ComfyUI's twin of a condition with an area has its id."""
    memory, edit = AnchorMemory(), CrossFrameEdit()
    first, later = (
        Call(2, 1, (Condition(0, key="id"), Condition(1, key="id")), ids, 1.0, 0.5, (16, 16), is_part=True)
        for ids in ((0, 1), (4, 5))
    )
    edit.read(tokens(4), first, memory, "layer")
    assert edit.read(tokens(4) + 100, later, memory, "layer").per_frame(2)[:, 0, 0].tolist() == [0, 0, 2, 2]


def test_tiles_of_a_picture_read_the_same_tile_of_the_anchor():
    assert rows_read(CrossFrameEdit(), call((0, 1), (0,)), rows=6) == [[0], [1], [2], [0], [1], [2]]


def test_rows_that_are_no_whole_number_of_frames_are_refused():
    with pytest.raises(ValueError, match="got 7 rows of tokens for 2 x 4 frames"):
        CrossFrameEdit().read(tokens(7), call(), AnchorMemory(), "layer")


def test_the_unet_equals_diffusers_processor():
    torch.manual_seed(0)
    unet = build_unet(DEMO.unet).eval().requires_grad_(False)
    noisy, text = torch.randn(8, 4, 16, 16), torch.randn(8, 77, DEMO.unet.context_dim)
    inputs = (noisy, torch.full((8,), 500))
    plain = unet(*inputs, encoder_hidden_states=text).sample
    with edited(share_tokens(unet), [Edit("cross", self_attention=CrossFrameEdit())]) as run:
        run.begin(call())
        ours = unet(*inputs, encoder_hidden_states=text).sample
    unet.set_attn_processor(CrossFrameAttnProcessor2_0(batch_size=2))
    theirs = unet(*inputs, encoder_hidden_states=text).sample
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    assert (theirs - plain).abs().max() > 1e-2 * plain.abs().max()
