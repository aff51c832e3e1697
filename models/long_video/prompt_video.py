"""Prompts that travel on a model of video, whose clip is one latent with time as an axis, and has one row of tokens.

The tokens of all prompts stand one behind the other, and ``video.prompt_shares`` says how places read them. The shares
of a latent frame are those of the first frame of the clip that it stands for, on the way from prompt a to prompt b:

    s_a = 1 - p,        s_b = p,        p as in ``prompt_travel``

So a change at frame k is seen from the first latent frame on that begins at k or later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from ..network.time_law import TimeLaw
from ..video.prompt_shares import PromptShares
from .prompt_text import Keys
from .prompt_travel import Blend, Conditioning, used_prompts

MASK = "attention_mask"  # key of a condition's options: which of its tokens count


def travel_shares(prompts: Sequence[str], keys: Keys, blends: Sequence[Blend]) -> Tensor:
    """Return the shares of some prompts, [K, T] float32.

    Args:
        prompts: the K prompts.
        keys: prompt of each keyframe.
        blends: parts of prompts in each of T latent frames, by keyframes.
    """
    number = {prompt: k for k, prompt in enumerate(prompts)}
    shares = torch.zeros(len(prompts), len(blends))
    for latent, (before, after, part) in enumerate(blends):
        shares[number[keys[before]], latent] += 1 - part
        shares[number[keys[after]], latent] += part
    return shares


def join_prompts(
    encoded: Mapping[str, Conditioning], keys: Keys, blends: Sequence[Blend], law: TimeLaw
) -> list[tuple[list[Any], PromptShares]]:
    """Return conditions whose tokens are those of all prompts, [1, S, D], each with what its tokens are of.

    Args:
        encoded: conditions of each prompt; options beside the tokens are the first prompt's.
        keys: prompt of each keyframe.
        blends: parts of prompts in each frame of the clip, by keyframes.
        law: time law of the model.
    """
    firsts = [blends[law.first(latent)] for latent in range(law.latents(len(blends)))]
    prompts = used_prompts(keys, firsts)
    shares = travel_shares(prompts, keys, firsts)
    joined: list[tuple[list[Any], PromptShares]] = []
    for same in zip(*(encoded[prompt] for prompt in prompts), strict=True):
        lengths = [tokens.shape[1] for tokens, _ in same]
        stops = list(accumulate(lengths))
        spans = tuple((stop - length, stop) for stop, length in zip(stops, lengths, strict=True))
        options = dict(same[0][1])
        if any(MASK in each for _, each in same):
            masks = [each.get(MASK, torch.ones(tokens.shape[:2], dtype=torch.long)) for tokens, each in same]
            options[MASK] = torch.cat(masks, 1)
        tokens = torch.cat([tokens for tokens, _ in same], 1)
        joined.append(([tokens, options], PromptShares(spans, shares)))
    return joined
