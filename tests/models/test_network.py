"""The table of a UNet's blocks: SD1.x's by its values, SDXL's by diffusers' own network."""

from __future__ import annotations

import pytest
import torch
from diffusers import MotionAdapter, UNet2DConditionModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from frameloom.headless.weights.networks import build_unet, size_of
from frameloom.models.network.unet import SD1, SDXL, UNetSize, layer_grid

# The config of stabilityai/stable-diffusion-xl-base-1.0's UNet, as far as it shapes the network.
XL_CONFIG = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "in_channels": 4,
    "layers_per_block": 2,
    "projection_class_embeddings_input_dim": 2816,
    "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "use_linear_projection": True,
}


def test_sd1s_slots_are_animatediffs():
    """As diffusers' MotionAdapter has them, in the order in which the UNet runs them."""
    with torch.device("meta"):
        state = MotionAdapter().state_dict()
    norm = ".norm.weight"
    widths = {key.removesuffix(norm): len(each) for key, each in state.items() if key.endswith(norm)}
    assert widths == dict(SD1.slots)
    parts = [name.split(".")[0] for name in SD1.slots]
    assert parts == ["down_blocks"] * 8 + ["mid_block"] + ["up_blocks"] * 12


def test_sd1s_layers_lie_in_these_blocks_and_levels():
    """LDM's numbers: the first convolution is input block 0, and every third one after it halves."""
    assert SD1.levels == (0, 1, 2, 3)
    assert SD1.attended == {0, 1, 2, 3}
    assert {layer.place.block: layer.level for layer in SD1.layers} == {
        ("input", 1): 0, ("input", 2): 0, ("input", 4): 1, ("input", 5): 1, ("input", 7): 2, ("input", 8): 2,
        ("middle", 0): 3,
        ("output", 3): 2, ("output", 4): 2, ("output", 5): 2,
        ("output", 6): 1, ("output", 7): 1, ("output", 8): 1,
        ("output", 9): 0, ("output", 10): 0, ("output", 11): 0,
    }  # fmt: skip
    assert [layer.number for layer in SD1.layers] == list(range(16))
    assert {layer.depth for layer in SD1.layers} == {0}


def test_sdxls_layers_lie_in_these_blocks_and_levels():
    """None at the finest level; two at the next, and ten at the last, whose number is the middle block's too."""
    assert SDXL.levels == (0, 1, 2)
    assert SDXL.attended == {1, 2}
    assert {layer.place.block: (layer.level, layer.place.depth) for layer in SDXL.layers} == {
        ("input", 4): (1, 2), ("input", 5): (1, 2), ("input", 7): (2, 10), ("input", 8): (2, 10),
        ("middle", 0): (2, 10),
        ("output", 0): (2, 10), ("output", 1): (2, 10), ("output", 2): (2, 10),
        ("output", 3): (1, 2), ("output", 4): (1, 2), ("output", 5): (1, 2),
    }  # fmt: skip
    assert len(SDXL.layers) == 70
    assert len(SDXL.slots) == 16  # AnimateDiff's modules have none in the middle


@pytest.fixture(scope="module")
def networks():
    with torch.device("meta"):
        return {"SD1": (SD1, build_unet(SD1)), "SDXL": (SDXL, UNet2DConditionModel.from_config(XL_CONFIG))}


@pytest.mark.parametrize("name", ["SD1", "SDXL"])
def test_diffusers_network_has_these_places_and_layers_in_this_order(networks, name):
    size, unet = networks[name]
    assert size_of(unet) == size
    ran = []
    for module_name, module in unet.named_modules():
        module.register_forward_hook(lambda *_, name=module_name: ran.append(name))
    extra = {"text_embeds": torch.empty(1, 1280, device="meta"), "time_ids": torch.empty(1, 6, device="meta")}
    hidden = torch.empty(1, 4, 16, 16, device="meta")
    tokens = torch.empty(1, 7, size.context_dim, device="meta")
    unet(hidden, torch.empty(1, device="meta"), tokens, added_cond_kwargs=extra)
    assert [each for each in ran if each in {place.module for place in size.places}] == [
        place.module for place in size.places
    ]
    blocks = [name for name in ran if name.rpartition(".")[0].endswith("transformer_blocks")]
    assert blocks == [layer.module for layer in size.layers]
    for place in size.places:
        module = unet.get_submodule(place.module)
        width = module.in_channels if isinstance(module, Transformer2DModel) else module.out_channels
        assert width == place.width
    assert {layer.number for layer in size.layers} == set(
        range(sum(place.depth > 0 for place in size.places))
    )


def test_a_layer_is_found_by_comfyuis_block_and_depth():
    for layer in SDXL.layers:
        assert SDXL.layer(layer.place.block, layer.depth) is layer
    with pytest.raises(KeyError):
        SDXL.layer(("input", 1))


def test_grids_halve_like_strided_convolutions():
    convolution = torch.nn.Conv2d(1, 1, 3, stride=2, padding=1)
    for size in ((16, 16), (17, 9), (64, 88), (5, 7)):
        hidden = torch.zeros(1, 1, *size)
        for level in range(4):
            assert layer_grid(size, level) == hidden.shape[-2:]
            hidden = convolution(hidden)


def test_a_control_net_is_as_wide_as_the_unet_that_it_is_for():
    size = UNetSize(model_channels=32, channel_mult=(1, 2, 2, 2), context_dim=64, num_heads=2, in_channels=8)
    with torch.device("meta"):
        assert size_of(build_unet(size)) == size
