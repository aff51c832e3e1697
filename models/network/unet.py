"""The UNet of Stable Diffusion as one table: its blocks with their levels, widths, transformers and temporal slots.

Whoever counts blocks or levels asks this table, by the name that he has: diffusers' name of a module, ComfyUI's (LDM's)
number of a block, or AnimateDiff's name of a slot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

Block = tuple[str, int]
"""A block in LDM's numbers: ("input", 1 to 11), ("middle", 0) or ("output", 0 to 11), as ComfyUI tells patches."""


@dataclass(frozen=True)
class Place:
    """A residual block and the spatial transformer behind it, if any; behind both, a temporal slot."""

    part: str  # diffusers' name of the part of the UNet: ``down_blocks.0``, ``mid_block``, ``up_blocks.3``
    index: int  # place in that part, from 0
    block: Block
    level: int  # 0 is the finest; each further one halves both sides
    width: int  # channels that come out
    depth: int  # transformer blocks in the spatial transformer; 0: it has none

    @property
    def slot(self) -> str:
        """AnimateDiff's name of the temporal slot."""
        return f"{self.part}.motion_modules.{self.index}"

    @property
    def module(self) -> str:
        """Diffusers' name of the last module here: the spatial transformer, else the residual block."""
        return f"{self.part}.{'attentions' if self.depth else 'resnets'}.{self.index}"


@dataclass(frozen=True)
class Layer:
    """A transformer block: self-attention, cross-attention, feed-forward."""

    number: int  # place of its spatial transformer, from 0 in the order in which the UNet runs them
    depth: int  # place in that transformer
    place: Place  # block that holds that transformer

    @property
    def level(self) -> int:
        """Level of the UNet, 0 the finest."""
        return self.place.level

    @property
    def module(self) -> str:
        """Diffusers' name of the module."""
        return f"{self.place.module}.transformer_blocks.{self.depth}"

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of its tokens for latents of a size."""
        return layer_grid(size, self.level)


@dataclass(frozen=True)
class UNetSize:
    """Sizes of a denoising UNet, from which the table of its blocks follows."""

    model_channels: int  # width of the first level; every width is a multiple of 32 (GroupNorm's groups)
    channel_mult: tuple[int, ...]  # width of each level over ``model_channels``
    context_dim: int  # width of the text tokens
    num_heads: int | tuple[int, ...]  # attention heads of every spatial transformer, or of each level's
    depths: tuple[int, ...] = (1, 1, 1, 0)  # transformer blocks of each level's spatial transformers
    middle_depth: int = 1  # transformer blocks of the middle block, whose level is the last
    num_res_blocks: int = 2  # residual blocks a level on the way down; one more on the way up
    in_channels: int = 4  # twice as many where the UNet also sees a picture to edit (instruct-pix2pix)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.model_channels * mult for mult in self.channel_mult)

    @property
    def heads(self) -> tuple[int, ...]:
        """Attention heads of each level."""
        heads = self.num_heads
        return heads if isinstance(heads, tuple) else (heads,) * len(self.channel_mult)

    @property
    def levels(self) -> tuple[int, ...]:
        """Numbers of the levels, from the finest; the last is the middle block's too."""
        return tuple(range(len(self.channel_mult)))

    @property
    def attended(self) -> frozenset[int]:
        """Numbers of the levels that have transformers."""
        return frozenset(place.level for place in self.places if place.depth)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The residual blocks in the order in which the UNet runs them; the middle block's two are one place."""
        levels, last, blocks = self.levels, self.levels[-1], self.num_res_blocks
        # LDM counts the first convolution and the downsamplers as blocks of their own, but no upsampler.
        down = [
            (f"down_blocks.{level}", index, ("input", 1 + level * (blocks + 1) + index), level)
            for level in levels
            for index in range(blocks)
        ]
        up = [
            (f"up_blocks.{last - level}", index, ("output", (last - level) * (blocks + 1) + index), level)
            for level in reversed(levels)
            for index in range(blocks + 1)
        ]
        middle = Place("mid_block", 0, ("middle", 0), last, self.widths[-1], self.middle_depth)
        down, up = (
            [Place(*each, width=self.widths[each[3]], depth=self.depths[each[3]]) for each in way]
            for way in (down, up)
        )
        return (*down, middle, *up)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The transformer blocks in the order in which the UNet runs them."""
        transformers = [place for place in self.places if place.depth]
        return tuple(
            Layer(number, depth, place)
            for number, place in enumerate(transformers)
            for depth in range(place.depth)
        )

    @cached_property
    def slots(self) -> Mapping[str, int]:
        """The width of every temporal slot by its name, in the order in which the UNet runs them."""
        return {place.slot: place.width for place in self.places}

    @cached_property
    def _layers_by_block(self) -> Mapping[tuple[Block, int], Layer]:
        return {(layer.place.block, layer.depth): layer for layer in self.layers}

    def layer(self, block: Block, depth: int = 0) -> Layer:
        """Return a transformer block by LDM's block that holds it, and its number there.

        Raises:
            KeyError: there is none.
        """
        return self._layers_by_block[block, depth]


def check_levels(levels: Iterable[int], size: UNetSize, user: str) -> None:
    """Check that a network attends at one of some levels at least, if there are any.

    Raises:
        ValueError: it has transformers at others alone.
    """
    asked = sorted(levels)
    if asked and not size.attended.intersection(asked):
        raise ValueError(
            f"levels: {user} got {', '.join(map(str, asked))}; expected some of "
            f"{', '.join(map(str, sorted(size.attended)))}, at which this model attends; choose from these."
        )


def layer_grid(size: tuple[int, int], level: int) -> tuple[int, int]:
    """Return the grid of a UNet's level: every level below the finest halves the latents' sides, rounded up.

    Examples:
        >>> layer_grid((17, 64), 2)
        (5, 16)
    """
    height, width = size
    return -(-height // 2**level), -(-width // 2**level)


SD1 = UNetSize(model_channels=320, channel_mult=(1, 2, 4, 4), context_dim=768, num_heads=8)

# AnimateDiff's modules for SDXL have no layers in the middle slot: 6 slots on the way down, 9 on the way up.
SDXL = UNetSize(
    model_channels=320,
    channel_mult=(1, 2, 4),
    context_dim=2048,
    num_heads=(5, 10, 20),
    depths=(0, 2, 10),
    middle_depth=10,
)
