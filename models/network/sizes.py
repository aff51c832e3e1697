"""The sizes of a model of Stable Diffusion 1.x's or SDXL's shape, in LDM's terms, as plain data.

Both hosts build their own networks from these; nothing here knows diffusers or ComfyUI.
"""

from __future__ import annotations

from dataclasses import dataclass

from .unet import SD1, UNetSize
from .unet import SDXL as SDXL_UNET


@dataclass(frozen=True)
class VAESize:
    """Sizes of the autoencoder, as LDM's ``ddconfig`` has them; four levels halve the picture three times."""

    ch: int
    ch_mult: tuple[int, ...]
    num_res_blocks: int
    z_channels: int = 4

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.ch * mult for mult in self.ch_mult)


@dataclass(frozen=True)
class TextSize:
    """Sizes of a CLIP text encoder. ``vocabulary`` counts tokens; the last two are start and end of text."""

    vocabulary: int
    hidden_size: int
    layers: int
    heads: int
    max_tokens: int = 77
    is_open_clip: bool = (
        False  # True: OpenCLIP's, with a projection behind its pooled text, filled up with token 0
    )

    @property
    def start_token(self) -> int:
        """Id of start of text."""
        return self.vocabulary - 2

    @property
    def end_token(self) -> int:
        """Id of end of text, which also pads, but for OpenCLIP's."""
        return self.vocabulary - 1


@dataclass(frozen=True)
class ModelSize:
    """A whole model and how it was trained.

    Its betas are LDM's "linear" schedule, which is linear in the square root (diffusers' ``scaled_linear``).
    """

    unet: UNetSize
    vae: VAESize
    text: TextSize
    prediction_type: str  # eps or v
    text_g: TextSize | None = None  # SDXL's second text encoder, OpenCLIP's; its pooled text is read too
    is_zero_snr: bool = False  # True: its betas are moved so that the last timestep has no signal
    beta_start: float = 0.00085
    beta_end: float = 0.012
    latent_scale: float = 0.18215  # factor on the VAE's latents


@dataclass(frozen=True)
class VideoSize:
    """Sizes of a Wan 2.1 transformer and of its autoencoder, whose topology is fixed.

    Attributes:
        heads, head_width: heads of attention, and the width of each; their product is the transformer's width.
        layers, hidden: number of blocks, and the width of their feed-forward layers.
        text_width: width of a token of the prompt.
        frequencies: width of the timestep's embedding.
        in_channels: 16 of the noisy clip, 4 of a mask and 16 of frames that are given.
        vae_width: channels of the autoencoder's first level; the next ones have 2, 4 and 4 times as many.
    """

    heads: int
    head_width: int
    layers: int
    hidden: int
    text_width: int
    frequencies: int
    vae_width: int
    in_channels: int = 36
    latent_channels: int = 16

    @property
    def width(self) -> int:
        """Width of a token of the clip."""
        return self.heads * self.head_width


SD15 = ModelSize(
    unet=SD1,
    vae=VAESize(ch=128, ch_mult=(1, 2, 4, 4), num_res_blocks=2),
    text=TextSize(vocabulary=49408, hidden_size=768, layers=12, heads=12),
    prediction_type="eps",
)

SDXL = ModelSize(
    unet=SDXL_UNET,
    vae=SD15.vae,
    text=SD15.text,
    prediction_type="eps",
    text_g=TextSize(vocabulary=49408, hidden_size=1280, layers=32, heads=20, is_open_clip=True),
    latent_scale=0.13025,
)

# The bundled model of assets/demo. Trained in v prediction: at this size eps prediction fails at high noise.
DEMO = ModelSize(
    unet=UNetSize(model_channels=32, channel_mult=(1, 2, 2, 2), context_dim=64, num_heads=2),
    vae=VAESize(ch=32, ch_mult=(1, 1, 1, 2), num_res_blocks=1),
    text=TextSize(vocabulary=704, hidden_size=64, layers=2, heads=4),
    prediction_type="v",
)

# The video model of tools/train_demo_video.py. A token is one place of one latent frame: four of them hold 64 values of
# noise, which tokens as narrow as these could not carry through beside the clip.
DEMO_VIDEO = VideoSize(
    heads=2,
    head_width=32,
    layers=3,
    hidden=192,
    text_width=DEMO.text.hidden_size,
    frequencies=32,
    vae_width=4,
)
