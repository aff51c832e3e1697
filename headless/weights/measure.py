"""Read the sizes of a checkpoint off its tensors' shapes: Stable Diffusion 1.x's family, and SDXL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from ...models.errors import CheckpointError
from ...models.files.weight_file import WeightFile, find_nearest
from ...models.network.sizes import SD15, SDXL, ModelSize, TextSize, VAESize
from ...models.network.unet import UNetSize
from .keys import OPEN_CLIP_PREFIX, SDXL_TEXT_PREFIX, TEXT_PREFIX, UNET_PREFIX, VAE_PREFIX
from .networks import added_width

WANTED = "a whole SD1.5 or SDXL checkpoint"
NESTED = "text_model."
"""Some releases of transformers have it before a text encoder's names, and so have some files."""
_HEAD = 64
"""Width of an attention head in SDXL's UNet, and in every text encoder here."""
_LABEL = f"{UNET_PREFIX}label_emb.0.0.weight"

# Transformer blocks on the way down of models that have SDXL's keys and fewer layers.
_SMALLER = {
    (0, 0, 2, 2, 4, 4): "SSD-1B",
    (0, 0, 1, 1, 2, 2): "Segmind-Vega",
    (0, 2, 5): "KOALA-700M",
    (0, 2, 6): "KOALA-1B",
}
# Keys without weights by which ComfyUI knows how a model of SDXL's was trained.
_V, _ZERO_SNR = "v_pred", "ztsnr"
_EDM = {
    "edm_mean": "Playground v2.5 (EDM)",
    "edm_vpred.sigma_max": "CosXL, or another of SDXL's kin of EDM's v-prediction",
}

Strays = Callable[[], Iterable[str]]
Shape = Callable[[str, int], tuple[int, ...]]


def find_shape(file: WeightFile, key: str, rank: int, wanted: str, strays: Strays) -> tuple[int, ...]:
    """Return the shape of a tensor by which a network's size is told.

    Args:
        file: the weight file.
        key: the tensor's name in the file.
        rank: number of dimensions that it must have.
        wanted: kind of file that it should be, in words.
        strays: function that returns the file's keys that belong to nothing; one may be the key misspelt.

    Raises:
        CheckpointError: the tensor is missing, has another number of dimensions, or is empty.
    """
    found = file.shapes.get(key)
    if found is None or len(found) != rank or 0 in found:
        what = f"lacks {key}{find_nearest(key, strays())}" if found is None else f"{key} is {found}"
        raise CheckpointError(
            f"{file.name}: {what}; expected {wanted}, with {rank} dimensions there; SD2 and later models, and "
            "ControlNets for SDXL, are not built headless."
        )
    return found


def is_sdxl(file: WeightFile) -> bool:
    """Tell whether a checkpoint's UNet reads pooled text, as SDXL's does."""
    return _LABEL in file.shapes or any(key.startswith(SDXL_TEXT_PREFIX) for key in file.shapes)


def text_prefix(file: WeightFile) -> str:
    """Return what stands before the names of the smaller text encoder, or of the only one."""
    prefix = SDXL_TEXT_PREFIX if is_sdxl(file) else TEXT_PREFIX
    nested = prefix + NESTED
    return nested if any(key.startswith(nested) for key in file.shapes) else prefix


def measure(file: WeightFile, strays: Strays) -> ModelSize:
    """Read the sizes of a checkpoint off its tensors' shapes.

    Widths may differ from SD1.5's and SDXL's (tests use narrow ones), so may the depths of SDXL's transformers, and an
    instruct-pix2pix UNet has 8 input channels; topology and heads may not.

    Args:
        file: the checkpoint.
        strays: function that returns its keys that belong to nothing.

    Raises:
        CheckpointError: another architecture.
    """
    wanted = "SDXL checkpoint (UNet, both text encoders, VAE)"
    wanted = f"a whole {wanted if is_sdxl(file) else 'SD1.5 checkpoint (UNet, text encoder, VAE)'}"
    shape = partial(find_shape, file, wanted=wanted, strays=strays)
    size = (_measure_sdxl if is_sdxl(file) else _measure_sd1)(file, shape)
    text = [each.hidden_size for each in (size.text, size.text_g) if each]
    odd = next((each for each in (*size.unet.widths, *size.vae.widths) if each % 32), 0)
    odd = odd or next((each for each in text if each % _HEAD), 0)
    if odd:
        raise CheckpointError(
            f"{file.name}: a layer is {odd} wide; expected widths that its 32 groups, or its heads, divide, as in "
            f"{wanted}; download it again, or choose another file."
        )
    return size


def _measure_sd1(file: WeightFile, shape: Shape) -> ModelSize:
    width, channels = shape(f"{UNET_PREFIX}input_blocks.0.0.weight", 4)[:2]
    context = shape(f"{UNET_PREFIX}middle_block.1.transformer_blocks.0.attn2.to_k.weight", 2)[1]
    ends = _ends(shape, (1, 4, 7, 10))
    vae, text = _measure_vae(file, shape), _measure_clip(file, shape)
    if channels not in (4, 8) or context != text.hidden_size or _has(file, "input_blocks.12.0.in_layers.0"):
        raise CheckpointError(
            f"{file.name}: has {channels} input channels and text width {context} ({text.hidden_size} in its encoder); "
            "expected an SD1.5 checkpoint (4 and 768) or an instruct-pix2pix one (8 and 768); choose another file."
        )
    mults = tuple(each // width for each in ends)
    return ModelSize(
        UNetSize(width, mults, context, num_heads=8, in_channels=channels), vae, text, SD15.prediction_type
    )


def _measure_sdxl(file: WeightFile, shape: Shape) -> ModelSize:
    _refuse_kin(file)
    width, channels = shape(f"{UNET_PREFIX}input_blocks.0.0.weight", 4)[:2]
    context = shape(f"{UNET_PREFIX}middle_block.1.transformer_blocks.0.attn2.to_k.weight", 2)[1]
    added = shape(_LABEL, 2)[1]
    ends = _ends(shape, (1, 4, 7))
    vae, text, text_g = _measure_vae(file, shape), _measure_clip(file, shape), _measure_open_clip(file, shape)
    texts = text.hidden_size, text_g.hidden_size
    if channels != 4 or context != sum(texts) or added != added_width(texts[1]):
        raise CheckpointError(
            f"{file.name}: has {channels} input channels, text width {context} and {added} numbers beside it, with "
            f"encoders of {texts[0]} and {texts[1]}; expected SDXL (4, 2048 and 2816, with 768 and 1280), or one as "
            "wide as its encoders together; choose another file."
        )
    unet = UNetSize(
        width,
        tuple(each // width for each in ends),
        context,
        num_heads=tuple(max(1, each // _HEAD) for each in ends),
        depths=tuple(_depth(file, f"input_blocks.{block}") for block in (1, 4, 7)),
        middle_depth=_depth(file, "middle_block"),
    )
    size = replace(SDXL, unet=unet, vae=vae, text=text, text_g=text_g)
    if _V in file.shapes:
        size = replace(size, prediction_type="v", is_zero_snr=_ZERO_SNR in file.shapes)
    return size


def _refuse_kin(file: WeightFile) -> None:
    """Raise for models that have SDXL's keys, and are not built headless."""
    blocks = [block for block in range(1, 9) if _has(file, f"input_blocks.{block}.0.in_layers.0")]
    kin = _SMALLER.get(tuple(_depth(file, f"input_blocks.{block}") for block in blocks))
    kin = kin or next((name for key, name in _EDM.items() if key in file.shapes), None)
    if kin is not None:
        raise CheckpointError(
            f"{file.name} is {kin}, which is not built headless; expected {WANTED}; run the workflow in ComfyUI, or "
            "choose a checkpoint of SDXL itself."
        )


def _has(file: WeightFile, module: str) -> bool:
    return f"{UNET_PREFIX}{module}.weight" in file.shapes


def _depth(file: WeightFile, block: str) -> int:
    """Return how many transformer blocks a block of the UNet has."""
    return sum(_has(file, f"{block}.1.transformer_blocks.{index}.norm1") for index in range(64))


def _ends(shape: Shape, blocks: Iterable[int]) -> list[int]:
    """Return the width of each level, told by the first residual block of each."""
    return [shape(f"{UNET_PREFIX}input_blocks.{block}.0.out_layers.3.weight", 4)[0] for block in blocks]


def _measure_vae(file: WeightFile, shape: Shape) -> VAESize:
    base = shape(f"{VAE_PREFIX}encoder.conv_in.weight", 4)[0]
    levels = [shape(f"{VAE_PREFIX}encoder.down.{level}.block.0.conv2.weight", 4)[0] for level in range(4)]
    keys = (f"{VAE_PREFIX}encoder.down.0.block.{index}.conv2.weight" for index in range(4))
    return VAESize(base, tuple(each // base for each in levels), sum(key in file.shapes for key in keys))


def _measure_clip(file: WeightFile, shape: Shape) -> TextSize:
    prefix = text_prefix(file)
    vocabulary, hidden = shape(f"{prefix}embeddings.token_embedding.weight", 2)
    layers = sum(f"{prefix}encoder.layers.{index}.layer_norm1.weight" in file.shapes for index in range(64))
    return TextSize(vocabulary, hidden, layers, max(1, hidden // _HEAD))


def _measure_open_clip(file: WeightFile, shape: Shape) -> TextSize:
    vocabulary, hidden = shape(f"{OPEN_CLIP_PREFIX}token_embedding.weight", 2)
    keys = (f"{OPEN_CLIP_PREFIX}transformer.resblocks.{index}.ln_1.weight" for index in range(64))
    layers = sum(key in file.shapes for key in keys)
    return TextSize(vocabulary, hidden, layers, max(1, hidden // _HEAD), is_open_clip=True)
