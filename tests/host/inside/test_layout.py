"""Layouts among other packs' patches of cross-attention."""

from __future__ import annotations

import comfy.ldm.modules.attention
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models_base
import pytest
import torch
from frameloom.models.errors import HostError
from frameloom.models.storyboard.phrases import with_phrases
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene
from frameloom.tests.host.inside.core import with_area
from frameloom.tests.support.layout import lay_out, obey

OVERRIDE = "optimized_attention_override"


class SmallTextEncoder(comfy.sd1_clip.SDClipModel):
    """CLIP's text encoder, small, with CLIP's whole vocabulary."""

    def __init__(self, device="cpu", dtype=None, model_options=None):
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        rest = {"max_position_embeddings": 77, "eos_token_id": 49407, "hidden_act": "quick_gelu"}
        super().__init__(
            device=device, dtype=dtype, textmodel_json_config=sizes | rest, model_options=model_options
        )


class SmallPromptEncoder(comfy.sd1_clip.SD1ClipModel):
    """The text encoder as a CLIP holds it."""

    def __init__(self, device="cpu", dtype=None, model_options=None):
        super().__init__(
            device=device, dtype=dtype, model_options=model_options or {}, clip_model=SmallTextEncoder
        )


@pytest.fixture(scope="module")
def clip(port):
    """SD1.5's own tokenizer before it."""
    target = comfy.supported_models_base.ClipTarget(comfy.sd1_clip.SD1Tokenizer, SmallPromptEncoder)
    clip = comfy.sd.CLIP(target, parameters=1_000_000)
    torch.manual_seed(0)
    for weight in clip.cond_stage_model.parameters():
        torch.nn.init.normal_(weight)
    return clip


@pytest.mark.parametrize(
    ("prompt", "alone"),
    [
        ("A red ball., a blue box", "A red ball.,"),
        ("'the red ball!, a blue box...", "'the red ball!, ..."),
        ('a "red ball", a blue box', 'a "red ball",'),
        (with_phrases("A red ball rolls.", ["red ball", "blue box"]), "A red ball rolls"),
    ],
)
def test_punctuation_that_clip_reads_as_one_token_is_in_no_layouts_way(port, clip, prompt, alone):
    from frameloom.nodes.layout.conditioning import read_layout

    track = [BoxKey(f=0, box=(0.1, 0.1, 0.4, 0.4))]
    entities = [Entity(id=text, text=text, track=track, hold=True) for text in ("red ball", "blue box")]
    _, layout = read_layout(clip, prompt, Scene(id=1, prompt=prompt, frames=2, entities=entities))
    torch.testing.assert_close(layout.alone[0].tokens, port.encode_text(clip, alone)[0][0][0])


def replacing(query, key, value, extra):
    """What some packs' attn2 replacements do: attend by themselves, past ComfyUI's options."""
    parts = [part.unflatten(2, (extra["n_heads"], -1)).transpose(1, 2) for part in (query, key, value)]
    return torch.nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)


def obedient(query, key, value, extra):
    """What others do: attend by ComfyUI's function, with its options."""
    from comfy.ldm.modules.attention import optimized_attention

    return optimized_attention(query, key, value, extra["n_heads"], transformer_options=extra)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_replacement_that_leaves_the_bias_out_is_named_by_its_block(port, demo, scene, is_first):
    model = demo[0].clone() if is_first else obey(port, demo[0]).clone()
    model.set_model_attn2_replace(replacing, "input", 4)
    model = obey(port, model) if is_first else model
    with pytest.raises(HostError, match=r"cross-attention of block \('input', 4\) was replaced"):
        scene.run(model, positive=lay_out(port, demo[1]))
    late = scene.run(model)
    torch.testing.assert_close(late, scene.run(demo[0]), rtol=1e-4, atol=1e-4)  # without a layout it may stay


def test_a_replacement_by_comfyuis_own_function_has_the_bias(port, demo, scene):
    laid_out = lay_out(port, demo[1])
    model = obey(port, demo[0]).clone()
    model.set_model_attn2_replace(obedient, "input", 4)
    wanted = scene.run(obey(port, demo[0]), positive=laid_out)
    torch.testing.assert_close(scene.run(model, positive=laid_out), wanted, rtol=1e-4, atol=1e-4)


def test_an_override_that_was_there_is_called_with_the_bias(port, demo, scene):
    masks = []

    def override(function, *args, **kwargs):
        masks.append(args[4] if len(args) > 4 else kwargs.get("mask"))
        return function(*args, **kwargs)

    laid_out = lay_out(port, demo[1])
    model = obey(port, demo[0]).clone()
    model.model_options["transformer_options"][OVERRIDE] = override
    wanted = scene.run(obey(port, demo[0]), positive=laid_out)
    assert torch.equal(scene.run(model, positive=laid_out), wanted)
    assert len(masks) == 3 * 32  # steps, self- and cross-attention
    assert sum(mask is not None for mask in masks) == 16  # one step of three lies in the first third


def test_an_override_that_attends_by_itself_does_without_the_bias_but_its_answer_is_not_taken(
    port, demo, scene
):
    """SageAttention's: it takes the mask, and forgets it."""
    told = []

    def sage(function, query, key, value, heads, mask=None, **options):
        told.append(mask is not None and options["low_precision_attention"])
        parts = [part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (query, key, value)]
        return torch.nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)

    laid_out = lay_out(port, demo[1])
    model = obey(port, demo[0]).clone()
    model.model_options["transformer_options"][OVERRIDE] = sage
    wanted = scene.run(obey(port, demo[0]), positive=laid_out)
    torch.testing.assert_close(scene.run(model, positive=laid_out), wanted, rtol=1e-4, atol=1e-4)
    assert len(told) == 3 * 32
    assert not any(told)


@pytest.mark.parametrize("name", ["basic", "sub_quad", "split", "pytorch", "sage", "flash"])
def test_comfyuis_functions_take_a_bias_where_they_are_told_to(name, caplog):
    """SageAttention's goes over to PyTorch's then, without trying."""
    attention = comfy.ldm.modules.attention
    generator = torch.Generator().manual_seed(0)
    query, key, value, bias = (
        torch.randn(shape, generator=generator) for shape in ((2, 9, 16), (2, 7, 16), (2, 7, 16), (2, 9, 7))
    )
    got = getattr(attention, f"attention_{name}")(query, key, value, 2, bias, low_precision_attention=False)
    wanted = attention.attention_pytorch(query, key, value, 2, bias)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    assert "sage" not in caplog.text


def test_an_area_is_refused_but_beside_a_layout(port, demo, scene):
    laid_out, model = lay_out(port, demo[1]), obey(port, demo[0])
    for columns in (4, 8):
        part = [[tokens, {**more, "area": (8, columns, 0, 0), "strength": 1.0}] for tokens, more in laid_out]
        with pytest.raises(ValueError, match=rf"got 8 x {columns} cells of 8 x 8 \(an area"):
            scene.run(model, positive=part)
    scene.run(model, positive=[*laid_out, *with_area(scene.positive)])


def test_tokens_that_another_pack_adds_have_no_bias(port, demo, scene):
    """IPAdapter-like: more keys behind the prompt's, here copies of its padding."""
    laid_out = lay_out(port, demo[1])

    def longer(query, key, value, extra):
        return query, torch.cat([key, key[:, -3:]], 1), torch.cat([value, value[:, -3:]], 1)

    model = obey(port, demo[0], strength=50.0).clone()
    model.set_model_attn2_patch(longer)
    first = scene.run(model, positive=laid_out)
    assert torch.isfinite(first).all()
    assert not torch.allclose(first, scene.run(demo[0], positive=laid_out), atol=1e-2)
