"""Observers of cross-attention among other packs' patches and replacements."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.tests.host.inside.core import with_area, with_perturbed_attention
from frameloom.tests.support.parts import Every


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


@pytest.mark.parametrize("is_first", [True, False])
def test_another_packs_replacements_act_and_get_what_the_observer_sees(port, demo, scene, is_first):
    seen, replacement, alone = Every(), Replacement(), demo[0].clone()
    model = demo[0].clone() if is_first else port.install(demo[0], Edit("test", observe=seen)).clone()
    for place in places(demo):
        model.set_model_attn2_replace(replacement, *place)
        alone.set_model_attn2_replace(Replacement(), *place)
    result = scene.predict(port.install(model, Edit("test", observe=seen)) if is_first else model)
    assert torch.equal(result, scene.predict(alone))
    assert not torch.allclose(result, scene.predict(demo[0]), atol=1e-2)
    assert len(seen.seen) == len(replacement.layers) == 16
    for (query, key, _), (their_query, their_key) in zip(seen.seen, replacement.layers, strict=True):
        assert torch.equal(query, their_query)
        assert torch.equal(key, their_key)


def test_patches_before_ours_are_seen_and_obeyed(port, demo, scene):
    patched, seen, plain = demo[0].clone(), Every(), Every()
    patched.set_model_attn2_patch(lambda query, key, value, extra: (query, key * 0.5, value * 0.5))
    observed = scene.predict(port.install(patched, Edit("test", observe=seen)))
    assert torch.equal(observed, scene.predict(patched))
    scene.predict(port.install(demo[0], Edit("test", observe=plain)))
    torch.testing.assert_close(seen.seen[0][1], 0.5 * plain.seen[0][1])


def test_split_conditions_and_guidance_that_asks_again_are_seen(port, demo, scene):
    """Conditions of unlike shapes go through the UNet one by one; perturbed attention asks for the positive again."""
    seen, wide = (Every(levels=frozenset({3})) for _ in range(2))
    perturbed = with_perturbed_attention(demo[0])
    observed = scene.run(port.install(perturbed, Edit("test", observe=seen)))
    assert torch.equal(observed, scene.run(perturbed))
    assert len(seen.seen) == 3 * 2
    both = [*scene.positive, *with_area(scene.positive)]
    scene.run(port.install(demo[0], Edit("test", observe=wide)), positive=both)
    assert len(wide.seen) > 3
