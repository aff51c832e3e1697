"""ComfyUI's own networks have the blocks that the tables of models.network say."""

from __future__ import annotations

import pytest
import torch
from comfy.cldm.cldm import ControlNet
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_detection import unet_config_from_diffusers_unet
from comfy.ops import disable_weight_init
from frameloom.host.comfyui.seams.network import layers_in, modules_in, size_of
from frameloom.models.network.unet import SD1, SDXL

SIZES = {"SD1": SD1, "SDXL": SDXL}
META = {"device": "meta", "operations": disable_weight_init}


def core_config(size):
    """The configuration that core has for a checkpoint in diffusers' layout, which it tells by its way down."""
    shapes = {"conv_in.weight": (size.model_channels, size.in_channels, 3, 3)}
    shapes |= {f"{place.part}.resnets.{place.index}.conv1.weight": (1,) for place in size.places}
    width = size.context_dim
    shapes |= {f"{layer.module}.attn2.to_k.weight": (layer.place.width, width) for layer in size.layers}
    if size is SDXL:
        shapes["add_embedding.linear_1.weight"] = (1280, 2816)
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    return unet_config_from_diffusers_unet(state, dtype=torch.float32)


@pytest.mark.parametrize("name", SIZES)
def test_the_table_is_that_of_cores_unet(name):
    size = SIZES[name]
    unet = UNetModel(**core_config(size), **META)
    assert size_of(unet) == size
    names = {module: name for name, module in unet.named_modules()}
    places = {place: names[module] for place, module in modules_in(unet, size)}
    assert list(places) == list(size.places)
    part = {"input": "input_blocks.{}", "middle": "middle_block", "output": "output_blocks.{}"}
    for place, name in places.items():
        block = part[place.block[0]].format(place.block[1])
        assert name.rpartition(".")[0] == block
        layer = unet.get_submodule(name)
        assert place.width == (layer.in_channels if place.depth else layer.out_channels)
    found = [(layer, names[block]) for layer, block in layers_in(unet, size)]
    assert [layer for layer, _ in found] == list(size.layers)
    for layer, name in found:
        assert name == f"{places[layer.place]}.transformer_blocks.{layer.depth}"
    assert {name for name in names.values() if name.endswith(".attn1")} == {
        f"{name}.attn1" for _, name in found
    }


@pytest.mark.parametrize("name", SIZES)
def test_a_control_net_has_the_layers_of_the_way_down_and_the_middle(name):
    size = SIZES[name]
    config = core_config(size)
    del config["out_channels"], config["transformer_depth_output"]
    network = ControlNet(hint_channels=3, **config, **META)
    assert size_of(network) == size
    found = [layer for layer, _ in layers_in(network, size)]
    assert found == [layer for layer in size.layers if layer.place.block[0] != "output"]


@pytest.mark.parametrize(
    "change",
    [
        {
            "num_res_blocks": [1, 2, 2, 2],
            "transformer_depth": [1] * 5 + [0] * 2,
            "transformer_depth_output": [1] * 8 + [0] * 3,
        },
        {"transformer_depth": [1, 1, 1, 2, 1, 1, 0, 0]},
        {"transformer_depth_middle": -1},
        {"transformer_depth_middle": -2},
    ],
)
def test_a_unet_of_other_blocks_has_no_table(change):
    assert size_of(UNetModel(**core_config(SD1) | change, **META)) is None


def test_another_network_has_no_table():
    assert size_of(torch.nn.Linear(1, 1)) is None
