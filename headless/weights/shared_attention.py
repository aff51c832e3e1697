"""Attention that projects keys and values once where frames share them, not once a frame.

A clip's frames share a prompt, and under cross-frame attention an anchor. Such tokens come in with one row per video
instead of one per frame; queries of a video's frames are then laid end to end, since each query attends by itself. The
result is that of repeating the tokens, with 1/F of the projections and no copies.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from einops import rearrange
from torch import Tensor

_Network = TypeVar("_Network", UNet2DConditionModel, ControlNetModel)


class SharedTokensProcessor:
    """Attention processor for the layers of an SD1.x UNet or ControlNet."""

    def __call__(
        self,
        attn: Any,  # diffusers' Attention
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **unused: Any,
    ) -> Tensor:
        """Attend.

        Args:
            attn: the layer.
            hidden_states: [B*F, HW, C].
            encoder_hidden_states: tokens to read, [B, L, D] or [B*F, L, D].
            attention_mask: [B*F, HW, L] float, added to the logits; None adds nothing.
            temb: argument of diffusers' interface, not read.
            unused: further arguments of diffusers' interface, not read.

        Returns:
            [B*F, HW, C].

        Raises:
            ValueError: the batch is not a multiple of the tokens'.
        """
        tokens = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        batch, rows = hidden_states.shape[0], tokens.shape[0]
        if batch % rows:
            raise ValueError(
                f"attention: got {batch} pictures, {rows} rows of tokens to read; expected a whole number of pictures "
                "per row; give one row per video or per frame."
            )
        frames = batch // rows
        query = rearrange(attn.to_q(hidden_states), "(b f) l (h d) -> b h (f l) d", f=frames, h=attn.heads)
        key = rearrange(attn.to_k(tokens), "b l (h d) -> b h l d", h=attn.heads)
        value = rearrange(attn.to_v(tokens), "b l (h d) -> b h l d", h=attn.heads)
        if attention_mask is not None:
            attention_mask = rearrange(attention_mask, "(b f) l s -> b 1 (f l) s", f=frames)
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, attention_mask)
        mixed = rearrange(mixed, "b h (f l) d -> (b f) l (h d)", f=frames)
        return attn.to_out[1](attn.to_out[0](mixed))


def share_tokens(network: _Network) -> _Network:
    """Give every attention of a new UNet or ControlNet the shared projection; returns the same network."""
    network.set_attn_processor(SharedTokensProcessor())  # type: ignore[arg-type]
    return network
