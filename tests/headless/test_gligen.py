"""GLIGEN's networks on the headless host against diffusers' own."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention import GatedSelfAttentionDense
from diffusers.models.embeddings import GLIGENTextBoundingboxProjection
from frameloom.headless.engine.gligen import load_gligen
from frameloom.tests.support.gligen import (
    BOXES,
    DEMO_WIDTHS,
    WIDTH,
    embeddings,
    grounding,
    write_gligen,
)
from safetensors.torch import load_file

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_gligen(tmp_path_factory.mktemp("gligen") / "gligen.safetensors")


@pytest.fixture(scope="module")
def network(file):
    return load_gligen(file, CPU)


def part(file, prefix):
    return {
        name.removeprefix(prefix): value for name, value in load_file(file).items() if name.startswith(prefix)
    }


def test_the_position_network_is_diffusers(network, file):
    theirs = GLIGENTextBoundingboxProjection(WIDTH, WIDTH, "text-only")
    theirs.load_state_dict(part(file, "position_net."))
    boxes, masks, texts = grounding(BOXES).at([0, 1])
    torch.testing.assert_close(
        network.position_net(boxes, masks, texts), theirs(boxes, masks, texts), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("number", "place", "level"), [(0, "input_blocks.1.1", 0), (6, "middle_block.1", 2),
                                                        (15, "output_blocks.11.1", 0)])  # fmt: skip
def test_a_layer_is_diffusers(network, file, number, place, level):
    width = DEMO_WIDTHS[level]
    theirs = GatedSelfAttentionDense(width, WIDTH, 8, width // 8)
    theirs.load_state_dict(part(file, f"{place}.transformer_blocks.0.fuser."))
    tokens, entities = torch.randn(2, 12, width), embeddings(60).reshape(2, 30, WIDTH)
    ours = network.module_list[number](tokens, entities)
    torch.testing.assert_close(ours, theirs(tokens, entities), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours, tokens, atol=1e-2)
