#!/usr/bin/env python3
"""Train the demo model of assets/demo from nothing: VAE, text encoder, image model, motion module.

usage: train_demo.py [--stages vae,text,image,motion,export] [--work DIR] [--threads N] [--no-compile]

Everything is drawn (training/shapes.py) and every draw comes from a seed. Checkpoints go to --work (default: a folder
``frameloom-demo`` in the user's cache), and a stage that was stopped goes on where it was. ``export`` writes
assets/demo. torch.compile makes the image and motion stages about three times as fast; it needs a C++ compiler, and
--no-compile does without.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import torch
from frameloom.headless import networks
from frameloom.models.architecture import DEMO
from frameloom.training import shapes
from frameloom.training.loop import LoopSettings, step_generator, train
from torch import Tensor, nn

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
ASSETS = Path(__file__).resolve().parent.parent / "assets" / "demo"
SEED = 2026
COMPILE = True

VAE_STEPS = ((1500, 64, 16), (500, 128, 8))  # steps, pixels, pictures a step


def compiled(module: nn.Module) -> Callable:
    """Return the module, compiled unless told not to."""
    return torch.compile(module) if COMPILE else module


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
    """Draw pictures of one to three overlapping shapes, some with trails; crops when ``size`` is below the picture's."""
    zoom = shapes.IMAGE_SIZE / size
    picture = None
    for layer in range(3):
        clips = shapes.sample_clips(count, generator, frames=1)
        centers = torch.rand(count, 1, 2, generator=generator)
        radius = (0.08 + 0.18 * torch.rand(count, generator=generator)) * zoom
        clips = shapes.Clips(**{**clips.__dict__, "centers": centers, "radius": radius})
        drawn = shapes.render(clips, size)[:, 0]
        if picture is None:
            picture, base = drawn, clips.background
            continue
        same = shapes.render(shapes.Clips(**{**clips.__dict__, "background": base}), size)[:, 0]
        changed = (same - shapes.BACKGROUND_VALUES[base][..., None, None]).abs().amax(1, keepdim=True) > 0
        shown = torch.rand(count, 1, 1, 1, generator=generator) < 0.5 / layer
        picture = torch.where(changed & shown, same, picture)
    return picture


def train_vae(work: Path) -> nn.Module:
    """Train the autoencoder, first on crops, then on whole pictures, then fold the latents' statistics in."""
    vae = networks.build_vae(DEMO.vae)
    torch.manual_seed(SEED)
    for module in vae.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    with torch.no_grad():  # latents that start well above the posterior's noise: otherwise it learns only averages
        vae.quant_conv.bias[4:] = -6.0
        vae.quant_conv.weight[4:] *= 0.1
        vae.quant_conv.weight[:4] *= 5.0
    vae.to(memory_format=torch.channels_last)
    for index, (steps, size, count) in enumerate(VAE_STEPS):
        loss = vae_loss(vae, size, count)
        settings = LoopSettings(
            steps, learning_rate=1.2e-3 if index == 0 else 6e-4, ema_decay=0.99, seed=SEED + index,
            final_rate=0.25 if index == 0 else 0.02, weight_decay=1e-4,
        )
        averaged = train(
            trainable(vae), loss, settings, checkpoint=work / f"vae-{index}.pt", on_step=report(f"vae {size}px", steps)
        )
        with torch.no_grad():
            for (_, value), average in zip(trainable(vae).items(), averaged.values(), strict=True):
                value.copy_(average)
    fold_statistics(vae)
    return vae.eval().requires_grad_(False)


def vae_loss(vae: nn.Module, size: int, count: int) -> Callable[[int, torch.Generator], Tensor]:
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
def fold_statistics(vae: nn.Module) -> None:
    """Make the latents' mean 0 and deviation 1 / 0.18215 by editing the two 1x1 convolutions; exact."""
    generator = step_generator(SEED, 99)
    pictures = shapes.render(shapes.sample_images(256, generator))[:, 0]
    moving = shapes.render(shapes.sample_clips(64, generator, frames=4)).flatten(0, 1)
    mean = torch.cat([vae.encode(batch).latent_dist.mean for batch in torch.cat([pictures, moving]).split(32)])
    center = mean.mean((0, 2, 3))
    scale = 1 / (mean.std((0, 2, 3)) * DEMO.latent_scale)
    before, after = vae.quant_conv, vae.post_quant_conv
    before.weight[:4] *= scale.view(4, 1, 1, 1)
    before.bias[:4] = (before.bias[:4] - center) * scale
    before.bias[4:] += 2 * scale.log()
    after.bias += after.weight[:, :, 0, 0] @ center
    after.weight /= scale.view(1, 4, 1, 1)


# --- text encoder

WORDS = (
    "a an small big on background center middle left right top bottom moving up down standing still growing shrinking "
    "two and in the of at , ."
).split() + [*shapes.COLORS, *shapes.BACKGROUNDS, *shapes.SHAPES, "square", "star", "video", "picture", "shape"]


def byte_characters() -> list[str]:
    """Return the printable stand-ins that CLIP's byte-level BPE uses for the 256 bytes, in CLIP's order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def write_tokenizer(folder: Path) -> None:
    """Write a CLIP-format byte-level BPE tokenizer that knows our words whole and spells any other."""
    characters = byte_characters()
    vocabulary = characters + [character + "</w>" for character in characters]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            known = [merges.index(pair) for pair in zip(pieces, pieces[1:], strict=False) if pair in merges]
            if not known:
                merges.append((pieces[0], pieces[1]))
            pair = merges[min(known)] if known else merges[-1]
            at = list(zip(pieces, pieces[1:], strict=False)).index(pair)
            pieces[at : at + 2] = [pair[0] + pair[1]]
            if pieces[at] not in vocabulary:
                vocabulary.append(pieces[at])
    spare = DEMO.text.vocabulary - 2 - len(vocabulary)
    if spare < 0:
        raise ValueError(f"the tokenizer needs {-spare} more tokens than DEMO.text.vocabulary={DEMO.text.vocabulary}.")
    vocabulary += [f"<|spare{index}|>" for index in range(spare)] + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    table = {token: index for index, token in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def load_tokenizer(folder: Path) -> Callable[[list[str]], Tensor]:
    """Return captions -> [N, 77] token ids."""
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77,
        bos_token="<|startoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>", pad_token="<|endoftext|>",
    )

    def encode(captions: list[str]) -> Tensor:
        return tokenizer(captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt")["input_ids"]

    return encode


ATTRIBUTES = {"shape": 3, "color": 8, "background": 5, "size": 3, "row": 4, "column": 4, "direction": 6}


def draw_caption(clips: shapes.Clips, index: int, rng: random.Random) -> tuple[str, list[int]]:
    """Caption a clip with parts dropped at random; also which attributes the caption tells (last value: it does not)."""
    with_size, with_place = rng.random() < 0.6, rng.random() < 0.8
    text = shapes.caption(clips, index, with_size=with_size, with_place=with_place)
    row, column = clips.cell[index].tolist()
    still_picture = row >= 0
    values = [
        int(clips.shape[index]), int(clips.color[index]), int(clips.background[index]),
        int(clips.size[index]) if with_size else 2,
        row if still_picture and with_place else 3, column if still_picture and with_place else 3,
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
    drawn = [(shapes.sample_images(half, generator), half), (shapes.sample_clips(count - half, generator, 2), count - half)]
    pairs = [draw_caption(clips, index, rng) for clips, number in drawn for index in range(number)]
    return [text for text, _ in pairs], torch.tensor([values for _, values in pairs])


def train_text(work: Path) -> tuple[nn.Module, Callable[[list[str]], Tensor]]:
    """Train the text encoder to carry the caption's attributes at every position from the end token on."""
    write_tokenizer(ASSETS / "tokenizer")
    encode = load_tokenizer(ASSETS / "tokenizer")
    torch.manual_seed(SEED)
    text = networks.build_text(DEMO.text)
    with torch.no_grad():
        text.get_input_embeddings().weight.normal_(0, 0.3)
    basis = torch.linalg.qr(torch.randn(64, 64, generator=step_generator(SEED, 7)))[0][: sum(ATTRIBUTES.values())]
    offsets = torch.tensor([0, *ATTRIBUTES.values()]).cumsum(0)[:-1]

    def loss(step: int, generator: torch.Generator) -> Tensor:
        captions, values = mixed_captions(48, generator)
        ids = encode(captions)
        hidden = text(ids).last_hidden_state
        target = basis[values + offsets].sum(1) * 8 / len(ATTRIBUTES) ** 0.5
        padding = (ids == DEMO.text.end_token).unsqueeze(-1)
        return ((hidden - target[:, None]).square() * padding).sum() / padding.sum() / 64

    settings = LoopSettings(700, learning_rate=2e-3, warmup=20, ema_decay=0.98, seed=SEED + 10)
    averaged = train(trainable(text), loss, settings, checkpoint=work / "text.pt", on_step=report("text", 700))
    with torch.no_grad():
        for value, average in zip(trainable(text).values(), averaged.values(), strict=True):
            value.copy_(average)
    return text.eval().requires_grad_(False), encode


def main() -> int:
    """Run the stages asked for."""
    global COMPILE
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", default="vae,text")
    parser.add_argument("--work", type=Path, default=CACHE / "frameloom-demo")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    COMPILE = not arguments.no_compile
    for stage in arguments.stages.split(","):
        if stage == "vae":
            torch.save(train_vae(arguments.work).state_dict(), arguments.work / "vae.pt")
        if stage == "text":
            torch.save(train_text(arguments.work)[0].state_dict(), arguments.work / "text_final.pt")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
