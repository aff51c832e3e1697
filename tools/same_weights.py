"""Files of weights that ``same.py``'s graphs load beside the bundled ones, and of the bundled ones' sizes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

State = dict[str, Tensor]


def write_weights(bundled: Path, models: Path) -> None:
    """Write the files that graphs load beside the bundled ones, of the bundled ones' sizes.

    Args:
        bundled: folder of the demo model's files.
        models: a folder laid out as ComfyUI's ``models``.
    """
    model = load_file(bundled / "model.safetensors")
    motion = load_file(bundled / "motion.safetensors")
    files = {
        "animatediff_models/same_motion": _noisy(motion, 0.3),
        # Cut to 24 frames, and without metadata, this is a module of AnimateDiff v1, whose norms take a whole clip.
        "animatediff_models/same_v1": {
            key: value[:, :24].contiguous() if key.endswith(".pe") else value for key, value in motion.items()
        },
        "controlnet/same_control": _control(model),
        "gligen/same_gligen": _gligen(model, 0),
        "gligen/same_gligen_2": _gligen(model, 1),
        "loras/same_lora": _kohya(model),
    }
    for name, state in files.items():
        (models / name).parent.mkdir(parents=True, exist_ok=True)
        save_file(state, models / f"{name}.safetensors")


def _random(seed: int) -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) / max(1, shape[-1]) ** 0.5

    return draw


def _noisy(state: State, share: float) -> State:
    draw = _random(0)
    return {
        key: value
        if key.endswith(".pe")
        else (value.float() * (1 + share * draw(*value.shape, 1)[..., 0])).half()
        for key, value in state.items()
    }


_UNET = "model.diffusion_model."


def _control(model: State) -> State:
    """Return a ControlNet: the way down of the model's UNet, and random layers around it."""
    down = ("time_embed.", "input_blocks.", "middle_block.")
    state = {
        key.removeprefix(_UNET): value.float()
        for key, value in model.items()
        if key.removeprefix(_UNET).startswith(down)
    }
    draw = _random(1)

    def convolution(name: str, width_in: int, width_out: int, kernel: int) -> None:
        state[f"{name}.weight"] = draw(width_out, width_in, kernel, kernel) / 4
        state[f"{name}.bias"] = draw(width_out) / 4

    widths = [3, 16, 16, 32, 32, 96, 96, 256, state["input_blocks.0.0.weight"].shape[0]]
    for index, (width_in, width_out) in enumerate(pairwise(widths)):
        convolution(f"input_hint_block.{2 * index}", width_in, width_out, 3)
    blocks = sorted({int(key.split(".")[1]) for key in state if key.startswith("input_blocks.")})
    last = [f"input_blocks.{block}.0." for block in blocks]
    for block, start in zip(blocks, last, strict=True):
        ends = ("weight", "op.weight", "out_layers.3.weight")
        width = next(state[start + end].shape[0] for end in ends if start + end in state)
        convolution(f"zero_convs.{block}.0", width, width, 1)
    convolution("middle_block_out.0", width, width, 1)
    return state


def _gligen(model: State, seed: int, context: int = 768) -> State:
    """Return random layers of GLIGEN for every transformer of the model, open by their gates."""
    draw = _random(seed)
    norm = ".transformer_blocks.0.norm1.weight"
    places = [key.removeprefix(_UNET).removesuffix(norm) for key in model if key.endswith(norm)]
    text = model[f"{_UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight"].shape[1]
    state = {
        "position_net.null_positive_feature": draw(text) * 8,
        "position_net.null_position_feature": draw(64),
        "position_net.linears.0.weight": draw(512, text + 64),
        "position_net.linears.2.weight": draw(512, 512) * 2,
        "position_net.linears.4.weight": draw(context, 512) * 4,
    } | {
        f"position_net.linears.{layer}.bias": draw(size) for layer, size in ((0, 512), (2, 512), (4, context))
    }
    for place in places:
        width = model[f"{_UNET}{place}{norm}"].shape[0]
        layer = {
            "linear.weight": draw(width, context), "linear.bias": draw(width),
            **{f"attn.to_{name}.weight": draw(width, width) * 2 for name in "qkv"},
            "attn.to_out.0.weight": draw(width, width), "attn.to_out.0.bias": draw(width),
            "ff.net.0.proj.weight": draw(8 * width, width), "ff.net.0.proj.bias": draw(8 * width),
            "ff.net.2.weight": draw(width, 4 * width), "ff.net.2.bias": draw(width),
            **{f"norm{each}.weight": draw(width) + 1 for each in (1, 2)},
            **{f"norm{each}.bias": draw(width) for each in (1, 2)},
            "alpha_attn": torch.tensor(1.0), "alpha_dense": torch.tensor(0.3),
        }  # fmt: skip
        state |= {f"{place}.transformer_blocks.0.fuser.{name}": value for name, value in layer.items()}
    return {key: value.contiguous() for key, value in state.items()}


def _kohya(model: State) -> State:
    """Return a LoRA on every cross-attention's queries."""
    draw, end = _random(2), ".attn2.to_q.weight"
    state = {}
    for key in (key for key in model if key.startswith(_UNET) and key.endswith(end)):
        width_out, width_in = model[key].shape
        name = "lora_unet_" + key.removeprefix(_UNET).removesuffix(".weight").replace(".", "_")
        state[f"{name}.lora_down.weight"] = draw(2, width_in)
        state[f"{name}.lora_up.weight"] = draw(width_out, 2)
        state[f"{name}.alpha"] = torch.tensor(2.0)
    return state
