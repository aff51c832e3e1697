"""What an observer is shown, against diffusers' own attention scores."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from frameloom.headless.engine.edits import edited
from frameloom.headless.weights.networks import build_unet
from frameloom.models.edits.call import Call, Condition
from frameloom.models.edits.edit import Edit
from frameloom.models.network.sizes import DEMO

FRAMES = 2


class Scores(AttnProcessor):
    """diffusers' plain processor, which computes its weights by ``get_attention_scores``."""


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return build_unet(DEMO.unet).requires_grad_(False).eval()


class Weights:
    """An observer that works out the attention weights itself."""

    levels = frozenset({0, 1, 2, 3})

    def __init__(self):
        self.seen = []

    def see(self, query, key, call, layer):
        key = key.repeat_interleave(len(query) // len(key), 0)
        self.seen.append((query @ key.mT * query.shape[-1] ** -0.5).softmax(-1))


def run(unet, observer):
    generator = torch.Generator().manual_seed(1)
    with edited(unet, [Edit("test", observe=observer)]) as current, torch.no_grad():
        current.begin(Call(FRAMES, 1, (Condition(0),), (0, 1), 1.0, 0.5, (16, 16)))
        return unet(
            torch.randn(FRAMES, 4, 16, 16, generator=generator), 500,
            encoder_hidden_states=torch.randn(FRAMES, 77, DEMO.unet.context_dim, generator=generator),
        ).sample  # fmt: skip


def hooks(unet):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in unet.modules())


def test_weights_are_those_that_diffusers_computes(unet, monkeypatch):
    theirs = []
    for name, module in unet.named_modules():
        if name.endswith(".attn2"):

            def scores(query, key, mask=None, own=module.get_attention_scores):
                theirs.append(own(query, key, mask))
                return theirs[-1]

            monkeypatch.setattr(module, "get_attention_scores", scores)
    unet.set_attn_processor(Scores())
    observer = Weights()
    run(unet, observer)
    assert len(theirs) == len(observer.seen) == 16
    for got, wanted in zip(observer.seen, theirs, strict=True):
        torch.testing.assert_close(got.flatten(0, 1), wanted, rtol=1e-4, atol=1e-6)


def test_hooks_go_even_when_an_observer_fails(unet):
    class Failing(Weights):
        def see(self, query, key, call, layer):
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        run(unet, Failing())
    assert hooks(unet) == 0
    run(unet, Weights())
    assert hooks(unet) == 0
