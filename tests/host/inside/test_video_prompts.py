"""Prompt Travel on video transformers: each latent frame reads its own prompt, through whatever attends there."""

from __future__ import annotations

import pytest
import torch
from comfy.ldm.modules.attention import attention_basic
from frameloom.models.errors import HostError
from frameloom.tests.host.inside.video import LATENTS, build, frames_of, sample_video, stride_of, with_mask
from torch.nn import functional

BESIDE = ["Wan", "Wan, image to video", "Wan 2.2 5B", "Wan VACE", "LTX-Video"]
AMONG = ["HunyuanVideo", "CogVideoX"]
CHANGE = 2  # first latent frame of the second prompt


@pytest.fixture(scope="module")
def travel(port, demo):
    """Make conditions of a schedule of prompts, as Prompt Travel does."""
    from frameloom.nodes.long_video.prompt_travel import PromptTravel

    def make(model, family, *prompts, interpolation="hold", change=CHANGE):
        key = stride_of(family) * (change - 1) + 1
        text = "\n".join(f"{frame}: {prompt}" for frame, prompt in zip((0, key), prompts, strict=False))
        result = PromptTravel.execute(
            demo[1], text, frames_of(family), interpolation, "", "", model=model
        )  # fmt: skip
        return with_mask(result[0], family)

    return make


@pytest.fixture(scope="module")
def prompt(port, demo):
    def encode(text, family):
        return with_mask(port.encode_text(demo[1], text)[0], family)

    return encode


def changed(one, other):
    """Latent frames in which two clips differ."""
    return [frame for frame in range(one.shape[1]) if not torch.equal(one[:, frame], other[:, frame])]


@pytest.mark.parametrize("family", BESIDE)
def test_one_prompt_for_all_frames_is_the_plain_prompt_bit_for_bit(port, travel, prompt, family):
    model = build(family)
    plain = sample_video(port, model, prompt("a red circle", family), family, 2, 3.0)
    moved = travel(model, family, "a red circle", "a red circle")
    assert torch.equal(sample_video(port, model, moved, family, 2, 3.0), plain)


@pytest.mark.parametrize("family", BESIDE)
def test_each_latent_frame_reads_its_own_prompt_alone(port, travel, prompt, family):
    """A network of one layer: what a frame's prompt changes stays in the frame."""
    model = build(family)
    both = sample_video(port, model, travel(model, family, "a red circle", "a blue cross"), family)
    for text, frames in {"a red circle": range(CHANGE), "a blue cross": range(CHANGE, LATENTS)}.items():
        alone = sample_video(port, model, prompt(text, family), family)
        torch.testing.assert_close(both[:, list(frames)], alone[:, list(frames)], rtol=1e-5, atol=1e-5)
    other = sample_video(port, model, travel(model, family, "a red circle", "a green square"), family)
    assert changed(both, other) == list(range(CHANGE, LATENTS))


@pytest.mark.parametrize("family", BESIDE)
def test_a_clip_goes_from_one_prompt_to_the_next(port, travel, prompt, family):
    model = build(family)
    both = sample_video(
        port,
        model,
        travel(model, family, "a red circle", "a blue cross", interpolation="linear", change=LATENTS - 1),
        family,
    )
    first, last = (
        sample_video(port, model, prompt(text, family), family) for text in ("a red circle", "a blue cross")
    )
    ways = [
        float((both[:, t] - first[:, t]).norm() / (last[:, t] - first[:, t]).norm()) for t in range(LATENTS)
    ]
    assert ways[0] == pytest.approx(0, abs=1e-5)
    assert ways == sorted(ways)
    assert 0.9 < ways[-1] <= 1.01


def test_what_a_place_reads_is_the_mean_of_its_prompts(port, travel):
    """The closed form: every attention of Wan to the prompt, against attention written out."""
    model, seen = build("Wan"), []

    def note(attend, query, key, value, heads, mask=None, **options):
        answer = attend(query, key, value, heads, mask=mask, **options)
        seen.append((query, key, value, heads, answer))
        return answer

    model.model_options["transformer_options"]["optimized_attention_override"] = note
    prompts = travel(model, "Wan", "a red circle", "a blue cross", interpolation="linear")
    sample_video(port, model, prompts, "Wan")
    length = prompts[0][0].shape[1] // 2
    asked = [each for each in seen if each[1].shape[1] == length]
    assert [len(each[0][0]) // 16 for each in asked] == [2, 4]  # frames 0 and 1; 1 (on the way), 2, 3 and 4
    for query, key, value, heads, answer in asked:
        q, k, v = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (query, key, value))
        wanted = functional.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v
        torch.testing.assert_close(answer, wanted.transpose(1, 2).flatten(2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", BESIDE)
def test_other_overrides_of_attention_stay(port, travel, family):
    """One that attends in its own way is asked for every layer, and its answer is taken."""
    model, calls = build(family), []
    prompts = travel(model, family, "a red circle", "a blue cross")
    plain = sample_video(port, model, prompts, family)
    other = model.clone()

    def attend(_, *args, **options):
        calls.append(args[1].shape)
        options.pop("_inside_attn_wrapper", None)
        options.pop("transformer_options", None)
        return attention_basic(*args, **options) * 2

    other.model_options["transformer_options"]["optimized_attention_override"] = attend
    doubled = sample_video(port, other, prompts, family)
    assert len(calls) >= 3  # itself, and each prompt
    assert not torch.allclose(doubled, plain, atol=1e-3)
    assert torch.equal(sample_video(port, model, prompts, family), plain)


def test_positive_and_negative_may_both_travel(port, travel, prompt):
    model = build("Wan")
    positive = travel(model, "Wan", "a red circle", "a blue cross")
    negative = travel(model, "Wan", "a green square", "a yellow ring", change=3)
    both = sample_video(port, model, positive, "Wan", cfg=3.0, negative=negative)
    one, other = (sample_video(port, model, side, "Wan") for side in (positive, negative))
    torch.testing.assert_close(both, other + 3 * (one - other), rtol=1e-4, atol=1e-4)


def test_a_plain_prompt_beside_one_that_travels_is_left_alone(port, travel, prompt):
    model = build("Wan")
    positive, plain = travel(model, "Wan", "a red circle", "a blue cross"), prompt("a green square", "Wan")
    both = sample_video(port, model, positive, "Wan", cfg=3.0, negative=plain)
    one, other = (sample_video(port, model, side, "Wan") for side in (positive, plain))
    torch.testing.assert_close(both, other + 3 * (one - other), rtol=1e-4, atol=1e-4)


def test_a_reference_picture_reads_all_prompts(port, travel, prompt):
    """Wan's ``ref_conv`` puts tokens before the clip's; the frames behind them still have their own prompts."""
    from frameloom.tests.host.inside.tiny_models import MODELS, WAN

    sizes = ("WAN21_T2V", WAN | {"in_dim_ref_conv": 16}, MODELS["Wan"][2])
    MODELS["Wan with a reference"] = sizes
    try:
        model = build("Wan with a reference")
        if getattr(model.model.diffusion_model, "ref_conv", None) is None:
            pytest.skip("this ComfyUI has no ref_conv")

        def drawn(*prompts):
            made = travel(model, "Wan", *prompts)
            made = [
                [tokens, {**more, "reference_latents": [torch.ones(1, 16, 1, 8, 8)]}] for tokens, more in made
            ]
            return sample_video(port, model, made, "Wan")

        assert changed(
            drawn("a red circle", "a blue cross"), drawn("a red circle", "a green square")
        ) == list(range(CHANGE, LATENTS))
    finally:
        del MODELS["Wan with a reference"]


def test_references_of_vace_stand_before_the_clip(port, travel):
    """They are latent frames of their own, which the frames' prompts go past."""
    model = build("Wan VACE")
    one, other = (
        sample_video(
            port, model, travel(model, "Wan VACE", "a red circle", text), "Wan VACE", shape=(1, 16, 6, 8, 8)
        )
        for text in ("a blue cross", "a green square")
    )
    assert [frame for frame in range(6) if not torch.equal(one[:, frame], other[:, frame])] == [3, 4, 5]


@pytest.mark.parametrize("family", AMONG)
def test_families_that_read_the_prompt_among_their_own_tokens_are_refused(travel, family):
    with pytest.raises(
        ValueError, match=rf"model: got {family}.*; expected .*Wan or LTX-Video.*; use core's Context"
    ):
        travel(build(family), family, "a red circle", "a blue cross")


def test_another_length_of_the_clip_is_refused(port, travel):
    model = build("Wan")
    prompts = travel(model, "Wan", "a red circle", "a blue cross")
    with pytest.raises(HostError, match=r"got 4 latent frames; expected 5.*; set the latent's length"):
        sample_video(port, model, prompts, "Wan", shape=(1, 16, 4, 8, 8))


def test_tokens_that_were_joined_behind_are_refused(port, travel):
    model = build("Wan")
    ((tokens, options),) = travel(model, "Wan", "a red circle", "a blue cross")
    with pytest.raises(HostError, match=r"prompts: got 231 tokens; expected the 154 .*Concat"):
        sample_video(port, model, [[torch.cat([tokens, tokens[:, :77]], 1), options]], "Wan")


def test_attention_that_goes_around_the_options_is_named(port, travel):
    model = build("Wan")
    prompts = travel(model, "Wan", "a red circle", "a blue cross")
    layer = "diffusion_model.blocks.0.cross_attn.forward"
    model.add_object_patch(layer, lambda x, context, **_: torch.zeros_like(x))
    with pytest.raises(HostError, match="attention to its prompt was replaced by a node"):
        sample_video(port, model, prompts, "Wan")
