"""``training/latent_cache.py`` as the trainer sees it, without files: for as long as that is not here."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class EncodedClips:
    """Latents, tokens and each clip's row of tokens."""

    latents: Tensor
    tokens: Tensor
    caption: Tensor


def encode_clips(dataset, encode_pictures, encode_text, folder, base_key, watch, check_interrupt):
    """Encode everything anew."""
    latents = []
    for index in range(len(dataset)):
        check_interrupt()
        latents.append(encode_pictures(dataset.pictures(index)).float())
        watch(index + 1)
    texts = list(dict.fromkeys(["", *dataset.captions]))
    tokens = torch.stack([encode_text(text).float() for text in texts])
    return EncodedClips(
        torch.stack(latents), tokens, torch.tensor([texts.index(each) for each in dataset.captions])
    )
