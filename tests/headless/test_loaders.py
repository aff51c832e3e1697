"""Checkpoints from one file, without a network: whole, in other sizes, and wrong ones."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import torch
from frameloom.headless.text.prompt import Tokenizer
from frameloom.headless.weights.loading import load_checkpoint
from frameloom.headless.weights.measure import measure
from frameloom.host.bundled import DEMO_TOKENIZER
from frameloom.models.errors import CheckpointError
from frameloom.models.files.weight_file import open_weights
from frameloom.models.network.sizes import DEMO
from frameloom.tests.support.random_demo import CPU, NARROW, write_model
from safetensors.torch import load_file, save_file

UNET, VAE = "model.diffusion_model.", "first_stage_model."


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("narrow") / "sd15.safetensors", NARROW)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_folder(DEMO_TOKENIZER)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_an_sd15_checkpoint_loads_without_a_socket(checkpoint, tokenizer, no_network):
    with torch.inference_mode():
        model, clip, vae = load_checkpoint(checkpoint, tokenizer, CPU)
    assert not any(each.is_inference() for each in model.unet.parameters())  # can be trained through
    assert model.sampling.prediction == "eps"
    stored = load_file(checkpoint)
    assert torch.equal(model.unet.conv_in.weight, stored[f"{UNET}input_blocks.0.0.weight"].float())
    assert torch.equal(vae.network.encoder.conv_in.weight, stored[f"{VAE}encoder.conv_in.weight"].float())
    assert clip.network.config.num_hidden_layers == 2


def test_sizes_are_read_off_the_tensors(checkpoint):
    assert measure(open_weights(checkpoint), list) == NARROW


def test_a_pickle_of_tensors_loads(checkpoint, tokenizer, tmp_path):
    path = tmp_path / "sd15.ckpt"
    torch.save({"state_dict": load_file(checkpoint)}, path)
    assert load_checkpoint(path, tokenizer, CPU)[0].size == NARROW.unet


def test_an_instruct_pix2pix_checkpoint_has_eight_input_channels(tokenizer, tmp_path):
    size = replace(NARROW, unet=replace(NARROW.unet, in_channels=8))
    model, _, _ = load_checkpoint(write_model(tmp_path / "edit.safetensors", size), tokenizer, CPU)
    assert model.size == size.unet
    assert (model.unet.config.in_channels, model.unet.config.out_channels) == (8, 4)


OUT, STEM = f"{UNET}out.2.bias", f"{UNET}input_blocks.1.0.out_layers.3.weight"


def misspelt(state, key, other):
    return {other if name == key else name: value for name, value in state.items()}


def without(state, prefix):
    return {key: value for key, value in state.items() if not key.startswith(prefix)}


WRONG = {
    "no UNet": (
        lambda state: without(state, "model."),
        "is a VAE; expected a whole SD1.5 or SDXL checkpoint; put it into vae",
    ),
    "no VAE": (lambda state: without(state, "first"), f"lacks {VAE}encoder.conv_in.weight"),
    "no text": (
        lambda state: without(state, "cond"),
        "lacks cond_stage_model.transformer.embeddings.token_embedding",
    ),
    "SDXL without its text encoders": (
        lambda state: state | {f"{UNET}label_emb.0.0.weight": torch.zeros(1, 1)},
        "lacks conditioner.embedders.0.transformer.embeddings.token_embedding.weight; expected a whole SDXL check",
    ),
    "truncated": (lambda state: without(state, OUT), f"lacks {OUT}, one of 1 tensors"),
    "inpaint": (
        lambda state: state | {f"{UNET}input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3)},
        r"has 9 input channels .*; expected an SD1.5 checkpoint \(4 and 768\) or an instruct-pix2pix one",
    ),
    "misspelt": (
        lambda state: misspelt(state, OUT, f"{UNET}out.2.biat"),
        rf"lacks {OUT} \(it holds '{UNET}out.2.biat', which belongs to nothing: is that it\?\)",
    ),
    "misspelt where sizes are read": (
        lambda state: misspelt(state, STEM, STEM.replace("out_l", "owt_l")),
        rf"lacks {STEM} \(it holds '{STEM.replace('out_l', 'owt_l')}', which belongs to nothing",
    ),
    "a key too many": (
        lambda state: state | {f"{OUT}.x": torch.zeros(4)},
        r"holds .*out.2.bias.x, which a whole SD1.5 or SDXL check",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_checkpoints_are_named(checkpoint, tokenizer, tmp_path, fault):
    change, message = WRONG[fault]
    path = tmp_path / "wrong.safetensors"
    save_file(change(load_file(checkpoint)), path)
    with pytest.raises(CheckpointError, match=f"wrong.safetensors.*{message}") as caught:
        load_checkpoint(path, tokenizer, CPU)
    assert "\n" not in str(caught.value)


def test_the_demos_sizes_are_given_not_guessed(model):
    assert model.sampling.prediction == "v"
    assert model.unet.config.attention_head_dim == DEMO.unet.num_heads
