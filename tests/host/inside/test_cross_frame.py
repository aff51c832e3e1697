"""Cross-frame attention among other packs' patches: the fast path where it may be, the plain one where it must."""

from __future__ import annotations

import pytest
import torch
from comfy_extras.nodes_freelunch import FreeU
from frameloom.tests.host.inside.core import call, with_area, with_perturbed_attention


@pytest.fixture(scope="module")
def crossed(demo, scene):
    """What the anchor makes of the plain model."""
    with torch.inference_mode():
        return scene.run(scene.crossing(demo[0]))


@pytest.fixture
def projected(demo):
    """Rows that the finest self-attention projects to keys, call by call."""
    rows = []
    layer = demo[0].model.diffusion_model.input_blocks[1][1].transformer_blocks[0].attn1.to_k
    handle = layer.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0].shape[0]))
    yield rows
    handle.remove()


def passing(query, key, value, extra):
    return query, key, value


def passing_output(output, extra):
    return output


def replacing(query, key, value, extra):
    """What another pack's attn1 replacement does: attend by itself."""
    heads = extra["n_heads"]
    parts = [part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (query, key, value)]
    return torch.nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)


def test_the_anchor_is_projected_once(demo, scene, projected):
    scene.run(scene.crossing(demo[0]))
    assert projected == [2] * 3  # positive and negative, three steps
    projected.clear()
    scene.run(scene.crossing(demo[0], strength=0.5))
    assert projected == [8] * 3


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("kind", ["patch", "output patch", "replace"])
def test_beside_other_packs_patches_the_result_is_the_same(demo, scene, crossed, projected, kind, is_first):
    model = demo[0] if is_first else scene.crossing(demo[0])
    both = model.clone()
    if kind == "patch":
        both.set_model_attn1_patch(passing)
    elif kind == "output patch":
        both.set_model_attn1_output_patch(passing_output)
    else:
        both.set_model_attn1_replace(replacing, "input", 1)
    both = scene.crossing(both) if is_first else both
    torch.testing.assert_close(scene.run(both), crossed, rtol=1e-3, atol=1e-4)
    may_fold = (kind, is_first) in {("patch", True), ("output patch", False)}
    assert projected == [2 if may_fold else 8] * 3


def test_a_patch_before_ours_is_obeyed(demo, scene, crossed):
    """Another pack's keys are redirected, not thrown away."""
    halved = demo[0].clone()
    halved.set_model_attn1_patch(lambda query, key, value, extra: (query, key, value * 0.5))
    assert not torch.allclose(scene.run(scene.crossing(halved)), crossed, atol=1e-3)


def test_with_freeu_and_split_conditions_the_anchor_stays_itself(demo, scene):
    """FreeU scales features; conditions of unlike shapes go through the UNet one by one."""
    model = call(FreeU, demo[0], 1.1, 1.2, 0.9, 0.2)
    crossed, plain = scene.run(scene.crossing(model)), scene.run(model)
    torch.testing.assert_close(crossed[0], plain[0], rtol=1e-3, atol=1e-4)
    wide = [*scene.positive, *with_area(scene.positive)]
    crossed, plain = (scene.run(each, positive=wide) for each in (scene.crossing(demo[0]), demo[0]))
    torch.testing.assert_close(crossed[0], plain[0], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(crossed[1], plain[1], atol=1e-2)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_lora_on_the_layers_themselves_acts_as_without(demo, scene, crossed, projected, is_first):
    """On keys and values of self-attention; put on before or behind, the first frame is the LoRA's picture alone."""
    prefix = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1"
    generator = torch.Generator().manual_seed(3)
    patches = {
        f"{prefix}.{name}.weight": (
            torch.randn(demo[0].model.state_dict()[f"{prefix}.{name}.weight"].shape, generator=generator)
            * 0.1,
        )
        for name in ("to_k", "to_v")
    }

    def with_lora(model):
        clone = model.clone()
        assert len(clone.add_patches(patches, 1.0)) == len(patches)
        return clone

    both = scene.run(scene.crossing(with_lora(demo[0])) if is_first else with_lora(scene.crossing(demo[0])))
    assert projected == [2] * 3
    torch.testing.assert_close(both[0], scene.run(with_lora(demo[0]))[0], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(both, crossed, atol=1e-2)


def test_perturbed_attention_guidance_keeps_its_anchor(demo, scene):
    perturbed = with_perturbed_attention(demo[0])
    before, plain = scene.run(scene.crossing(perturbed)), scene.run(perturbed)
    after = scene.run(with_perturbed_attention(scene.crossing(demo[0])))
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(before[0], plain[0], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(before[1], plain[1], atol=1e-2)
