"""GLIGEN files of random weights, and boxes, for tests of either host."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch
from frameloom.models.layout.gligen import GROUNDING, GligenEdit, Grounding
from safetensors.torch import save_file
from torch import nn

WIDTH = 768  # of SD1.5's text
DEMO_WIDTHS = (32, 64, 64)  # of the levels with attention
_BLOCKS = (
    *(("input_blocks", block, (block - 1) // 3) for block in (1, 2, 4, 5, 7, 8)),
    ("middle_block", None, 2),
    *(("output_blocks", block, 3 - block // 3) for block in range(3, 12)),
)
BOXES = ((0.0, 0.25, 0.5, 0.75), (0.5, 0.0, 1.0, 0.5))


class WideText(nn.Module):
    """The headless demo's text network, its pooled text as wide as SD1.5's."""

    def __init__(self, network):
        super().__init__()
        self.network, self.device = network, network.device

    def forward(self, ids):
        found = self.network(ids)
        pooled = found.pooler_output.repeat(1, WIDTH // found.pooler_output.shape[1])
        return SimpleNamespace(last_hidden_state=found.last_hidden_state, pooler_output=pooled)


class WideClip:
    """ComfyUI's CLIP of the demo, its pooled text as wide as SD1.5's where it is not projected."""

    def __init__(self, clip):
        self._clip = clip

    def __getattr__(self, name):
        return getattr(self._clip, name)

    def encode_from_tokens(self, tokens, return_pooled=False, **options):
        found = self._clip.encode_from_tokens(tokens, return_pooled=return_pooled, **options)
        if return_pooled != "unprojected":
            return found
        return found[0], found[1].repeat(1, WIDTH // found[1].shape[1])


def write_gligen(path: Path, widths=DEMO_WIDTHS, gate=1.0, seed=0, text=WIDTH) -> Path:
    """Write a GLIGEN file in the published keys."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator) / shape[-1] ** 0.5

    state = {
        "position_net.null_positive_feature": draw(text) * 10,
        "position_net.null_position_feature": draw(64),
        "position_net.linears.0.weight": draw(512, text + 64),
        "position_net.linears.2.weight": draw(512, 512) * 2,
        "position_net.linears.4.weight": draw(WIDTH, 512) * 4,
        **{
            f"position_net.linears.{layer}.bias": draw(size)
            for layer, size in ((0, 512), (2, 512), (4, WIDTH))
        },
    }
    for part, block, level in _BLOCKS:
        width = widths[level]
        place = f"{part}.1" if block is None else f"{part}.{block}.1"
        layer = {
            "linear.weight": draw(width, WIDTH), "linear.bias": draw(width),
            **{f"attn.to_{name}.weight": draw(width, width) * 2 for name in "qkv"},
            "attn.to_out.0.weight": draw(width, width), "attn.to_out.0.bias": draw(width),
            "ff.net.0.proj.weight": draw(8 * width, width), "ff.net.0.proj.bias": draw(8 * width),
            "ff.net.2.weight": draw(width, 4 * width), "ff.net.2.bias": draw(width),
            **{f"norm{each}.weight": draw(width) + 1 for each in (1, 2)},
            **{f"norm{each}.bias": draw(width) for each in (1, 2)},
            "alpha_attn": torch.tensor(gate), "alpha_dense": torch.tensor(0.3 * gate),
        }  # fmt: skip
        state |= {f"{place}.transformer_blocks.0.fuser.{name}": value for name, value in layer.items()}
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path


def embeddings(count, width=WIDTH, seed=3):
    """What a text encoder might say of some texts, [count, width]."""
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def grounding(boxes=BOXES, frames=4, seed=3):
    """Entities whose boxes stand still."""
    places = torch.tensor(boxes).expand(frames, -1, -1).clone()
    return Grounding(
        places, torch.ones(places.shape[:2], dtype=torch.bool), embeddings(len(boxes), seed=seed)
    )


def grounded(conditioning, payload):
    """A condition that carries boxes."""
    return [[tokens, {**options, "frameloom": {GROUNDING: payload}}] for tokens, options in conditioning]


def edit(network, end_percent=1.0, strength=1.0):
    """GLIGEN for the whole of sampling."""
    return GligenEdit(network, end_percent, strength)
