"""Names of a Wan model's weights, with diffusers' own converters as the reference."""

from __future__ import annotations

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_wan_transformer_to_diffusers,
    convert_wan_vae_to_diffusers,
)
from frameloom.headless.weights import wan
from frameloom.models.network.sizes import DEMO_VIDEO

NETWORKS = {
    "transformer": (wan.build_transformer, wan.transformer_names, convert_wan_transformer_to_diffusers),
    "autoencoder": (wan.build_vae, wan.vae_names, convert_wan_vae_to_diffusers),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_written_in_wans_names_is_what_diffusers_reads(network):
    build, rename, convert = NETWORKS[network]
    state = build(DEMO_VIDEO).state_dict()
    names = rename(state)
    assert len(set(names.values())) == len(state)
    read = convert({names[key]: value for key, value in state.items()})
    assert read.keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in read.items())
