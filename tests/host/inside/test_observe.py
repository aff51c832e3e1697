"""Observers of cross-attention among other packs' patches and replacements."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.edit import Edit


class Seen:
    def __init__(self, levels=(0, 1, 2, 3)):
        self.levels, self.layers = frozenset(levels), []

    def see(self, query, key, call, layer):
        self.layers.append((query, key, layer.level))


class Replacement:
    """What another pack's attn2 replacement does: attend by itself, here with a change that shows."""

    def __init__(self):
        self.layers = []

    def __call__(self, query, key, value, extra):
        parts = [part.unflatten(2, (extra["n_heads"], -1)).transpose(1, 2) for part in (query, key, value)]
        self.layers.append((parts[0], parts[1]))
        return torch.nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2) * 0.5


def places(demo):
    """Every cross-attention as ComfyUI's patches name it, in the order of a run."""
    unet = demo[0].model.diffusion_model
    parts = (("input", unet.input_blocks), ("middle", [unet.middle_block]), ("output", unet.output_blocks))
    return [
        (part, number)
        for part, blocks in parts
        for number, block in enumerate(blocks)
        if any(type(child).__name__ == "SpatialTransformer" for child in block)
    ]


def predict(port, model, scene):
    return port.predict(model, scene.positive, {"samples": 20 * scene.noise(4)}, 5.0)


@pytest.mark.parametrize("is_first", [True, False])
def test_another_packs_replacements_act_and_get_what_the_observer_sees(port, demo, scene, is_first):
    seen, replacement = Seen(), Replacement()
    model = demo[0].clone() if is_first else port.install(demo[0], Edit("test", observe=seen)).clone()
    for part, number in places(demo):
        model.set_model_attn2_replace(replacement, part, number)
    alone = demo[0].clone()
    for part, number in places(demo):
        alone.set_model_attn2_replace(Replacement(), part, number)
    observed = port.install(model, Edit("test", observe=seen)) if is_first else model
    result = predict(port, observed, scene)
    assert torch.equal(result, predict(port, alone, scene))
    assert not torch.allclose(result, predict(port, demo[0], scene), atol=1e-2)
    assert len(seen.layers) == len(replacement.layers) == 16
    for (query, key, _), (their_query, their_key) in zip(seen.layers, replacement.layers, strict=True):
        assert torch.equal(query, their_query)
        assert torch.equal(key, their_key)


def test_patches_before_ours_are_seen_and_obeyed(port, demo, scene):
    patched = demo[0].clone()
    patched.set_model_attn2_patch(lambda query, key, value, extra: (query, key * 0.5, value * 0.5))
    seen = Seen({0})
    plain = Seen({0})
    assert torch.equal(
        predict(port, port.install(patched, Edit("test", observe=seen)), scene), predict(port, patched, scene)
    )
    predict(port, port.install(demo[0], Edit("test", observe=plain)), scene)
    torch.testing.assert_close(seen.layers[0][1], 0.5 * plain.layers[0][1])


def test_the_patch_is_on_the_clone_alone_and_once(port, demo):
    clone = demo[0]
    for _ in range(2):
        clone = port.install(clone, Edit("test", observe=Seen()))
    assert len(clone.model_options["transformer_options"]["patches"]["attn2_patch"]) == 1
    assert "attn2_patch" not in demo[0].model_options["transformer_options"].get("patches", {})


def test_split_conditions_and_guidance_that_asks_again_are_seen(port, demo, scene):
    """Conditions of unlike shapes go through the UNet one by one; perturbed attention asks for the positive again."""
    from comfy_extras.nodes_pag import PerturbedAttentionGuidance

    import nodes

    guide = (
        PerturbedAttentionGuidance.execute
        if hasattr(PerturbedAttentionGuidance, "execute")
        else PerturbedAttentionGuidance().patch
    )
    seen = Seen({3})
    observed = port.install(guide(demo[0], 2.0)[0], Edit("test", observe=seen))
    assert torch.equal(scene.run(observed), scene.run(guide(demo[0], 2.0)[0]))
    assert len(seen.layers) == 3 * 2
    wide = [*scene.positive, *nodes.ConditioningSetArea().append(scene.positive, 64, 128, 0, 0, 1.0)[0]]
    seen = Seen({3})
    scene.run(port.install(demo[0], Edit("test", observe=seen)), positive=wide)
    assert len(seen.layers) > 3
