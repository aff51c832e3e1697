"""Names of weights, with diffusers' own converters as the reference."""

from __future__ import annotations

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_controlnet_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from frameloom.headless import keys
from frameloom.headless.networks import build_control, build_unet, build_vae
from frameloom.models.architecture import DEMO


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_unet_names_are_diffusers():
    unet = build_unet(DEMO.unet)
    ldm = keys.unet_to_ldm(unet.state_dict(), DEMO.unet)
    assert equal(keys.unet_from_ldm(ldm, DEMO.unet), unet.state_dict())
    full = {keys.UNET_PREFIX + key: value for key, value in ldm.items()}
    assert equal(convert_ldm_unet_checkpoint(full, dict(unet.config)), unet.state_dict())


def test_vae_names_are_diffusers():
    vae = build_vae(DEMO.vae)
    ldm = keys.vae_to_ldm(vae.state_dict(), DEMO.vae)
    assert ldm["encoder.mid.attn_1.q.weight"].dim() == 4
    assert equal(keys.vae_from_ldm(ldm, DEMO.vae), vae.state_dict())
    full = {keys.VAE_PREFIX + key: value for key, value in ldm.items()}
    assert equal(convert_ldm_vae_checkpoint(full, dict(vae.config)), vae.state_dict())


def test_controlnet_names_are_diffusers():
    network = build_control(DEMO.unet)
    ldm = keys.rename(network.state_dict(), keys.control_modules(DEMO.unet))
    full = {f"control_model.{key}": value for key, value in ldm.items()}
    assert equal(convert_controlnet_checkpoint(full, dict(network.config)), network.state_dict())


def test_an_unknown_name_is_not_passed_over():
    with pytest.raises(KeyError, match=r"input_blocks\.99"):
        keys.unet_from_ldm({"input_blocks.99.0.weight": torch.zeros(1)}, DEMO.unet)
