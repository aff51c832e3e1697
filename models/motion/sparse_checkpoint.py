"""Read SparseCtrl networks: their authors' files (``v3_sd15_sparsectrl_rgb``, ``.._scribble``), and diffusers'.

The two layouts differ in their temporal layers' names alone, which are those of motion modules. Sizes come from the
tensors; no file stores the number of heads, which is 8 with SD1.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..files.weight_file import WeightFile, find_nearest, open_weights, require
from ..files.weight_kind import bare_key, expect
from ..network.unet import UNetSize
from .checkpoint import motion_key, share_encodings
from .module import positional_encoding
from .sparse_network import LATENT_CHANNELS, MAX_FRAMES, PICTURE_CHANNELS, SparseControl, SparseSize

WANTED = "a SparseCtrl network for SD1.5 (rgb or scribble)"
ENCODING = ".pos_encoder.pe"
_EMBEDDINGS = ("controlnet_cond_embedding.weight", "controlnet_cond_embedding.conv_in.weight")


@dataclass(frozen=True)
class SparseWeights:
    """A SparseCtrl network's weights.

    Attributes:
        name: name of its file, for messages.
        size: sizes of the network.
        state: tensors keyed as ``SparseControl.state_dict()``, positional encodings included.
    """

    name: str
    size: SparseSize
    state: Mapping[str, Tensor]


def read_sparse_control(path: str | Path) -> SparseWeights:
    """Read a SparseCtrl network.

    Args:
        path: a weight file, or a folder of diffusers' ``SparseControlNetModel``.

    Returns:
        Its weights, on the CPU, in the file's dtypes.

    Raises:
        CheckpointError: the file can't be read, is something else (said which), or lacks or misshapes some weights.
    """
    file = open_weights(path)
    expect(file.name, file.shapes, ("sparsectrl_rgb", "sparsectrl_scribble"), WANTED)
    keys = {motion_key(key) or bare_key(key): key for key in file.shapes}
    size = _measure(file, keys)
    with torch.device("meta"):
        wanted = {name: tuple(value.shape) for name, value in SparseControl(size).state_dict().items()}
    stored = {name: shape for name, shape in wanted.items() if not name.endswith(ENCODING)}
    require(file, {keys.get(name, name): shape for name, shape in stored.items()}, WANTED)
    loaded = file.load(keys[name] for name in keys if name in wanted or name.endswith(".pos_embed.pe"))
    state = share_encodings({name: loaded[key] for name, key in keys.items() if key in loaded})
    for name in wanted:
        if name.endswith(ENCODING):
            state.setdefault(name, positional_encoding(size.max_frames, wanted[name][-1]))
    return SparseWeights(
        file.name, size, {name: state[name].reshape(shape) for name, shape in wanted.items()}
    )


def _measure(file: WeightFile, keys: Mapping[str, str]) -> SparseSize:
    """Read a network's sizes off its tensors."""

    def shape(name: str, rank: int) -> tuple[int, ...]:
        found = file.shapes.get(keys.get(name, ""), ())
        if len(found) != rank or 0 in found:
            near = "" if found else find_nearest(name, keys)
            raise CheckpointError(
                f"{file.name}: {name} is {found or 'missing'}{near}; expected {rank} axes there, as in {WANTED}; "
                "download it again, or choose another file."
            )
        return found

    width, latents = shape("conv_in.weight", 4)[:2]
    ends = [shape(f"down_blocks.{level}.resnets.0.conv2.weight", 4)[0] for level in range(4)]
    context = shape("mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", 2)[1]
    channels = shape(next((each for each in _EMBEDDINGS if each in keys), _EMBEDDINGS[0]), 4)[1] - 1
    told = file.config.get("num_attention_heads") or file.config.get("attention_head_dim")
    heads = told or file.metadata.get("frameloom.heads", 8)
    heads = int(heads) if str(heads).isdecimal() else 0
    wrong = [each for each in (width, *ends) if each % 32 or heads < 1 or each % heads or each % width]
    if latents != LATENT_CHANNELS or channels not in (LATENT_CHANNELS, PICTURE_CHANNELS) or wrong:
        raise CheckpointError(
            f"{file.name}: widths {width, *ends} with {heads} heads, {latents} latent channels, and pictures of "
            f"{channels} channels and a mask; expected widths that 32 groups and the heads divide, 4, and 3 or 4, as "
            f"in {WANTED}; choose another file."
        )
    encodings = [file.shapes[key] for name, key in keys.items() if name.endswith((ENCODING, ".pos_embed.pe"))]
    frames = next((each[1] for each in encodings if len(each) == 3), MAX_FRAMES)
    unet = UNetSize(width, tuple(each // width for each in ends), context, heads)
    return SparseSize(unet, channels, frames)
