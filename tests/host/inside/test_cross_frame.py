"""Cross-frame attention among other packs' patches: the fast path where it may be, the plain one where it must."""

from __future__ import annotations

import comfy.context_windows
import pytest
import torch


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
def test_beside_other_packs_patches_the_result_is_the_same(demo, scene, projected, kind, is_first):
    alone = scene.run(scene.crossing(demo[0]))
    projected.clear()
    model = demo[0] if is_first else scene.crossing(demo[0])
    both = model.clone()
    if kind == "patch":
        both.set_model_attn1_patch(passing)
    elif kind == "output patch":
        both.set_model_attn1_output_patch(passing_output)
    else:
        both.set_model_attn1_replace(replacing, "input", 1)
    both = scene.crossing(both) if is_first else both
    torch.testing.assert_close(scene.run(both), alone, rtol=1e-3, atol=1e-4)
    may_fold = (kind, is_first) in {("patch", True), ("output patch", False)}
    assert projected == [2 if may_fold else 8] * 3


def test_a_patch_before_ours_is_obeyed(demo, scene):
    """Another pack's keys are redirected, not thrown away."""
    halved = demo[0].clone()
    halved.set_model_attn1_patch(lambda query, key, value, extra: (query, key, value * 0.5))
    assert not torch.allclose(
        scene.run(scene.crossing(halved)), scene.run(scene.crossing(demo[0])), atol=1e-3
    )


def test_with_freeu_and_split_conditions_the_anchor_stays_itself(demo, scene):
    """FreeU scales features; conditions of unlike shapes go through the UNet one by one."""
    from comfy_extras.nodes_freelunch import FreeU

    import nodes

    freeu = FreeU.execute if hasattr(FreeU, "execute") else FreeU().patch
    model = freeu(demo[0], 1.1, 1.2, 0.9, 0.2)[0]
    crossed, plain = scene.run(scene.crossing(model)), scene.run(model)
    torch.testing.assert_close(crossed[0], plain[0], rtol=1e-3, atol=1e-4)
    area = nodes.ConditioningSetArea().append(scene.positive, 64, 128, 0, 0, 1.0)[0]
    wide = [*scene.positive, *area]
    crossed = scene.run(scene.crossing(demo[0]), positive=wide)
    plain = scene.run(demo[0], positive=wide)
    torch.testing.assert_close(crossed[0], plain[0], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(crossed[1], plain[1], atol=1e-2)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_lora_on_the_layers_themselves_acts_as_without(demo, scene, projected, is_first):
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

    crossed = scene.crossing(with_lora(demo[0])) if is_first else with_lora(scene.crossing(demo[0]))
    both = scene.run(crossed)
    assert projected == [2] * 3
    torch.testing.assert_close(both[0], scene.run(with_lora(demo[0]))[0], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(both, scene.run(scene.crossing(demo[0])), atol=1e-2)


def test_perturbed_attention_guidance_keeps_its_anchor(demo, scene):
    from comfy_extras.nodes_pag import PerturbedAttentionGuidance

    guide = (
        PerturbedAttentionGuidance.execute
        if hasattr(PerturbedAttentionGuidance, "execute")
        else PerturbedAttentionGuidance().patch
    )
    before = scene.run(scene.crossing(guide(demo[0], 2.0)[0]))
    after = scene.run(guide(scene.crossing(demo[0]), 2.0)[0])
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)
    plain = scene.run(guide(demo[0], 2.0)[0])
    torch.testing.assert_close(before[0], plain[0], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(before[1], plain[1], atol=1e-2)


def windowed(model, length, overlap):
    windowed = model.clone()
    windowed.model_options["context_handler"] = comfy.context_windows.IndexListContextHandler(
        context_schedule=comfy.context_windows.get_matching_context_schedule("standard_static"),
        fuse_method=comfy.context_windows.get_matching_fuse_method("flat"),
        context_length=length,
        context_overlap=overlap,
    )
    comfy.context_windows.create_prepare_sampling_wrapper(windowed)
    return windowed


def test_windows_read_the_clips_first_frame(demo, scene):
    """No frame sees another but the anchor, so windows change nothing."""
    crossed = scene.crossing(demo[0])
    whole = scene.run(crossed, frames=7)
    torch.testing.assert_close(scene.run(windowed(crossed, 4, 1), frames=7), whole, rtol=1e-3, atol=1e-4)


def test_plain_clones_stay_plain_beside_a_crossed_one(demo, scene):
    plain = scene.run(demo[0])
    crossed = scene.crossing(demo[0])
    first = scene.run(crossed)
    for _ in range(2):
        assert torch.equal(scene.run(demo[0]), plain)
        assert torch.equal(scene.run(crossed), first)
