"""Checkpoints from one file, without a network: whole, in other sizes, and wrong ones."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import torch
from frameloom.headless.text.prompt import Tokenizer
from frameloom.headless.weights.loading import load_checkpoint, measure
from frameloom.host.bundled import DEMO_TOKENIZER
from frameloom.models.errors import CheckpointError
from frameloom.models.files.weight_file import open_weights
from frameloom.models.network.sizes import DEMO, SD15, TextSize, VAESize
from frameloom.models.network.unet import UNetSize
from frameloom.tests.support.random_demo import write_model
from safetensors.torch import load_file, save_file

# SD1.5's topology, keys and 8 heads, narrow: what tells it apart from SD1.5 is width alone.
NARROW = replace(
    SD15,
    unet=UNetSize(model_channels=32, channel_mult=(1, 2, 4, 4), context_dim=64, num_heads=8),
    vae=VAESize(ch=32, ch_mult=(1, 2, 4, 4), num_res_blocks=2),
    text=TextSize(vocabulary=704, hidden_size=64, layers=2, heads=1),
)
CPU = torch.device("cpu")


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
    model, clip, vae = load_checkpoint(checkpoint, tokenizer, CPU)
    assert model.size == NARROW.unet
    assert model.sampling.prediction == "eps"
    stored = load_file(checkpoint)
    key = "input_blocks.0.0.weight"
    assert torch.equal(model.unet.conv_in.weight, stored[f"model.diffusion_model.{key}"].float())
    assert torch.equal(
        vae.network.encoder.conv_in.weight, stored["first_stage_model.encoder.conv_in.weight"].float()
    )
    assert clip.network.config.num_hidden_layers == 2


def test_sizes_are_read_off_the_tensors(checkpoint):
    assert measure(open_weights(checkpoint)) == NARROW


def test_a_pickle_of_tensors_loads(checkpoint, tokenizer, tmp_path):
    path = tmp_path / "sd15.ckpt"
    torch.save({"state_dict": load_file(checkpoint)}, path)
    assert load_checkpoint(path, tokenizer, CPU)[0].size == NARROW.unet


def test_loading_in_a_node_gives_weights_that_can_be_trained_through(checkpoint, tokenizer):
    with torch.inference_mode():
        model, _, _ = load_checkpoint(checkpoint, tokenizer, CPU)
    assert not any(parameter.is_inference() for parameter in model.unet.parameters())


def test_an_instruct_pix2pix_checkpoint_has_eight_input_channels(tokenizer, tmp_path):
    size = replace(NARROW, unet=replace(NARROW.unet, in_channels=8))
    model, _, _ = load_checkpoint(write_model(tmp_path / "edit.safetensors", size), tokenizer, CPU)
    assert model.size == size.unet
    assert (model.unet.config.in_channels, model.unet.config.out_channels) == (8, 4)


OUT = "model.diffusion_model.out.2.bias"
STEM = "model.diffusion_model.input_blocks.1.0.out_layers.3.weight"


def misspelt(state, key, other):
    return {other if name == key else name: value for name, value in state.items()}


def without(state, prefix):
    return {key: value for key, value in state.items() if not key.startswith(prefix)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: without(state, "model."),
            r"is a VAE; expected a whole SD1.5 checkpoint; put it into vae",
        ),
        (
            lambda state: without(state, "first"),
            "lacks first_stage_model.encoder.conv_in.weight",
        ),
        (
            lambda state: without(state, "cond"),
            "lacks cond_stage_model.transformer.embeddings.token_embedding",
        ),
        (
            lambda state: state | {"model.diffusion_model.label_emb.0.0.weight": torch.zeros(1)},
            "expected an SD1.5 checkpoint",
        ),
        (
            lambda state: without(state, "model.diffusion_model.out.2.bias"),
            r"lacks model.diffusion_model.out.2.bias, one of 1 tensors",
        ),
        (
            lambda state: state | {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3)},
            r"has 9 input channels .*; expected an SD1.5 checkpoint \(4 and 768\) or an instruct-pix2pix one",
        ),
        (
            lambda state: misspelt(state, OUT, OUT.replace("bias", "biat")),
            rf"lacks {OUT} \(it holds '{OUT.replace('bias', 'biat')}', which belongs to nothing: is that it\?\)",
        ),
        (
            lambda state: misspelt(state, STEM, STEM.replace("out_l", "owt_l")),
            rf"lacks {STEM} \(it holds '{STEM.replace('out_l', 'owt_l')}', which belongs to nothing",
        ),
        (
            lambda state: state | {f"{OUT}.x": torch.zeros(4)},
            r"holds .*out.2.bias.x, which a whole SD1.5 check",
        ),
    ],
    ids=[
        "no unet",
        "no vae",
        "no text",
        "sdxl",
        "truncated",
        "inpaint",
        "misspelt",
        "misspelt where sizes are read",
        "a key too many",
    ],
)
def test_wrong_checkpoints_are_named(checkpoint, tokenizer, tmp_path, change, message):
    path = tmp_path / "wrong.safetensors"
    save_file(change(load_file(checkpoint)), path)
    with pytest.raises(CheckpointError, match=f"wrong.safetensors.*{message}") as caught:
        load_checkpoint(path, tokenizer, CPU)
    assert "\n" not in str(caught.value)


def test_the_demos_sizes_are_given_not_guessed(tmp_path, tokenizer):
    path = write_model(tmp_path / "model.safetensors")
    model, _, _ = load_checkpoint(path, tokenizer, CPU, DEMO)
    assert model.sampling.prediction == "v"
    assert model.unet.config.attention_head_dim == DEMO.unet.num_heads
