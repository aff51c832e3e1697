"""Cross-attention that projects a prompt once, not once a frame.

A clip's frames share a prompt, so the keys and values of the text are the same for all of them. Tokens come in with
one row per condition instead of one per frame; queries of a condition's frames are then laid end to end, since each
query attends by itself. The result is that of repeating the tokens, with 1/F of the text's projections and no copies.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from einops import rearrange
from torch import Tensor

_Network = TypeVar("_Network", UNet2DConditionModel, ControlNetModel)


class SharedTextProcessor:
    """Attention processor for the ``attn2`` layers of an SD1.x UNet."""

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
            encoder_hidden_states: [B, L, D] or [B*F, L, D].
            attention_mask: must be None.
            temb: not read.
            unused: further arguments of diffusers' interface, not read.

        Returns:
            [B*F, HW, C].

        Raises:
            ValueError: there is a mask, or the batch is not a multiple of the tokens'.
        """
        tokens = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        batch, rows = hidden_states.shape[0], tokens.shape[0]
        if attention_mask is not None or batch % rows:
            raise ValueError(
                f"cross-attention: got {batch} pictures, {rows} rows of text, mask={attention_mask is not None}; "
                "expected a whole number of pictures per row and no mask; give one row per condition or per frame."
            )
        frames = batch // rows
        query = rearrange(attn.to_q(hidden_states), "(b f) l (h d) -> b h (f l) d", f=frames, h=attn.heads)
        key = rearrange(attn.to_k(tokens), "b l (h d) -> b h l d", h=attn.heads)
        value = rearrange(attn.to_v(tokens), "b l (h d) -> b h l d", h=attn.heads)
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        mixed = rearrange(mixed, "b h (f l) d -> (b f) l (h d)", f=frames)
        return attn.to_out[1](attn.to_out[0](mixed))


def share_text(network: _Network) -> _Network:
    """Give every cross-attention of a new UNet or ControlNet the shared projection; returns the same network."""
    shared = SharedTextProcessor()
    processors: dict[str, Any] = {
        name: shared if ".attn2." in name else processor
        for name, processor in network.attn_processors.items()
    }
    network.set_attn_processor(processors)
    return network
