"""What goes to another process arrives with the same bits, float8 tensors too."""

from __future__ import annotations

import pickle

import pytest
import torch
from frameloom.headless.parcel import pack
from torch import nn

DTYPES = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float16, torch.bfloat16, torch.float32, torch.int64]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_networks_tensors_keep_bits_dtype_and_kind(dtype):
    network = nn.Linear(8, 4)
    values = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    network.register_parameter("held", nn.Parameter(values, requires_grad=False))
    network.register_buffer("turned", values.T)
    again = pickle.loads(pack({"network": network, "same": network.held}))
    held, turned = again["network"].held, again["network"].turned
    assert isinstance(held, nn.Parameter)
    assert not held.requires_grad
    assert held.dtype == turned.dtype == dtype
    assert torch.equal(held.view(torch.uint8), values.view(torch.uint8))
    assert torch.equal(turned.contiguous().view(torch.uint8), values.T.contiguous().view(torch.uint8))
    assert again["same"] is held
    assert torch.equal(again["network"].weight, network.weight)
