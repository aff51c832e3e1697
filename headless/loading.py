"""Build a model, a text encoder and an autoencoder from one LDM checkpoint. Sizes come from the tensors; no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..models.architecture import SD15, ModelSize, TextSize, UNetSize, VAESize
from ..models.errors import CheckpointError
from ..models.schedules import BetaSchedule
from ..models.weight_file import open_weights
from .keys import TEXT_PREFIX, UNET_PREFIX, VAE_PREFIX, unet_from_ldm, vae_from_ldm
from .model import CLIP, VAE, Model
from .networks import build_text, build_unet, build_vae
from .prompt import Tokenizer
from .shared_attention import share_tokens
from .sigmas import Sampling


@torch.inference_mode(False)  # weights made in inference mode could never be trained through
def load_checkpoint(
    path: Path, tokenizer: Tokenizer, device: torch.device, size: ModelSize | None = None
) -> tuple[Model, CLIP, VAE]:
    """Load a checkpoint of the SD1.x family.

    Args:
        path: ``.safetensors``, or a pickle of plain tensors.
        tokenizer: its vocabulary.
        device: where to put it. Half precision on an accelerator, float32 on the CPU; text and VAE always float32.
        size: of the model; None: SD1.5's, checked against the tensors.

    Raises:
        CheckpointError: it is not such a checkpoint.
    """
    file = open_weights(path)
    if f"{UNET_PREFIX}input_blocks.0.0.weight" not in file.shapes:
        shown = ", ".join(list(file.shapes)[:3])
        raise CheckpointError(
            f"{file.name}: holds no {UNET_PREFIX}* tensors (first: {shown}); expected a whole SD1.5 checkpoint; choose "
            "one that has UNet, text encoder and VAE in one file."
        )
    size = size or measure(file.name, file.shapes)
    state = file.load(key for key in file.shapes if key.startswith((UNET_PREFIX, VAE_PREFIX, TEXT_PREFIX)))
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    unet = share_tokens(build_unet(size.unet))
    fill(file.name, unet, unet_from_ldm(_part(state, UNET_PREFIX), size.unet), device, dtype)
    vae = build_vae(size.vae)
    vae_keys = {key for key in _part(state, VAE_PREFIX) if not key.startswith(("loss.", "model_ema."))}
    vae_state = {key: value for key, value in _part(state, VAE_PREFIX).items() if key in vae_keys}
    fill(file.name, vae, vae_from_ldm(vae_state, size.vae), device, torch.float32)
    text = build_text(size.text)
    fill(file.name, text, _text_state(text, _part(state, TEXT_PREFIX)), device, torch.float32)
    schedule = BetaSchedule("linear", size.beta_start, size.beta_end)
    prediction = "v" if size.prediction_type == "v" else "eps"
    return (
        Model(unet, size.unet, Sampling(prediction, schedule), size.latent_scale),
        CLIP(text, tokenizer),
        VAE(vae),
    )


def measure(name: str, shapes: Mapping[str, tuple[int, ...]]) -> ModelSize:
    """Read the sizes of an SD1.5-family checkpoint off its tensors.

    Widths may differ from SD1.5's (tests use narrow ones), and an instruct-pix2pix UNet has 8 input channels; topology,
    8 heads and eps prediction may not.

    Raises:
        CheckpointError: another architecture.
    """
    unet = {key[len(UNET_PREFIX) :]: shape for key, shape in shapes.items() if key.startswith(UNET_PREFIX)}
    vae = {key[len(VAE_PREFIX) :]: shape for key, shape in shapes.items() if key.startswith(VAE_PREFIX)}
    text = {key[len(TEXT_PREFIX) :].removeprefix("text_model."): shape for key, shape in shapes.items()
            if key.startswith(TEXT_PREFIX)}  # fmt: skip
    try:
        width, channels = unet["input_blocks.0.0.weight"][:2]
        context = unet["middle_block.1.transformer_blocks.0.attn2.to_k.weight"][1]
        ends = [unet[f"input_blocks.{block}.0.out_layers.3.weight"][0] for block in (1, 4, 7, 10)]
        unet_size = UNetSize(
            width, tuple(each // width for each in ends), context, num_heads=8, in_channels=channels
        )
        base = vae["encoder.conv_in.weight"][0]
        levels = [vae[f"encoder.down.{level}.block.0.conv2.weight"][0] for level in range(4)]
        blocks = sum(f"encoder.down.0.block.{index}.conv2.weight" in vae for index in range(4))
        vae_size = VAESize(base, tuple(each // base for each in levels), blocks)
        vocabulary, hidden = text["embeddings.token_embedding.weight"]
        layers = sum(f"encoder.layers.{index}.layer_norm1.weight" in text for index in range(64))
        text_size = TextSize(vocabulary, hidden, layers, heads=max(1, hidden // 64))
    except KeyError as error:
        raise CheckpointError(
            f"{name}: lacks {error.args[0]}; expected a whole SD1.5 checkpoint (UNet, text encoder, VAE); SDXL, SD2 "
            "and later models are not built headless."
        ) from error
    if (
        channels not in (4, 8)
        or context != hidden
        or "input_blocks.12.0.in_layers.0.weight" in unet
        or "label_emb.0.0.weight" in unet
    ):
        raise CheckpointError(
            f"{name}: has {channels} input channels and text width {context} ({hidden} in its encoder); expected an "
            "SD1.5 checkpoint (4 and 768) or an instruct-pix2pix one (8 and 768); choose another file."
        )
    return ModelSize(unet_size, vae_size, text_size, SD15.prediction_type)


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def _text_state(text: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name a text encoder's tensors as this transformers release does: with ``text_model.`` or without."""
    nested = next(iter(text.state_dict())).startswith("text_model.")
    bare = {
        key.removeprefix("text_model."): value for key, value in state.items() if "position_ids" not in key
    }
    return {f"text_model.{key}" if nested else key: value for key, value in bare.items()}


def fill(
    name: str, network: nn.Module, state: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype
) -> None:
    """Load weights into a network and make it ready to run.

    Args:
        name: of the file, for messages.
        network: with weights of any values.
        state: by the network's names; what else is in it is left out.
        device: where to put it.
        dtype: of its weights.

    Raises:
        CheckpointError: a weight is missing or has another shape.
    """
    wanted = network.state_dict()
    wrong = [key for key, value in wanted.items() if key not in state or state[key].shape != value.shape]
    if wrong:
        got = tuple(state[wrong[0]].shape) if wrong[0] in state else "nothing"
        raise CheckpointError(
            f"{name}: {wrong[0]} is {got} ({len(wrong)} of {len(wanted)} tensors of {type(network).__name__} are "
            f"missing or misshapen); expected {tuple(wanted[wrong[0]].shape)}; download it again, or choose one for "
            "SD1.5."
        )
    network.load_state_dict({key: state[key].to(device, dtype, copy=True) for key in wanted}, assign=True)
    network.to(device).requires_grad_(False).eval()
