"""SparseCtrl networks with random weights, in their authors' keys."""

from __future__ import annotations

from pathlib import Path

import torch
from frameloom.models.motion.sparse_network import SparseControl, SparseSize
from frameloom.models.network.sizes import DEMO
from frameloom.tests.support.tensors import draw
from safetensors.torch import save_file

GIVEN = draw(2, 4, 16, 16, seed=5)  # latents of two given frames


def random_sparse(size=DEMO.unet, channels=4, seed=4):
    """A network that lets every input through, and its weights but for positional encodings, which files leave out."""
    network, generator = SparseControl(SparseSize(size, channels)), torch.Generator().manual_seed(seed)
    state = {}
    for name, value in network.state_dict().items():
        drawn = torch.randn(value.shape, generator=generator)
        if value.dim() > 1:
            state[name] = drawn / value[0].numel() ** 0.5
        else:
            state[name] = 0.1 * drawn + ("norm" in name and name.endswith("weight"))
    state = {name: value.half().float() for name, value in state.items() if ".pe" not in name}
    network.load_state_dict(state, strict=False)
    return network.eval().requires_grad_(False), state


def write_sparse(path: Path, size=DEMO.unet, channels=4, seed=4) -> Path:
    """Write such a network's file; a pickle as its authors', which says no number of heads."""
    state = {name: value.half() for name, value in random_sparse(size, channels, seed)[1].items()}
    if path.suffix == ".ckpt":
        torch.save(
            {"controlnet": {f"module.{name}": value for name, value in state.items()}, "epoch": 1}, path
        )
        return path
    save_file(state, path, {"frameloom.heads": str(size.num_heads)})
    return path


def to_diffusers(state):
    """The same weights by diffusers' names."""
    parts = {
        "attention_blocks.0": "attn1",
        "norms.0": "norm1",
        "ff_norm": "norm3",
        ".temporal_transformer.": ".",
    }

    def rename(name):
        if "motion_modules" in name:
            for ours, theirs in parts.items():
                name = name.replace(ours, theirs)
        return name

    return {rename(name): value for name, value in state.items()}


def domain_adapter(width=32, rank=4):
    """A LoRA of one layer, by the keys of AnimateDiff's domain adapter."""
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora"
    return {
        f"{layer}.down.weight": draw(rank, width, seed=6),
        f"{layer}.up.weight": draw(width, rank, seed=7) / 10,
    }
