"""Files of the demo model's sizes and keys with random weights, for tests that must not wait for a trained model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from frameloom.headless.engine.denoise import sample
from frameloom.headless.engine.noise import draw_noise
from frameloom.headless.samplers.sigmas import schedule_sigmas
from frameloom.headless.samplers.table import find_sampler
from frameloom.headless.text.prompt import Tokenizer
from frameloom.headless.weights import keys
from frameloom.headless.weights.loading import load_checkpoint
from frameloom.headless.weights.networks import build_control, build_text, build_unet, build_vae
from frameloom.host.bundled import DEMO_TOKENIZER
from frameloom.models.motion.checkpoint import MotionWeights
from frameloom.models.motion.module import MotionModel, motion_size
from frameloom.models.network.sizes import DEMO, SD15, TextSize, VAESize
from frameloom.models.network.unet import UNetSize
from frameloom.models.training import Learner
from frameloom.tests.support.tensors import draw
from safetensors.torch import load_file, save_file

# SD1.5's topology, keys and 8 heads, narrow: what tells it apart from SD1.5 is width alone.
NARROW = replace(
    SD15,
    unet=UNetSize(model_channels=32, channel_mult=(1, 2, 4, 4), context_dim=64, num_heads=8),
    vae=VAESize(ch=32, ch_mult=(1, 2, 4, 4), num_res_blocks=2),
    text=TextSize(vocabulary=704, hidden_size=64, layers=2, heads=1),
)
CPU = torch.device("cpu")


def random_state(network, generator, scale=1.0):
    """Weights that let every input through: scaled by fan-in, norms near one."""
    state = {}
    for name, value in network.state_dict().items():
        if not value.is_floating_point() or "position_ids" in name:
            continue
        drawn = torch.randn(value.shape, generator=generator)
        if value.dim() > 1:
            state[name] = drawn * scale / value[0].numel() ** 0.5
        else:
            state[name] = drawn * 0.1 + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return state


def write_model(path: Path, size=DEMO, seed=0) -> Path:
    """Write a whole checkpoint in LDM's keys, fp16 as the bundled one."""
    generator = torch.Generator().manual_seed(seed)
    unet = keys.to_ldm(random_state(build_unet(size.unet), generator), keys.unet_modules(size.unet))
    vae = keys.to_ldm(random_state(build_vae(size.vae), generator), keys.vae_modules(size.vae))
    text = {
        f"text_model.{name.removeprefix('text_model.')}": value
        for name, value in random_state(build_text(size.text), generator).items()
    }
    parts = {keys.UNET_PREFIX: unet, keys.VAE_PREFIX: vae, keys.TEXT_PREFIX: text}
    state = {prefix + name: value for prefix, part in parts.items() for name, value in part.items()}
    save_file({name: value.half().contiguous() for name, value in state.items()}, path)
    return path


def load_random(path: Path, size=DEMO):
    """Write a checkpoint, and return its MODEL, CLIP and VAE."""
    return load_checkpoint(write_model(path, size), Tokenizer.from_folder(DEMO_TOKENIZER), CPU, size)


def random_text(seed, length=77, **options):
    """A condition of random tokens."""
    return [[draw(1, length, DEMO.unet.context_dim, seed=seed), options]]


def draw_clip(model, guidance, *, frames=3, steps=3, sampler="euler", latent=None, **options):
    """Sample a clip from the noise of seed 1 and empty latents; the rest as ``sample`` has it."""
    latent = torch.zeros(frames, 4, 8, 8) if latent is None else latent
    settings = {"sigmas": schedule_sigmas(model.sampling, "normal", steps), "seed": 1} | options
    noise = draw_noise(latent, 1)
    return sample(model, noise, guidance, sampler=find_sampler(sampler), latent=latent, **settings)[0]


def random_motion(size=DEMO.unet, seed=1) -> MotionModel:
    """A motion module that changes what it is put into."""
    torch.manual_seed(seed)
    model = MotionModel(motion_size(size, middle=True))
    return model.requires_grad_(False).eval()


def as_learner(model) -> Learner:
    """A motion module as training has it, which hosts run as they run a loaded one."""
    return Learner(model, MotionWeights("random", "frameloom", model.size, model.state_dict(), None))


def write_lora(path: Path, seed=2) -> Path:
    """Write a LoRA in kohya's keys with LDM names, one layer of each kind, with alpha."""
    generator = torch.Generator().manual_seed(seed)
    width, context = DEMO.unet.model_channels, DEMO.unet.context_dim
    layers = {
        "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q": (width, width),
        "lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k": (width, context),
        "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_out_0": (width, width),
        "lora_unet_output_blocks_11_1_proj_in": (width, width, 1, 1),
        "lora_unet_input_blocks_1_0_in_layers_2": (width, width, 3, 3),
    }
    state = {}
    for name, (out, inside, *kernel) in layers.items():
        state[f"{name}.lora_up.weight"] = torch.randn(out, 4, *[1] * len(kernel), generator=generator)
        state[f"{name}.lora_down.weight"] = torch.randn(4, inside, *kernel, generator=generator) * 0.1
        state[f"{name}.alpha"] = torch.tensor(2.0)
    save_file(state, path)
    return path


# Eight random convolutions leave little of a hint; trained ones don't.
HINT_GAIN = 50.0


def write_control(path: Path, size=DEMO.unet, seed=3, prefix="control_model.") -> Path:
    """Write a ControlNet in LDM's keys, or in diffusers' for prefix None; 8 heads whatever the UNet has."""
    state = random_state(build_control(size), torch.Generator().manual_seed(seed))
    state["controlnet_cond_embedding.conv_out.weight"] *= HINT_GAIN
    if prefix is not None:
        ldm = keys.to_ldm(state, keys.control_modules(size))
        state = {prefix + name: value for name, value in ldm.items()}
    save_file({name: value.half().contiguous() for name, value in state.items()}, path)
    return path


def write_control_lora(path: Path, size=DEMO.unet, seed=3) -> Path:
    """Write a Control-LoRA: what a ControlNet has and a UNet lacks, in LDM's keys. ComfyUI takes one of any size."""
    write_control(path, size, seed, prefix="")
    kept = ("input_hint_block", "zero_convs", "middle_block_out")
    state = {name: value for name, value in load_file(path).items() if name.startswith(kept)}
    save_file({**state, "lora_controlnet": torch.zeros(1)}, path)
    return path
