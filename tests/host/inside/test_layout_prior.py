"""Layout Prior as ComfyUI runs it: in inference mode, from ComfyUI's model folder."""

from __future__ import annotations

import torch
from frameloom.models.layout_prior import LayoutGPT, PriorSize, save_prior
from frameloom.models.layout_sequence import NAME, VOCABULARY
from frameloom.models.storyboard import parse_storyboard


def test_it_places_what_is_named(port, kind_folder):
    from frameloom.nodes.layout_prior import LayoutPrior

    torch.manual_seed(0)
    network = LayoutGPT(PriorSize(VOCABULARY, 256, 32, 2, 4))
    save_prior(kind_folder("layout_priors") / "tiny.safetensors", network, NAME)
    node = LayoutPrior
    assert node.define_schema().inputs[0].options == ["tiny.safetensors"]
    settings = {
        "frames": 12,
        "keyframes": 3,
        "width": 640,
        "height": 360,
        "fps": 12.0,
        "temperature": 1.0,
        "top_k": 70,
    }
    board, text = node.execute(
        file="tiny.safetensors", entities="a red ball, a dog", caption="a park", seed=5, **settings
    ).args
    assert [len(entity.track) for entity in board.only_scene().entities] == [3, 3]
    assert parse_storyboard(text) == board
