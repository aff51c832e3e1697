#!/usr/bin/env python3
"""Train the demo's video model from nothing: a small Wan autoencoder, then a small Wan transformer.

usage: train_demo_video.py [--stages vae,video,export] [--work DIR] [--threads N]

Clips are drawn (training/shapes.py) and every draw comes from a seed. Prompts are read by the demo's own text encoder
(assets/demo). Checkpoints go to --work (default: a folder ``frameloom-demo-video`` in the user's cache), and a stage
that was stopped goes on where it was. ``export`` writes two files beside them, in Wan's key layout, with the metadata
by which ComfyUI's own loaders build them: the one belongs to models/diffusion_models, the other to models/vae.
tools/score_demo_video.py measures them.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from frameloom.headless.weights import keys, networks, wan
from frameloom.models.network.sizes import DEMO, DEMO_VIDEO
from frameloom.tools.train_demo import (
    ASSETS,
    CACHE,
    EMPTY_CAPTIONS,
    assign,
    copy_into,
    draw_caption,
    load_frozen,
    load_tokenizer,
    report,
    save_half,
    trainable,
)
from frameloom.training import shapes
from frameloom.training.loop import LoopSettings, step_generator, train
from safetensors.torch import load_file
from torch import Tensor, nn

WORK = CACHE / "frameloom-demo-video"
SEED = 2029
SIZE, FRAMES = 32, 9
CONSTANT = 2.0
# steps, frames, clips a step, learning rate at the start and at the end
VAE_STEPS = ((400, 1, 8, 5e-3, 3e-3), (400, 5, 4, 4e-3, 1.5e-3), (150, 9, 3, 1.5e-3, 1e-4))

FOLD_CLIPS = 64  # clips whose latents set the mean and deviation
CLIPS, CAPTIONS = 1536, 2  # clips of the training set, captions of each
ENDS = (0.6, 0.25, 0.15)  # share of clips with both ends given, the first alone, the last alone
GIVEN = 0.5  # share of steps that show what is given
BATCH, SHIFT, VIDEO_STEPS = 16, 3.0, 3000
TRANSFORMER_FILE, VAE_FILE = "frameloom_demo_wan.safetensors", "frameloom_demo_wan_vae.safetensors"

# --- autoencoder


def build_vae() -> AutoencoderKLWan:
    """Build the demo's autoencoder, which starts as one that blurs: random weights of its size learn colours last.

    Residual blocks start as nothing. The first channels carry red, green and blue, the fourth a constant against which
    the norms measure them, and the next three the negatives, since SiLU(x) - SiLU(-x) is x. What halves space takes
    means, what halves time takes the later frame, and what doubles repeats.
    """
    torch.manual_seed(SEED)
    vae: Any = wan.build_vae(DEMO_VIDEO)
    with torch.no_grad():
        for module in vae.modules():
            if hasattr(module, "conv2"):  # a residual block
                module.conv2.weight.zero_()
                module.conv2.bias.zero_()
                if hasattr(module.conv_shortcut, "weight"):
                    carry(module.conv_shortcut)
            elif getattr(module, "mode", "") in ("upsample2d", "upsample3d", "downsample2d", "downsample3d"):
                carry(module.resample[1], blur="down" in module.mode)
                if "3d" in module.mode:
                    carry(module.time_conv)
        negate = vae.encoder.down_blocks[3].conv_shortcut
        negate.weight[4:7, :3] -= torch.eye(3).view(3, 3, 1, 1, 1)
        encoder, decoder = vae.encoder, vae.decoder
        carry(encoder.conv_in)
        encoder.conv_in.bias[3] = CONSTANT
        carry(encoder.conv_out)
        encoder.conv_out.weight[:3, 4:7, -1, 1, 1] -= torch.eye(3)
        carry(decoder.conv_in)
        decoder.conv_in.weight[3].zero_()
        decoder.conv_in.bias[3] = CONSTANT
        decoder.norm_out.gamma[:3] *= 0.5
        carry(decoder.conv_out, by=4.0)
        carry(vae.quant_conv)
        carry(vae.post_quant_conv)
        vae.quant_conv.bias[16:] = -6.0  # latents that start well above the posterior's noise
        vae.quant_conv.weight[16:] *= 0.1
    return vae


def carry(layer: Any, *, blur: bool = False, by: float = 1.0) -> None:
    """Make a convolution carry its inputs to the outputs of the same number, beside small random weights."""
    layer.weight *= 0.3
    layer.bias.zero_()
    outputs, inputs = layer.weight.shape[:2]
    same = torch.eye(inputs).repeat(2, 1) if layer.kernel_size == (3, 1, 1) else torch.eye(outputs, inputs)
    same = same[:outputs]
    taps = layer.weight[:, :, -1] if layer.weight.ndim == 5 else layer.weight
    if blur:
        taps[:, :, :2, :2] += by / 4 * same[..., None, None]
    else:
        taps[..., taps.shape[-2] // 2, taps.shape[-1] // 2] += by * same


def encode_clip(vae: Any, clip: Tensor) -> Tensor:
    """Encode a whole clip at once, as ``vae.encode`` does in pieces. [N, 3, F, H, W] -> [N, 32, (F + 3) / 4, ...]."""
    encoder = vae.encoder
    x = encoder.conv_in(clip)
    for layer in encoder.down_blocks:
        x = layer(x)
        if getattr(layer, "mode", "") == "downsample3d" and x.shape[2] > 1:
            x = torch.cat([x[:, :, :1], layer.time_conv(x)], 2)  # the first frame stays alone
    x = encoder.mid_block(x)
    return vae.quant_conv(encoder.conv_out(encoder.nonlinearity(encoder.norm_out(x))))


def decode_clip(vae: Any, latents: Tensor) -> Tensor:
    """Decode a whole clip at once, as ``vae.decode`` does in pieces, without its limits of -1 and 1."""
    decoder = vae.decoder
    x = decoder.mid_block(decoder.conv_in(vae.post_quant_conv(latents)))
    for block in decoder.up_blocks:
        for layer in block.resnets:
            x = layer(x)
        for layer in block.upsamplers or ():
            if layer.mode == "upsample3d" and x.shape[2] > 1:
                pairs = layer.time_conv(x[:, :, 1:]).unflatten(1, (2, -1))
                x = torch.cat([x[:, :, :1], pairs.movedim(1, 3).flatten(2, 3)], 2)
            x = layer(x)
    return decoder.conv_out(decoder.nonlinearity(decoder.norm_out(x)))


def draw_crops(count: int, frames: int, generator: torch.Generator) -> Tensor:
    """Draw pieces of clips, as they are and enlarged up to twice. Returns [N, 3, F, H, W] in -1..1."""
    clips = shapes.sample_clips(count, generator, FRAMES)
    zoom = 1 + torch.rand(count, generator=generator)
    start = torch.randint(FRAMES - frames + 1, (1,), generator=generator)
    middle = clips.centers.mean(1, keepdim=True)
    shift = (torch.rand(count, 1, 2, generator=generator) - 0.5) * (zoom.view(-1, 1, 1) - 1)
    centers = 0.5 + (clips.centers - middle) * zoom.view(-1, 1, 1) + (middle - 0.5) + shift
    clips = replace(clips, centers=centers[:, start : start + frames], radius=clips.radius * zoom)
    return shapes.render(clips, SIZE).transpose(1, 2).contiguous()


def train_vae(work: Path) -> nn.Module:
    """Train the autoencoder: pictures, short crops, then whole clips; fold the latents' statistics in."""
    vae: Any = build_vae()
    for index, (steps, frames, count, first, last) in enumerate(VAE_STEPS):
        loss = vae_loss(vae, frames, count)
        settings = LoopSettings(
            steps, first, final_rate=last / first, ema_decay=0.99, seed=SEED + index, weight_decay=1e-4
        )
        show, checkpoint = report(f"vae, {frames} frames", steps), work / f"vae-{index}.pt"
        copy_into(
            vae,
            train(trainable(vae), loss, settings, checkpoint=checkpoint, checkpoint_every=50, on_step=show),
        )
    fold_statistics(vae)
    return vae.eval().requires_grad_(False)


def vae_loss(vae: Any, frames: int, count: int) -> Callable[[int, torch.Generator], Tensor]:
    """Return reconstruction error plus a light KL term."""

    def loss(step: int, generator: torch.Generator) -> Tensor:
        clip = draw_crops(count, frames, generator)
        mean, log_variance = encode_clip(vae, clip).chunk(2, 1)
        noise = torch.randn(mean.shape, generator=generator)
        error = decode_clip(vae, mean + (0.5 * log_variance).exp() * noise) - clip
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        return error.square().mean() + 0.2 * error.abs().mean() + 1e-4 * divergence

    return loss


@torch.no_grad()
def fold_statistics(vae: Any) -> None:
    """Make the latents' mean and deviation Wan 2.1's own, by editing the two 1x1 convolutions; exact."""
    clips = draw_crops(FOLD_CLIPS, FRAMES, step_generator(SEED, 99))
    latents = torch.cat([encode_clip(vae, batch)[:, :16] for batch in clips.split(8)])
    center, deviation = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
    mean, spread = wan_statistics(vae)
    scale = spread / deviation
    before, after = vae.quant_conv, vae.post_quant_conv
    before.weight[:16] *= scale.view(16, 1, 1, 1, 1)
    before.bias[:16] = (before.bias[:16] - center) * scale + mean
    before.bias[16:] += 2 * scale.log()
    after.bias += after.weight[:, :, 0, 0, 0] @ (center - mean / scale)
    after.weight /= scale.view(1, 16, 1, 1, 1)


def wan_statistics(vae: Any) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation of each latent channel, as every Wan 2.1 transformer takes them, [16]."""
    return torch.tensor(vae.config.latents_mean), torch.tensor(vae.config.latents_std)


# --- what the transformer learns from


@dataclass(frozen=True)
class Lessons:
    """Clips of the training set, encoded once.

    Attributes:
        latents: [N, 16, T, h, w]. Latents of mean 0 and deviation 1.
        given: [N, 20, T, h, w]. Four rows of mask (1: given) and the latents of the given ends between gray frames.
        prompts: [N, CAPTIONS, 77, 64]. Captions as the text encoder gives them.
        empty: [77, 64]. The empty caption.
    """

    latents: Tensor
    given: Tensor
    prompts: Tensor
    empty: Tensor


@torch.no_grad()
def encode_lessons(vae: Any, count: int, generator: torch.Generator) -> tuple[Lessons, shapes.Clips]:
    """Draw clips, encode them and their captions."""
    drawn = shapes.sample_clips(count, generator, FRAMES)
    kinds = torch.multinomial(torch.tensor(ENDS), count, replacement=True, generator=generator)
    rng = random.Random(int(torch.randint(1 << 30, (1,), generator=generator)))
    text, encode = load_text(), load_tokenizer(ASSETS / "tokenizer")

    def read(captions: list[str]) -> Tensor:
        return text(encode(captions)).last_hidden_state

    latents, given, prompts = [], [], []
    for index in torch.arange(count).split(16):
        clip = shapes.render(drawn.select(index), SIZE).transpose(1, 2)
        latents.append(encode_units(vae, clip))
        given.append(give_ends(vae, clip, first=kinds[index] != 2, last=kinds[index] != 1))
        captions = [draw_caption(drawn, int(one), rng)[0] for one in index for _ in range(CAPTIONS)]
        prompts.append(read(captions).unflatten(0, (-1, CAPTIONS)))
        print(f"clips: {int(index[-1]) + 1}/{count}", flush=True)
    return Lessons(torch.cat(latents), torch.cat(given), torch.cat(prompts), read([""])[0]), drawn


def encode_units(vae: Any, clip: Tensor) -> Tensor:
    """Encode [N, 3, F, H, W] to latents of mean 0 and deviation 1."""
    mean, spread = (value.view(1, 16, 1, 1, 1) for value in wan_statistics(vae))
    return (encode_clip(vae, clip)[:, :16] - mean) / spread


def give_ends(vae: Any, clip: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Return what ComfyUI's WanFirstLastFrameToVideo gives of a clip's ends.

    Args:
        vae: autoencoder.
        clip: clips whose ends may be given, [N, 3, F, H, W] in -1..1.
        first: [N] bool. True: the first frame is given.
        last: [N] bool. True: the last frame is given.

    Returns:
        [N, 20, T, h, w]: a mask with a row for each of a latent's four frames, and latents. The first latent is of one
        frame, whose mask stands in all four rows.
    """
    shown = torch.zeros(clip.shape[0], clip.shape[2] + 3, dtype=torch.bool)
    shown[:, :4] = first[:, None]
    shown[:, -1] |= last
    frames = shown[:, 3:, None, None].unsqueeze(1)
    latents = encode_units(vae, torch.where(frames, clip, 0.0))
    mask = shown.float().unflatten(1, (-1, 4)).transpose(1, 2)[..., None, None]
    return torch.cat([mask.expand(-1, -1, -1, *latents.shape[-2:]), latents], 1)


def load_text() -> Any:
    """Load the demo's text encoder from its checkpoint."""
    state = load_file(ASSETS / "model.safetensors")
    text = networks.build_text(DEMO.text)
    prefix = keys.TEXT_PREFIX + "text_model."
    names = {name: prefix + name.removeprefix("text_model.") for name in text.state_dict()}
    text.load_state_dict({name: state[key].float() for name, key in names.items()})
    return text.eval().requires_grad_(False)


def cache_lessons(work: Path) -> Lessons:
    """Encode the training set once."""
    path = work / "lessons.pt"
    if not path.exists():
        vae = load_frozen(build_vae(), work / "vae.pt")
        lessons, _ = encode_lessons(vae, CLIPS, step_generator(SEED, 1))
        torch.save(vars(lessons), path)
    return Lessons(**torch.load(path))


# --- transformer


def build_video() -> WanTransformer3DModel:
    """Build the demo's transformer with weights from the seed."""
    torch.manual_seed(SEED)
    return wan.build_transformer(DEMO_VIDEO)


def shifted(time: Tensor) -> Tensor:
    """Return the share of noise at times of 0..1: more of the steps at high noise, as ModelSamplingSD3's shift does."""
    return SHIFT * time / (1 + (SHIFT - 1) * time)


def train_video(work: Path) -> nn.Module:
    """Train the transformer by flow matching: it predicts noise minus clip, with and without given ends."""
    lessons, video = cache_lessons(work), build_video()

    def loss(step: int, generator: torch.Generator) -> Tensor:
        def rand(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator)

        index = torch.randint(len(lessons.latents), (BATCH,), generator=generator)
        caption = torch.randint(CAPTIONS, (BATCH,), generator=generator)
        clean = lessons.latents[index]
        noise = torch.randn(clean.shape, generator=generator)
        sigma = shifted(rand(BATCH)).view(-1, 1, 1, 1, 1)
        told = (rand(BATCH, 1, 1) >= EMPTY_CAPTIONS).float()
        prompts = told * lessons.prompts[index, caption] + (1 - told) * lessons.empty
        given = lessons.given[index] * (rand(BATCH, 1, 1, 1, 1) < GIVEN)
        noisy = torch.cat([(1 - sigma) * clean + sigma * noise, given], 1)
        predicted = video(noisy, 1000 * sigma.flatten(), prompts).sample
        return (predicted - (noise - clean)).square().mean()

    settings = LoopSettings(VIDEO_STEPS, learning_rate=2e-3, ema_decay=0.998, seed=SEED + 20)
    show, checkpoint = report("video", VIDEO_STEPS), work / "video-0.pt"
    averaged = train(trainable(video), loss, settings, checkpoint=checkpoint, on_step=show)
    return assign(video, averaged)


# --- export


def export(work: Path) -> None:
    """Write what is finished beside the checkpoints: Wan's keys, float16."""
    for name, rename, file, metadata in (
        ("video", wan.transformer_names, TRANSFORMER_FILE, wan.metadata(DEMO_VIDEO)),
        ("vae", wan.vae_names, VAE_FILE, {}),
    ):
        if (work / f"{name}.pt").exists():
            state = torch.load(work / f"{name}.pt")
            names = rename(state)
            save_half({names[key]: value for key, value in state.items()}, work / file, metadata)


# What trains each stage, and the name of its finished weights.
STAGES: dict[str, tuple[Callable[[Path], nn.Module], str]] = {
    "vae": (train_vae, "vae"),
    "video": (train_video, "video"),
}


def main() -> int:
    """Run the stages asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", default="vae,video,export")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    for stage in arguments.stages.split(","):
        if stage in STAGES:
            train_stage, finished = STAGES[stage]
            torch.save(train_stage(arguments.work).state_dict(), arguments.work / f"{finished}.pt")
        else:
            export(arguments.work)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
