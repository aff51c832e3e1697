"""Trials below the floor: what they change is what they say, and what guidance's sides share is counted right."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.network.sizes import DEMO
from frameloom.tools.bench_floor import InBfloat16, LaidOut, shared_share, step_apart
from torch import nn


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(12, 20), (2, 5, 12)),
        (nn.Linear(12, 20, bias=False), (7, 12)),
        (nn.Conv2d(6, 10, 3, stride=2, padding=1), (3, 6, 9, 9)),
    ],
)
@torch.inference_mode()
def test_a_layer_that_is_laid_out_once_gives_the_same_again_and_again(layer, shape):
    changed = LaidOut(layer)
    for seed in range(2):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(changed(x), layer(x), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_bfloat16_is_near_float32_and_not_equal():
    layer, x = nn.Linear(64, 64), torch.randn(8, 64)
    found = InBfloat16(layer)(x)
    assert found.dtype == torch.float32
    assert 1e-4 < (found - layer(x)).norm() / layer(x).norm() < 2e-2
    assert 1e-4 < step_apart(DEMO.unet) < 2e-2


def test_what_both_sides_share_grows_with_attention_alone():
    """Of twice the side, convolutions take 4 times as much, and attention over places 16 times."""
    small, large = (shared_share(DEMO.unet, pixels) for pixels in (128, 256))
    assert 0 < small < large < 0.5
