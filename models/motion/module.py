"""AnimateDiff's motion module: temporal transformers that run after the spatial blocks of a frozen UNet.

Of a layer's features x [B*F, C, H, W], every place (h, w) of a video is a sequence of F tokens of its own:

    z = W_in norm(x);    z <- z + A(LN(z) + P) twice;    z <- z + FF(LN(z));    x <- x + strength W_out z

with A self-attention over the F frames, FF a gated feed-forward, and P sinusoids of a frame's number f, sine at channel
c = 0, 2, ... and cosine at c + 1: sin(f / 10000^(c / C)), cos(f / 10000^(c / C)).

Owns the network and its key layout; not files (``motion_checkpoint``) nor where a host runs it (``edit``).

Source: AnimateDiff (Guo et al. 2023), https://arxiv.org/abs/2307.04725, section 4.2 and appendix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from einops import rearrange
from torch import Tensor, nn

from ..edits.edit import Time
from ..network.layers import Attend, FeedForward, attend, positional_encoding
from ..network.unet import SD1, UNetSize
from ..video.frames import frames_to_tokens, tokens_to_frames
from .image_encoder import ImageEncoder
from .mask_adapter import MaskEncoder
from .mixing import ALL_FRAMES, PLAIN, VIEW_NUMBERS, Mixing

NormScope = Literal["frame", "clip"]


@dataclass(frozen=True, slots=True)
class MotionSize:
    """Sizes of a motion module.

    Attributes:
        channels: width of each slot it has, by slot name.
        max_frames: frames its positional encoding holds.
        heads: attention heads; AnimateDiff's files do not store it and it is 8 in all of them.
        blocks: transformer blocks a slot.
        attentions: self-attentions a block.
        mask_encoder: True where it has one, as wide as the first slot and so as the UNet's first convolution.
        picture_encoder: True where it has PIA's, of the same width.
        image_encoder: True where it has AnimateLCM-I2V's, as wide as the slots on the way down.
        norm_scope: scope of its transformers' norms: each frame, or the clip, as AnimateDiff-SDXL's were trained.
        camera: True where its blocks have MotionCtrl's projections, which read a camera.
    """

    channels: Mapping[str, int]
    max_frames: int = 32
    heads: int = 8
    blocks: int = 1
    attentions: int = 2
    mask_encoder: bool = False
    # Their weights are in keys of finished work.
    picture_encoder: bool = field(default=False, compare=False)
    image_encoder: bool = field(default=False, compare=False)
    norm_scope: NormScope = field(default="frame", compare=False)
    camera: bool = field(default=False, compare=False)

    @property
    def stem(self) -> int:
        """Width of the UNet's first convolution."""
        return self.channels["down_blocks.0.motion_modules.0"]

    @property
    def way_down(self) -> tuple[int, ...]:
        """Width of each level of the UNet's way down."""
        return tuple(self.channels[f"down_blocks.{level}.motion_modules.1"] for level in SD1.levels)


def motion_size(unet: UNetSize, *, middle: bool = False) -> MotionSize:
    """Return AnimateDiff's sizes for a UNet: v3's, or v2's with the middle slot."""
    return MotionSize(
        {slot: width for slot, width in unet.slots.items() if middle or not slot.startswith("mid_block")}
    )


class PositionalEncoding(nn.Module):
    """Holds the buffer under the key that AnimateDiff's files use.

    Attributes:
        frame_ids: [F] long. Numbers of a clip's frames, where they are not the first ones in a row.
    """

    pe: Tensor

    def __init__(self, length: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("pe", positional_encoding(length, channels))
        self.frame_ids: Tensor | None = None

    def forward(self, frames: int) -> Tensor:
        """Return the encodings of a clip's frames, [1, F, C]."""
        return self.pe[:, :frames] if self.frame_ids is None else self.pe[:, self.frame_ids]


class TemporalAttention(nn.Module):
    """Self-attention over time. The encoding is added to the normalised input, so it enters q, k and v.

    Shape:
        [N, F, C] -> [N, F, C].

    State:
        to_q, to_k, to_v (no bias), to_out.0, pos_encoder.pe.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        max_frames: int,
        operations: Any,
        attend: Attend,
        **factory: Any,
    ) -> None:
        super().__init__()
        self.heads, self.attend = heads, attend
        self.to_q = operations.Linear(channels, channels, bias=False, **factory)
        self.to_k = operations.Linear(channels, channels, bias=False, **factory)
        self.to_v = operations.Linear(channels, channels, bias=False, **factory)
        self.to_out = nn.ModuleList([operations.Linear(channels, channels, **factory)])
        self.pos_encoder = PositionalEncoding(max_frames, channels)

    def forward(self, tokens: Tensor, mixing: Mixing = PLAIN) -> Tensor:
        """Attend over the frame axis, or within windows of it, as ``mixing`` says."""
        frames, time = tokens.shape[1], mixing.time
        if time is None or not time.is_needed(frames):
            answer = self._attend(tokens, slice(frames), mixing)
        elif mixing.tells_frames_apart:
            answer = time.fuse(tokens, lambda window: self._attend(tokens[:, window], window, mixing))
        else:
            answer = self._attend_in_windows(tokens, time, mixing)
        return mixing.apply(self.to_out[0], answer)

    def _attend(self, tokens: Tensor, frames: slice, mixing: Mixing) -> Tensor:
        tokens = tokens + self.pos_encoder(tokens.shape[1]).to(tokens)
        for each in mixing.merges:
            tokens = each.merge(tokens, frames)
        return self.attend(*self._project(tokens, frames, mixing), self.heads)

    def _attend_in_windows(self, tokens: Tensor, time: Time, mixing: Mixing) -> Tensor:
        """Project frames once, and positions once: projections are linear, so their sum is that of the sum.

        That holds where a layer is the same for all frames: a window's place is not one frame.
        """
        whole = self._project(tokens, ALL_FRAMES, mixing)
        places = self._project(self.pos_encoder.pe[:, : time.length].to(tokens), ALL_FRAMES, mixing)

        def attend(window: slice) -> Tensor:
            query, key, value = (part[:, window] + place for part, place in zip(whole, places, strict=True))
            return self.attend(query, key, value, self.heads)

        return time.fuse(tokens, attend)

    def _project(self, tokens: Tensor, frames: slice, mixing: Mixing) -> tuple[Tensor, Tensor, Tensor]:
        layers = (self.to_q, self.to_k, self.to_v)
        query, key, value = (mixing.apply(layer, tokens, frames) for layer in layers)
        if isinstance(mixing.scale, Tensor):
            return query, mixing.scale[frames, None] * key, value
        return query if mixing.scale == 1 else mixing.scale * query, key, value


class TemporalBlock(nn.Module):
    """Pre-norm attentions over time, then a gated feed-forward.

    Shape:
        [N, F, C] -> [N, F, C].

    State:
        attention_blocks.{i}, norms.{i}, ff, ff_norm; cc_projection where it reads a camera.
    """

    cc_projection: nn.Module | None

    def __init__(
        self,
        channels: int,
        size: MotionSize,
        operations: Any,
        attend: Attend,
        **factory: Any,
    ) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(
            TemporalAttention(channels, size.heads, size.max_frames, operations, attend, **factory)
            for _ in range(size.attentions)
        )
        self.norms = nn.ModuleList(operations.LayerNorm(channels, **factory) for _ in range(size.attentions))
        self.ff = FeedForward(channels, operations, **factory)
        self.ff_norm = operations.LayerNorm(channels, **factory)
        read = channels + VIEW_NUMBERS
        self.cc_projection = operations.Linear(read, channels, **factory) if size.camera else None

    def forward(self, tokens: Tensor, mixing: Mixing = PLAIN) -> Tensor:
        """Mix over time, as ``mixing`` says."""
        last = self.attention_blocks[-1]
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            if attention is last and self.cc_projection is not None:
                tokens = self.cc_projection(mixing.beside_views(tokens))
            tokens = tokens + attention(norm(tokens), mixing)
            mixing = mixing.after_first()
        return tokens + self.ff(self.ff_norm(tokens), mixing.apply)


class TemporalTransformer(nn.Module):
    """One slot's module: norm, in, blocks over time, out; what it returns is added to its input.

    Shape:
        [B*F, C, H, W] -> [B*F, C, H, W].

    State:
        norm, proj_in, transformer_blocks.{i}, proj_out.
    """

    def __init__(
        self,
        channels: int,
        size: MotionSize,
        *,
        norm_scope: NormScope = "frame",
        operations: Any = nn,
        attend: Attend = attend,
        **factory: Any,
    ) -> None:
        """Build the layers.

        Args:
            channels: C, a multiple of 32 and of the heads.
            size: sizes of the whole module.
            norm_scope: ``frame`` normalises each frame by itself, as AnimateDiff's weights were trained; ``clip``
                shares statistics over all frames, as diffusers does.
            operations: namespace with Linear, LayerNorm, GroupNorm.
            attend: attention function.
            factory: ``dtype`` and ``device`` for the layers.
        """
        super().__init__()
        self.norm_scope = norm_scope
        self.max_frames = size.max_frames
        self.norm = operations.GroupNorm(32, channels, eps=1e-6, **factory)
        self.proj_in = operations.Linear(channels, channels, **factory)
        self.transformer_blocks = nn.ModuleList(
            TemporalBlock(channels, size, operations, attend, **factory) for _ in range(size.blocks)
        )
        self.proj_out = operations.Linear(channels, channels, **factory)

    def forward(self, hidden: Tensor, frames: int, mixing: Mixing = PLAIN, rows: int = 0) -> Tensor:
        """Return what mixing over time at every place adds to a clip.

        Args:
            hidden: [B*F, C, H, W] float.
            frames: frames per video.
            mixing: work of the layers in this call.
            rows: rows of places that are worked out at a time, for less memory and no gradient; 0: all.

        Returns:
            [B*F, C, H, W], newly allocated.

        Raises:
            ValueError: attention is to go over more frames than the positional encoding holds, or there is no whole
                number of videos.
        """
        self._check_length(frames, mixing.time)
        if self.norm_scope == "frame":
            normal = self.norm(hidden)
        else:
            clip = rearrange(hidden, "(b f) c h w -> b c f h w", f=frames)
            normal = rearrange(self.norm(clip), "b c f h w -> (b f) c h w")
        if rows == 0:
            return self._mix(normal, frames, mixing)
        for first, few in zip(range(0, normal.shape[2], rows), normal.split(rows, dim=2), strict=True):
            few.copy_(self._mix(few, frames, mixing.rows(slice(first, first + rows))))
        return normal

    def _mix(self, normal: Tensor, frames: int, mixing: Mixing) -> Tensor:
        tokens = mixing.apply(self.proj_in, frames_to_tokens(normal, frames))
        for block in self.transformer_blocks:
            tokens = block(tokens, mixing)
            mixing = mixing.after_first()
        return tokens_to_frames(mixing.apply(self.proj_out, tokens), *normal.shape[-2:])

    def _check_length(self, frames: int, time: Time | None) -> None:
        longest = self.max_frames
        if time is not None and time.is_needed(frames):
            if time.length > longest:
                raise ValueError(
                    f"window_length={time.length} is more than the {longest} frames that the motion module's "
                    f"positional encoding holds; expected at most {longest}; lower Free Noise's window_length."
                )
        elif frames > longest:
            raise ValueError(
                f"frames={frames} is more than the {longest} that the motion module's positional encoding holds; "
                f"expected at most {longest} at once; lower batch_size, or Nuwa Plan's length, to {longest}, or add "
                f"Frameloom's Context Windows or Free Noise of {longest} frames or fewer."
            )


class MotionModel(nn.Module):
    """All temporal transformers of one motion module, keyed as AnimateDiff's files.

    State:
        {slot}.temporal_transformer.*, slots as in ``network.unet.SD1``; mask_encoder.*, picture_encoder.* and
        img_encoder.* where it has them.
    """

    mask_encoder: MaskEncoder | None
    picture_encoder: MaskEncoder | None
    img_encoder: ImageEncoder | None

    def __init__(self, size: MotionSize, **options: Any) -> None:
        """Build every slot in ``size.channels``; ValueError for an unknown one. Options: as ``TemporalTransformer``."""
        super().__init__()
        unknown = sorted(set(size.channels) - set(SD1.slots))  # SDXL's are some of these
        if unknown:
            raise ValueError(
                f"slot {unknown[0]!r} is not one of SD1.x's; expected names like {next(iter(SD1.slots))!r}."
            )
        self.size = size
        options = {"norm_scope": size.norm_scope, **options}
        self.down_blocks = nn.ModuleList(self._level(f"down_blocks.{level}", options) for level in SD1.levels)
        self.up_blocks = nn.ModuleList(self._level(f"up_blocks.{level}", options) for level in SD1.levels)
        if any(slot.startswith("mid_block") for slot in size.channels):
            self.mid_block = self._level("mid_block", options)
        layers = {name: value for name, value in options.items() if name not in ("norm_scope", "attend")}
        self.mask_encoder = MaskEncoder(size.stem, **layers) if size.mask_encoder else None
        self.picture_encoder = MaskEncoder(size.stem, **layers) if size.picture_encoder else None
        self.img_encoder = ImageEncoder(size.way_down, **layers) if size.image_encoder else None

    def _level(self, name: str, options: Mapping[str, Any]) -> nn.ModuleDict:
        """Build a level's slots, under AnimateDiff's keys."""
        transformers = [
            TemporalTransformer(self.size.channels[slot], self.size, **options)
            for slot in self.slots
            if slot.startswith(f"{name}.")
        ]
        slots = nn.ModuleList(nn.ModuleDict({"temporal_transformer": each}) for each in transformers)
        return nn.ModuleDict({"motion_modules": slots})

    def number_frames(self, frame_ids: Tensor | None) -> None:
        """Say which frames of a longer clip the next ones are.

        Args:
            frame_ids: [F] long, rising; None: the first ones, in a row.
        """
        for module in self.modules():
            if isinstance(module, PositionalEncoding):
                module.frame_ids = frame_ids

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots it has, in the order the UNet runs them."""
        return tuple(name for name in SD1.slots if name in self.size.channels)

    def transformer(self, slot: str) -> TemporalTransformer:
        """Return one slot's transformer."""
        return cast("TemporalTransformer", self.get_submodule(f"{slot}.temporal_transformer"))

    def forward(
        self,
        slot: str,
        hidden: Tensor,
        frames: int,
        strength: float | Tensor = 1.0,
        mixing: Mixing = PLAIN,
        rows: int = 0,
    ) -> Tensor:
        """Run one slot.

        Args:
            slot: name of the slot.
            hidden: [B*F, C, H, W] float.
            frames: frames per video.
            strength: factor on the module's change, or factors [B*F, 1, H or 1, W or 1]; at 0 the input itself is
                returned.
            mixing: work of the layers in this call.
            rows: rows of places that are worked out at a time, for less memory and no gradient; 0: all.

        Returns:
            [B*F, C, H, W].
        """
        number = None if isinstance(strength, Tensor) else strength
        if number == 0:
            return hidden
        change = self.transformer(slot)(hidden, frames, mixing, rows)
        if rows:
            return (change if number == 1 else change.mul_(strength)).add_(hidden)
        return hidden + change if number == 1 else hidden + strength * change


def initialise(model: MotionModel) -> None:
    """Zero every output projection, and a mask encoder, so that training starts from the frozen model itself."""
    with torch.no_grad():
        for slot in model.slots:
            output = model.transformer(slot).proj_out
            output.weight.zero_()
            output.bias.zero_()
        if model.mask_encoder is not None:
            model.mask_encoder.conv.weight.zero_()
