"""Names of weights, with diffusers' own converters as the reference."""

from __future__ import annotations

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_controlnet_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from frameloom.headless.weights import keys
from frameloom.headless.weights.networks import build_control, build_unet, build_vae
from frameloom.models.network.sizes import DEMO, SD15

NETWORKS = {
    "UNet": (build_unet, "unet", keys.unet_modules, keys.UNET_PREFIX, convert_ldm_unet_checkpoint),
    "VAE": (build_vae, "vae", keys.vae_modules, keys.VAE_PREFIX, convert_ldm_vae_checkpoint),
    "ControlNet": (
        build_control,
        "unet",
        keys.control_modules,
        "control_model.",
        convert_controlnet_checkpoint,
    ),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_written_in_ldms_names_is_what_diffusers_reads(network):
    build, part, modules, prefix, convert = NETWORKS[network]
    size = getattr(DEMO, part)
    ours = build(size)
    ldm = {prefix + key: value for key, value in keys.to_ldm(ours.state_dict(), modules(size)).items()}
    read = convert(ldm, dict(ours.config))
    assert read.keys() == ours.state_dict().keys()
    assert all(torch.equal(value, ours.state_dict()[key]) for key, value in read.items())


@pytest.mark.parametrize("network", NETWORKS)
def test_names_of_sd15_are_diffusers(network):
    build, part, modules, prefix, convert = NETWORKS[network]
    size = getattr(SD15, part)
    with torch.device("meta"):
        ours = build(size)
    names = keys.ldm_names(ours.state_dict(), modules(size))
    marked = {prefix + ldm: torch.tensor([[number]]) for number, ldm in enumerate(names.values())}
    read = convert(marked, dict(ours.config))
    assert {key: int(value) for key, value in read.items()} == {
        key: number for number, key in enumerate(ours.state_dict())
    }


def test_ldms_vae_attends_by_convolutions():
    state = keys.to_ldm(build_vae(DEMO.vae).state_dict(), keys.vae_modules(DEMO.vae))
    assert state["encoder.mid.attn_1.q.weight"].shape == (64, 64, 1, 1)
    assert state["encoder.mid.attn_1.norm.weight"].shape == (64,)


def test_an_unknown_name_is_not_passed_over():
    with pytest.raises(KeyError, match=r"down_blocks\.9\.resnets"):
        keys.ldm_names(["down_blocks.9.resnets.0.norm1.weight"], keys.unet_modules(DEMO.unet))
