"""Layout Conditioning on video transformers: an entity's words act in its boxes of each latent frame, and nowhere else.

The words are changed behind the node, in a network of one layer: the clip changes where they are read.
"""

from __future__ import annotations

import io

import comfy.sd
import pytest
import torch
from comfy.ldm.modules import attention
from comfy.text_encoders import lt, wan
from frameloom.host.comfyui import text as host_text
from frameloom.host.comfyui.levels import progress_at
from frameloom.host.comfyui.seams.video_attention import check_heeds_masks
from frameloom.models.errors import HostError
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene, Storyboard
from frameloom.tests.host.inside import tiny_models
from frameloom.tests.host.inside.test_video_windows import HAS_ANCHOR
from frameloom.tests.host.inside.video import LATENTS, build, frames_of, sample_video, stride_of, with_mask
from torch.nn import functional

FAMILIES = ["Wan", "Wan, image to video", "Wan 2.2 5B", "Wan VACE", "LTX-Video"]
LEFT, RIGHT, WORDS = (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0), "a red circle"
PROMPT = "a red circle and a blue cross on navy"
JUMP = 3  # first latent frame with the box on the right
STRONG = 100.0
OVERRIDE = "optimized_attention_override"


def board(family, first=LEFT, last=RIGHT, jump=JUMP):
    """A scene whose circle jumps where a latent frame begins."""
    frames, key = frames_of(family), stride_of(family) * (jump - 1) + 1
    track = (BoxKey(f=0, box=first), BoxKey(f=key - 1, box=first), BoxKey(f=key, box=last))
    circle = Entity(id="circle", text=WORDS, track=track, hold=True)
    return Storyboard(
        size=(64, 64), scenes=(Scene(id="1", frames=frames, prompt=PROMPT, entities=(circle,)),)
    )


@pytest.fixture(scope="module")
def lay_out(port, demo):
    """Run the node; the prompt's words for the circle may be others than it saw."""
    from frameloom.nodes.layout.conditioning import LayoutConditioning

    _, spans = port.encode_text(demo[1], PROMPT, [WORDS])
    ((start, stop),) = spans[WORDS]

    def make(family, model=None, strength=STRONG, change=0.0, scene=None, method="bias", end=1.0, **more):
        model = build(family) if model is None else model
        laid, prompts = LayoutConditioning.execute(
            model, demo[1], scene or board(family), PROMPT, method, strength, end, 1.0, **more
        ).args  # fmt: skip
        ((tokens, options),) = with_mask(prompts, family)
        moved = tokens.clone()
        moved[:, start:stop] += change * torch.randn(
            moved[:, start:stop].shape, generator=torch.Generator().manual_seed(5)
        )
        return laid, [[moved, options]]

    return make


def inside(family, grid=8):
    """Cells of each latent frame that the box covers, [T, H, W]."""
    mask = torch.zeros(LATENTS, grid, grid, dtype=torch.bool)
    mask[:JUMP, : grid // 2, : grid // 2] = True
    mask[JUMP:, grid // 2 :, grid // 2 :] = True
    return mask


def differences(port, lay_out, family, **more):
    """How much each place changes with the words, [T, H, W]."""
    sampling = more.pop("sampling", {})
    one, other = (
        sample_video(port, *lay_out(family, change=change, **more), family, **sampling)
        for change in (0.0, 2.0)
    )
    return (one - other).abs().amax(0)


@pytest.mark.parametrize("cfg", [1.0, 3.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_words_act_in_their_box_of_each_latent_frame_and_nowhere_else(port, demo, lay_out, family, cfg):
    negative = with_mask(port.encode_text(demo[1], "blurry")[0], family)
    changed = differences(port, lay_out, family, sampling={"cfg": cfg, "negative": negative})
    where = inside(family)
    assert float(changed[~where].max()) <= 1e-6
    for frame in range(LATENTS):
        assert float(changed[frame][where[frame]].min()) > 1e-5
    plain = differences(port, lay_out, family, strength=0.0, sampling={"cfg": cfg, "negative": negative})
    assert float(plain[~where].min()) > 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_strength_0_is_the_plain_model_bit_for_bit(port, demo, lay_out, family):
    laid, prompts = lay_out(family, strength=0.0)
    negative = with_mask(port.encode_text(demo[1], "blurry")[0], family)
    plain = with_mask(port.encode_text(demo[1], PROMPT)[0], family)
    made = sample_video(port, laid, prompts, family, 2, 3.0, negative=negative)
    assert torch.equal(made, sample_video(port, build(family), plain, family, 2, 3.0, negative=negative))


def test_boxes_of_other_frames_do_not_matter(port, lay_out):
    one, other = (
        sample_video(port, *lay_out("Wan", scene=board("Wan", last=last)), "Wan") for last in (RIGHT, LEFT)
    )
    assert torch.equal(one[:, :JUMP], other[:, :JUMP])
    for frame in range(JUMP, LATENTS):
        assert not torch.equal(one[:, frame], other[:, frame])


def test_boxes_act_up_to_the_end_that_is_set_as_comfyui_counts_it(port, lay_out):
    """Of two steps, the first alone is biased where the end is before the second."""
    model = build("Wan")
    plain = sample_video(port, *lay_out("Wan", model, strength=0.0), "Wan", 2)
    made = [sample_video(port, *lay_out("Wan", model, end=end), "Wan", 2) for end in (0.0, 0.25, 1.0)]
    assert not torch.equal(made[1], plain)
    assert not torch.equal(made[1], made[2])
    sampling = model.get_model_object("model_sampling")
    for percent in (0.1, 0.5, 0.9):
        sigma = torch.as_tensor(sampling.percent_to_sigma(percent))
        assert progress_at(sampling, sigma) == pytest.approx(percent, abs=1e-4)


@pytest.mark.parametrize("anchor", ["on models of video", "off"])
@pytest.mark.parametrize("family", ["Wan", "LTX-Video"])
def test_boxes_follow_their_frames_in_windows(port, lay_out, family, anchor):
    from frameloom.nodes.long_video.context_windows import ContextWindows

    if anchor != "off" and not HAS_ANCHOR:
        pytest.skip("this ComfyUI has no anchor")
    frames = stride_of(family) * 2 + 1
    windowed = ContextWindows.execute(build(family), frames, 1, "static", 1, "pyramid", 81, anchor)[0]
    changed = differences(port, lay_out, family, model=windowed)
    where = inside(family)
    assert float(changed[~where].max()) <= 1e-6
    assert float(changed[where].min()) > 1e-6


@pytest.mark.parametrize("family", ["Wan", "Wan, image to video", "LTX-Video"])
def test_attention_to_the_prompt_has_the_bias_on_its_logits(port, lay_out, family):
    """The closed form, with another override behind ours, which sees our mask and its own calls."""
    model, seen = build(family), []

    def note(attend, query, key, value, heads, mask=None, **options):
        answer = attend(query, key, value, heads, mask=mask, **options)
        seen.append((query, key, value, heads, mask, answer))
        return answer

    alone = sample_video(port, *lay_out(family, model, 4.0), family)
    model.model_options["transformer_options"][OVERRIDE] = note
    laid, prompts = lay_out(family, model, 4.0)
    assert torch.equal(sample_video(port, laid, prompts, family), alone)
    length = prompts[0][0].shape[1]
    asked = [each for each in seen if each[1].shape[1] == length and each[0].shape[1] != length]
    assert asked
    grid = 8 // (1 if family == "LTX-Video" else 2)
    sign = inside(family, grid).flatten().float() * 2 - 1
    for query, key, value, heads, mask, answer in asked:
        bias = mask[:, 0, :, :] if mask.ndim == 4 else mask
        assert torch.equal(bias[..., 1:4], (sign * 4)[None, :, None].expand(len(bias), -1, 3))
        assert float(bias[..., 4:].abs().max()) == 0
        q, k, v = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (query, key, value))
        logits = q @ k.mT / q.shape[-1] ** 0.5
        logits[..., 1:4] += (sign * 4)[:, None]
        wanted = functional.softmax(logits, -1) @ v
        torch.testing.assert_close(answer, wanted.transpose(1, 2).flatten(2), rtol=1e-4, atol=1e-5)


def test_an_override_that_drops_masks_is_passed_by(port, lay_out):
    model = build("Wan")
    alone = sample_video(port, *lay_out("Wan", model), "Wan")

    def drop(attend, query, key, value, heads, mask=None, **options):
        del mask
        return attend(query, key, value, heads, **options)

    model.model_options["transformer_options"][OVERRIDE] = drop
    assert torch.equal(sample_video(port, *lay_out("Wan", model), "Wan"), alone)


def test_ways_of_attending_that_leave_masks_out_are_refused():
    def forgets(query, key, value, heads, mask=None, **options):
        del mask
        return attention.attention_basic(query, key, value, heads, **options)

    with pytest.raises(
        HostError, match="got forgets, a way of attending that leaves masks out; expected one"
    ):
        check_heeds_masks(forgets, torch.zeros(1))
    for name in ("basic", "sub_quad", "split", "pytorch"):
        check_heeds_masks(getattr(attention, f"attention_{name}").__wrapped__, torch.zeros(1))


def test_tokens_of_a_reference_before_the_clip_are_counted(port, lay_out, monkeypatch):
    name = "Wan with a reference"
    sizes = ("WAN21_T2V", tiny_models.WAN | {"in_dim_ref_conv": 16}, tiny_models.MODELS["Wan"][2])
    monkeypatch.setitem(tiny_models.MODELS, name, sizes)
    model = build(name)
    if getattr(model.model.diffusion_model, "ref_conv", None) is None:
        pytest.skip("this ComfyUI has no ref_conv")

    def drawn(change):
        laid, ((tokens, options),) = lay_out(name, model, change=change)
        given = [[tokens, {**options, "reference_latents": [torch.ones(1, 16, 1, 8, 8)]}]]
        return sample_video(port, laid, given, name)

    changed = (drawn(0.0) - drawn(2.0)).abs().amax(0)
    assert float(changed[~inside(name)].max()) <= 1e-6


def test_attention_that_goes_around_the_options_is_named(port, lay_out):
    laid, prompts = lay_out("Wan")
    laid.add_object_patch(
        "diffusion_model.blocks.0.cross_attn.forward", lambda x, context, **_: torch.zeros_like(x)
    )
    with pytest.raises(HostError, match="layout: the model's attention to its prompt was replaced by a node"):
        sample_video(port, laid, prompts, "Wan")


def test_what_does_not_go_there_is_refused(port, demo, lay_out):
    for family in ("HunyuanVideo", "CogVideoX"):
        with pytest.raises(ValueError, match=rf"model: got {family}, which makes video; expected .*Set Mask"):
            lay_out(family)
    with pytest.raises(
        ValueError, match=r"method: got 'bias \+ gather' on Wan.*; expected 'bias' there; set method"
    ):
        lay_out("Wan", method="bias + gather")
    with pytest.raises(ValueError, match=r"gligen: got layers .* on Wan.*; expected none; leave gligen"):
        lay_out("Wan", gligen=object())
    laid, prompts = lay_out("Wan")
    area = [[tokens, {**options, "area": (4, 4, 0, 0)}] for tokens, options in prompts]
    with pytest.raises(ValueError, match=r"got a layout in an area, .*; expected no area; use Conditioning"):
        sample_video(port, laid, area, "Wan")
    with pytest.raises(HostError, match=r"got 4 latent frames; expected 5"):
        sample_video(port, laid, prompts, "Wan", shape=(1, 16, 4, 8, 8))


def test_masks_are_one_for_each_latent_frame_where_a_model_of_video_is_given(port, demo):
    from frameloom.nodes.layout.pictures import LayoutToMasks

    def masks(*model):
        return LayoutToMasks.execute(board("Wan"), "", 8, 8, 0.0, "box", False, *model)[0]

    assert masks().shape == masks(demo[0]).shape == (frames_of("Wan"), 8, 8)
    assert torch.equal(masks(build("Wan")), inside("Wan").float())
    half = LayoutToMasks.execute(board("Wan", jump=2), "", 8, 8, 0.0, "box", False, build("LTX-Video"))[0]
    assert half.shape == (3, 8, 8)  # 17 frames, of which 1 to 8 have both boxes
    assert float(half[1, :4, :4].min()) == float(half[1, 4:, 4:].min()) == 1


TEXTS = ["A red circle, a blue cross", "a (red circle:1.2) and a RED CIRCLE", "navy"]


@pytest.mark.parametrize("kind", ["Wan", "LTX-Video"])
def test_phrases_are_found_by_the_tokenizer_of_the_model(port, kind):
    """Wan's tokenizer lies in its weights, so a small one is made of the same kind; LTX's is ComfyUI's own file."""
    clip = comfy.sd.CLIP(no_init=True)
    clip.tokenizer_options = {}
    if kind == "Wan":
        sentencepiece = pytest.importorskip("sentencepiece")
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([text.lower() for text in TEXTS] * 20 + ["A red circle RED CIRCLE (:.12)"] * 20),
            model_writer=model, vocab_size=60, hard_vocab_limit=False, minloglevel=2, pad_id=0, eos_id=1, unk_id=2,
            bos_id=-1,
        )  # fmt: skip
        data = {"spiece_model": torch.frombuffer(bytearray(model.getvalue()), dtype=torch.uint8)}
        clip.tokenizer = wan.WanT5Tokenizer(tokenizer_data=data)
    else:
        clip.tokenizer = lt.LTXVT5Tokenizer()
    for text, count in {TEXTS[0]: 1, TEXTS[1]: 2, TEXTS[2]: 0}.items():
        spans = host_text.find_spans(clip, text, "red circle")
        assert len(spans) == count
        (chunk,) = next(iter(clip.tokenize(text).values()))
        tokenizer = getattr(clip.tokenizer, clip.tokenizer.clip).tokenizer
        for start, stop in spans:
            decode = tokenizer.tokenizer.decode if kind == "Wan" else tokenizer.decode
            said = decode([token for token, _ in chunk[start:stop]])
            assert said.lower().replace(" ", "") == "redcircle"
