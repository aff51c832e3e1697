#!/usr/bin/env python3
"""Train the demo's image model of assets/demo from nothing: VAE, text, image.

usage: train_demo.py [--stages vae,text,image,export] [--work DIR] [--threads N] [--no-compile]

What moves is trained in it by ``frameloom train``, with configs/demo_*.toml, and the layout prior by its workflow: see
the Makefile's demo-model.

Everything is drawn (training/shapes.py) and every draw comes from a seed. Checkpoints go to --work (default: a folder
``frameloom-demo`` in the user's cache), and a stage that was stopped goes on where it was. ``export`` writes
assets/demo. torch.compile makes the image stage faster; it needs a C++ compiler, and --no-compile does without.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from frameloom.headless.weights import keys, networks
from frameloom.models.network.sizes import DEMO
from frameloom.models.video.schedules import STABLE_DIFFUSION
from frameloom.tools.tokenizer import write_tokenizer
from frameloom.training import shapes
from frameloom.training.loop import LoopSettings, step_generator, train
from frameloom.training.motion.targets import noise_mse
from safetensors.torch import save_file
from torch import Tensor, nn

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
ASSETS = Path(__file__).resolve().parent.parent / "assets" / "demo"
SEED = 2026
COMPILE = True

VAE_STEPS = ((1500, 64, 16), (500, 128, 8))  # steps, pixels, pictures a step

FOLD_CLIPS = 64  # clips of 4 frames, and as many stills, whose latents set the mean and deviation


def report(name: str, steps: int) -> Callable[[int, float], None]:
    """Return a callback that prints the running loss every 50 steps."""
    start, running = time.time(), [0.0]

    def on_step(step: int, loss: float) -> None:
        running[0] = loss if step == 0 else 0.97 * running[0] + 0.03 * loss
        if (step + 1) % 50 == 0:
            print(f"{name} {step + 1}/{steps} loss {running[0]:.5f} {time.time() - start:.0f} s", flush=True)

    return on_step


def trainable(*modules: nn.Module) -> dict[str, nn.Parameter]:
    """Name the parameters that want a gradient."""
    return {
        f"{index}.{name}": value
        for index, module in enumerate(modules)
        for name, value in module.named_parameters()
        if value.requires_grad
    }


# --- VAE


def vae_pictures(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Draw pictures of one to three overlapping shapes, some with trails; crops when ``size`` is small."""
    zoom = shapes.IMAGE_SIZE / size
    picture = base = torch.empty(0)
    for layer in range(3):
        clips = shapes.sample_clips(count, generator, frames=1)
        centers = torch.rand(count, 1, 2, generator=generator)
        radius = (0.08 + 0.18 * torch.rand(count, generator=generator)) * zoom
        clips = replace(clips, centers=centers, radius=radius)
        drawn = shapes.render(clips, size)[:, 0]
        if not layer:
            picture, base = drawn, clips.background
            continue
        same = shapes.render(replace(clips, background=base), size)[:, 0]
        changed = (same - shapes.BACKGROUND_VALUES[base][..., None, None]).abs().amax(1, keepdim=True) > 0
        shown = torch.rand(count, 1, 1, 1, generator=generator) < 0.5 / layer
        picture = torch.where(changed & shown, same, picture)
    return picture


def train_vae(work: Path) -> nn.Module:
    """Train the autoencoder, first on crops, then on whole pictures, then fold the latents' statistics in."""
    vae: Any = networks.build_vae(DEMO.vae)
    torch.manual_seed(SEED)
    for module in vae.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    # Latents that start well above the posterior's noise: otherwise it learns only averages.
    with torch.no_grad():
        vae.quant_conv.bias[4:] = -6.0
        vae.quant_conv.weight[4:] *= 0.1
        vae.quant_conv.weight[:4] *= 5.0
    vae.to(memory_format=torch.channels_last)
    for index, (steps, size, count) in enumerate(VAE_STEPS):
        loss = vae_loss(vae, size, count)
        settings = LoopSettings(
            steps,
            learning_rate=1.2e-3 if index == 0 else 6e-4,
            ema_decay=0.99,
            seed=SEED + index,
            final_rate=0.25 if index == 0 else 0.02,
            weight_decay=1e-4,
        )
        show, checkpoint = report(f"vae {size}px", steps), work / f"vae-{index}.pt"
        copy_into(vae, train(trainable(vae), loss, settings, checkpoint=checkpoint, on_step=show))
    fold_statistics(vae)
    return vae.eval().requires_grad_(False)


def vae_loss(vae: Any, size: int, count: int) -> Callable[[int, torch.Generator], Tensor]:
    """Return reconstruction error plus a light KL term."""

    def loss(step: int, generator: torch.Generator) -> Tensor:
        pictures = vae_pictures(count, size, generator).contiguous(memory_format=torch.channels_last)
        noise = torch.randn(count, 4, size // 8, size // 8, generator=generator)
        moments = vae.quant_conv(vae.encoder(pictures))
        mean, log_variance = moments.chunk(2, 1)
        decoded = vae.decoder(vae.post_quant_conv(mean + (0.5 * log_variance).exp() * noise))
        error = decoded - pictures
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        return error.square().mean() + 0.2 * error.abs().mean() + 1e-4 * divergence

    return loss


@torch.no_grad()
def fold_statistics(vae: Any) -> None:
    """Make the latents' mean 0 and deviation 1 / 0.18215 by editing the two 1x1 convolutions; exact."""
    generator = step_generator(SEED, 99)
    pictures = shapes.render(shapes.sample_images(4 * FOLD_CLIPS, generator))[:, 0]
    moving = shapes.render(shapes.sample_clips(FOLD_CLIPS, generator, frames=4)).flatten(0, 1)
    mean = torch.cat(
        [vae.encode(batch).latent_dist.mean for batch in torch.cat([pictures, moving]).split(32)]
    )
    center = mean.mean((0, 2, 3))
    scale = 1 / (mean.std((0, 2, 3)) * DEMO.latent_scale)
    before, after = vae.quant_conv, vae.post_quant_conv
    before.weight[:4] *= scale.view(4, 1, 1, 1)
    before.bias[:4] = (before.bias[:4] - center) * scale
    before.bias[4:] += 2 * scale.log()
    after.bias += after.weight[:, :, 0, 0] @ center
    after.weight /= scale.view(1, 4, 1, 1)


# --- text encoder


def load_tokenizer(folder: Path) -> Callable[[list[str]], Tensor]:
    """Return captions -> [N, 77] token ids."""
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer(
        str(folder / "vocab.json"),
        str(folder / "merges.txt"),
        model_max_length=77,
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    )

    def encode(captions: list[str]) -> Tensor:
        return tokenizer(captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt")[
            "input_ids"
        ]

    return encode


TEXT_STEPS = 700
ATTRIBUTES = {"shape": 3, "color": 8, "background": 5, "size": 3, "row": 4, "column": 4, "direction": 6}


def draw_caption(clips: shapes.Clips, index: int, rng: random.Random) -> tuple[str, list[int]]:
    """Caption a clip with parts dropped at random; also the attributes it tells (the last value: not told)."""
    with_size, with_place = rng.random() < 0.6, rng.random() < 0.8
    text = shapes.caption(clips, index, with_size=with_size, with_place=with_place)
    row, column = clips.cell[index].tolist()
    still_picture = row >= 0
    values = [
        int(clips.shape[index]),
        int(clips.color[index]),
        int(clips.background[index]),
        int(clips.size[index]) if with_size else 2,
        row if still_picture and with_place else 3,
        column if still_picture and with_place else 3,
        5 if still_picture else int(clips.direction[index]),
    ]
    if rng.random() < 0.1:
        text = text.split(" on a ")[0]
        values[2], values[4], values[5] = 4, 3, 3
    return text, values


def mixed_captions(count: int, generator: torch.Generator) -> tuple[list[str], Tensor]:
    """Draw captions of pictures and clips. Returns texts and [N, 7] attribute indices."""
    rng = random.Random(int(torch.randint(1 << 30, (1,), generator=generator)))
    half = count // 2
    drawn = [
        (shapes.sample_images(half, generator), half),
        (shapes.sample_clips(count - half, generator, 2), count - half),
    ]
    pairs = [draw_caption(clips, index, rng) for clips, number in drawn for index in range(number)]
    return [text for text, _ in pairs], torch.tensor([values for _, values in pairs])


def train_text(work: Path) -> nn.Module:
    """Train the text encoder to carry the caption's attributes at every position from the end token on."""
    write_tokenizer(ASSETS / "tokenizer", DEMO.text.vocabulary)
    encode = load_tokenizer(ASSETS / "tokenizer")
    torch.manual_seed(SEED)
    text: Any = networks.build_text(DEMO.text)
    with torch.no_grad():
        text.get_input_embeddings().weight.normal_(0, 0.3)
    basis = torch.linalg.qr(torch.randn(64, 64, generator=step_generator(SEED, 7)))[0][
        : sum(ATTRIBUTES.values())
    ]
    offsets = torch.tensor([0, *ATTRIBUTES.values()]).cumsum(0)[:-1]

    def loss(step: int, generator: torch.Generator) -> Tensor:
        captions, values = mixed_captions(48, generator)
        ids = encode(captions)
        hidden = text(ids).last_hidden_state
        target = basis[values + offsets].sum(1) * 8 / len(ATTRIBUTES) ** 0.5
        padding = (ids == DEMO.text.end_token).unsqueeze(-1)
        return ((hidden - target[:, None]).square() * padding).sum() / padding.sum() / 64

    settings = LoopSettings(TEXT_STEPS, learning_rate=2e-3, warmup=20, ema_decay=0.98, seed=SEED + 10)
    averaged = train(
        trainable(text), loss, settings, checkpoint=work / "text.pt", on_step=report("text", TEXT_STEPS)
    )
    return assign(text, averaged)


# --- cached latents

STILLS, CLIPS = 8192, 768


def cache_latents(work: Path, stills: shapes.Clips, clips: shapes.Clips) -> tuple[Tensor, Tensor]:
    """Encode the training set once. Returns [STILLS, 4, 16, 16] and [CLIPS, F, 4, 16, 16], scaled."""
    path = work / "latents.pt"
    if path.exists():
        return tuple(torch.load(path))
    vae = load_frozen(networks.build_vae(DEMO.vae), work / "vae.pt")
    latents = encode_clips(vae, stills, "stills")[:, 0], encode_clips(vae, clips, "clips")
    torch.save(latents, path)
    return latents


@torch.no_grad()
def encode_clips(vae: Any, drawn: shapes.Clips, name: str) -> Tensor:
    """Draw clips and encode them. Returns [N, F, 4, 16, 16], scaled."""
    vae.to(memory_format=torch.channels_last)
    batch, encoded = max(1, 64 // drawn.frames), []
    for index in torch.arange(len(drawn)).split(batch):
        pictures = (
            shapes.render(drawn.select(index)).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        )
        encoded.append(vae.encode(pictures).latent_dist.mean.contiguous() * DEMO.latent_scale)
        if len(encoded) % 32 == 0:
            print(f"latents of {name}: {len(encoded) * batch}/{len(drawn)}", flush=True)
    return torch.cat(encoded).unflatten(0, (len(drawn), drawn.frames))


# --- image model

IMAGE_STEPS, IMAGE_BATCH = 6000, 32
ALPHAS = STABLE_DIFFUSION.alphas_cumprod().float()
EMPTY_CAPTIONS = 0.1


def draw_prompts(every: shapes.Clips, index: Tensor, rng: random.Random) -> list[str]:
    """Caption the chosen clips; one in ten is empty, for classifier-free guidance."""
    return [
        "" if rng.random() < EMPTY_CAPTIONS else draw_caption(every, number, rng)[0]
        for number in index.tolist()
    ]


def train_image(work: Path) -> nn.Module:
    """Train the UNet on stills and on single frames of clips, by velocity MSE with the text encoder frozen."""
    text = load_frozen(networks.build_text(DEMO.text), work / "text_final.pt")
    encode = load_tokenizer(ASSETS / "tokenizer")
    stills = shapes.sample_images(STILLS, step_generator(SEED, 1))
    clips = shapes.sample_clips(CLIPS, step_generator(SEED, 2))
    still_latents, clip_latents = cache_latents(work, stills, clips)
    torch.manual_seed(SEED)
    unet = networks.build_unet(DEMO.unet)
    run = torch.compile(unet) if COMPILE else unet

    def loss(step: int, generator: torch.Generator) -> Tensor:
        rng = random.Random(int(torch.randint(1 << 30, (1,), generator=generator)))
        still = torch.randint(STILLS, (IMAGE_BATCH * 9 // 16,), generator=generator)
        clip = torch.randint(CLIPS, (IMAGE_BATCH - len(still),), generator=generator)
        frame = torch.randint(shapes.FRAMES, (len(clip),), generator=generator)
        latents = torch.cat([still_latents[still], clip_latents[clip, frame]]).unsqueeze(1)
        prompts = draw_prompts(stills, still, rng) + draw_prompts(clips, clip, rng)
        with torch.no_grad():
            context = text(encode(prompts)).last_hidden_state
        timesteps = torch.randint(1000, (IMAGE_BATCH,), generator=generator)
        noise = torch.randn(latents.shape, generator=generator)

        def predict(noisy: Tensor, at: Tensor) -> Tensor:
            return run(noisy[:, 0], at, context).sample.unsqueeze(1)

        return noise_mse(predict, latents, timesteps, noise, ALPHAS, DEMO.prediction_type)

    settings = LoopSettings(IMAGE_STEPS, learning_rate=1e-3, seed=SEED + 20)
    averaged = train(
        trainable(unet), loss, settings, checkpoint=work / "image.pt", on_step=report("image", IMAGE_STEPS)
    )
    return assign(unet, averaged)


@torch.no_grad()
def copy_into(module: nn.Module, averaged: dict[str, Tensor]) -> None:
    """Put averaged weights into a module."""
    for value, average in zip(trainable(module).values(), averaged.values(), strict=True):
        value.copy_(average)


def assign(module: nn.Module, averaged: dict[str, Tensor]) -> nn.Module:
    """Put averaged weights into a module and freeze it."""
    copy_into(module, averaged)
    return module.eval().requires_grad_(False)


def load_frozen(module: nn.Module, path: Path) -> nn.Module:
    """Load a finished stage's weights and freeze them."""
    module.load_state_dict(torch.load(path))
    return module.eval().requires_grad_(False)


# --- export


def export(work: Path) -> None:
    """Write what is finished to assets/demo: LDM keys, float16."""
    if (work / "unet.pt").exists():
        unet, vae, text = (torch.load(work / f"{name}.pt") for name in ("unet", "vae", "text_final"))
        unet = keys.to_ldm(unet, keys.unet_modules(DEMO.unet))
        vae = keys.to_ldm(vae, keys.vae_modules(DEMO.vae))
        state = {keys.UNET_PREFIX + key: value for key, value in unet.items()}
        state |= {keys.VAE_PREFIX + key: value for key, value in vae.items()}
        for key, value in text.items():
            state[keys.TEXT_PREFIX + "text_model." + key.removeprefix("text_model.")] = value
        metadata = {"frameloom.kind": "model", "frameloom.prediction_type": "v"}
        save_half(state, ASSETS / "model.safetensors", metadata)


def save_half(state: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Save tensors as float16 and print the file's size."""
    half = {key: value.half().contiguous() for key, value in state.items() if "position_ids" not in key}
    save_file(half, path, metadata=metadata)
    print(f"{path.name}: {len(half)} tensors, {path.stat().st_size:,} bytes", flush=True)


# What trains each stage, and the name of its finished weights.
STAGES: dict[str, tuple[Callable[[Path], nn.Module], str]] = {
    "vae": (train_vae, "vae"),
    "text": (train_text, "text_final"),
    "image": (train_image, "unet"),
}


def main() -> int:
    """Run the stages asked for."""
    global COMPILE
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", default="vae,text,image,export")
    parser.add_argument("--work", type=Path, default=CACHE / "frameloom-demo")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    COMPILE = not arguments.no_compile
    for stage in arguments.stages.split(","):
        if stage == "export":
            export(arguments.work)
        else:
            train_stage, finished = STAGES[stage]
            torch.save(train_stage(arguments.work).state_dict(), arguments.work / f"{finished}.pt")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
