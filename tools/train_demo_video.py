#!/usr/bin/env python3
"""Train the demo's video model from nothing: a small Wan autoencoder, then a small Wan transformer.

usage: train_demo_video.py [--stages vae,decoder,video,export] [--work DIR] [--threads N]

Clips are drawn (training/shapes.py) and every draw comes from a seed. Prompts are read by the demo's own text encoder
(assets/demo). Checkpoints go to --work (default: a folder ``frameloom-demo-video`` in the user's cache), and a stage
that was stopped goes on where it was. Latents no longer move once the stage vae is done: decoder and video can run side
by side. ``export`` writes two files beside them, in Wan's key layout, with the metadata by which ComfyUI's own loaders
build them. tools/score_demo_video.py measures them.
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
from frameloom.tools.wan_clips import decode_clip, encode_clip
from frameloom.training import shapes
from frameloom.training.loop import LoopSettings, step_generator, train
from safetensors.torch import load_file
from torch import Tensor, nn

WORK = CACHE / "frameloom-demo-video"
SEED = 2029
SIZE, FRAMES = 64, 17
CONSTANT = 2.0
# steps, frames, side, clips a step, learning rate at the start and at the end
VAE_STEPS = (
    (4000, 1, 32, 32, 5e-3, 3e-3),
    (2500, 5, 32, 8, 3e-3, 2e-3),
    (1400, 17, 32, 4, 2e-3, 1e-3),
    (500, 17, 64, 1, 1e-3, 4e-4),
)
DECODER_STEPS, DECODER_CLIPS, DECODER_RATES = 1500, 1, (1e-3, 5e-5)
LATENT_NOISE = 0.2  # noise that the decoder learns to stand, at most, in deviations of a latent

FOLD_CLIPS = 64  # clips whose latents set the mean and deviation
CLIPS, CAPTIONS = 4096, 2  # clips of the training set, captions of each
ENDS = (0.6, 0.25, 0.15)  # share of clips with both ends given, the first alone, the last alone
GIVEN = 0.5  # share of clips that show what is given
BATCH, VIDEO_STEPS, VIDEO_RATE = 16, 9500, 1.2e-2
SHIFT = 5.0  # of noise levels, as ModelSamplingSD3 has it
TRANSFORMER_FILE, VAE_FILE = "frameloom_demo_wan.safetensors", "frameloom_demo_wan_vae.safetensors"

# --- autoencoder


def build_vae() -> AutoencoderKLWan:
    """Build the demo's autoencoder, which starts as one that blurs: random weights of its size learn colours last.

    Residual blocks start as nothing. The first channels carry red, green and blue, the fourth a constant against which
    the norms measure them, and the next three the negatives, since SiLU(x) - SiLU(-x) is x. What halves space takes
    means, what halves time takes the later frame, and what doubles repeats. Attention stays nothing, since what
    it learned on pieces of frames would not hold for whole ones.
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
            elif hasattr(module, "to_qkv"):
                module.proj.weight.zero_()
                module.proj.bias.zero_()
                module.requires_grad_(False)
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


def draw_crops(count: int, frames: int, side: int, generator: torch.Generator) -> Tensor:
    """Draw pieces of clips, of ``side`` pixels around the shape. Returns [N, 3, F, side, side] in -1..1."""
    clips = shapes.sample_clips(count, generator, FRAMES)
    start = torch.randint(FRAMES - frames + 1, (1,), generator=generator)
    centers, zoom = clips.centers[:, start : start + frames], SIZE / side
    shift = (torch.rand(count, 1, 2, generator=generator) - 0.5) / zoom
    corner = (centers.mean(1, keepdim=True) + shift - 0.5 / zoom).clamp(0, 1 - 1 / zoom)
    corner = (corner * SIZE).round() / SIZE
    pieces = replace(clips, centers=(centers - corner) * zoom, radius=clips.radius * zoom)
    return shapes.render(pieces, side).transpose(1, 2)


def train_vae(work: Path) -> nn.Module:
    """Train the autoencoder on pictures, then on ever longer clips; fold the latents' statistics in."""
    vae: Any = build_vae()
    for index, (steps, frames, side, count, first, last) in enumerate(VAE_STEPS):
        loss = vae_loss(vae, frames, side, count)
        settings = LoopSettings(
            steps, first, final_rate=last / first, ema_decay=0.99, seed=SEED + index, weight_decay=1e-4
        )
        show, checkpoint = report(f"vae, {frames} frames of {side}", steps), work / f"vae-{index}.pt"
        averaged = train(trainable(vae), loss, settings, checkpoint=checkpoint, on_step=show)
        copy_into(vae, averaged)
    fold_statistics(vae)
    return vae.eval().requires_grad_(False)


def vae_loss(vae: Any, frames: int, side: int, count: int) -> Callable[[int, torch.Generator], Tensor]:
    """Return reconstruction error plus a light KL term."""

    def loss(step: int, generator: torch.Generator) -> Tensor:
        clip = draw_crops(count, frames, side, generator)
        mean, log_variance = encode_clip(vae, clip).chunk(2, 1)
        noise = torch.randn(mean.shape, generator=generator)
        drawn = decode_clip(vae, mean + (0.5 * log_variance).exp() * noise)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        return difference(drawn, clip) + 1e-4 * divergence

    return loss


def difference(drawn: Tensor, clip: Tensor) -> Tensor:
    """Return how far clips are from others in colours and in edges. [N, 3, F, H, W] -> scalar."""
    error = drawn - clip
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.square().mean() + 0.5 * error.abs().mean() + 0.5 * edges


@torch.no_grad()
def fold_statistics(vae: Any) -> None:
    """Make the latents' mean and deviation Wan 2.1's own, by editing the two 1x1 convolutions.

    A channel of less signal than noise, which the decoder never learned to hear, becomes its mean first: blown up to
    Wan's deviation, it would cost a transformer as much as one that says something. For the others this is exact.
    """
    clips = draw_crops(FOLD_CLIPS, FRAMES, SIZE, step_generator(SEED, 99))
    latents, log_variances = torch.cat([encode_clip(vae, batch) for batch in clips.split(8)]).chunk(2, 1)
    center, deviation = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
    noise = log_variances.exp().mean((0, 2, 3, 4)).sqrt()
    quiet = noise > deviation
    before, after = vae.quant_conv, vae.post_quant_conv
    before.weight[:16][quiet] = 0
    before.bias[:16][quiet] = center[quiet]
    mean, spread = wan_statistics(vae)
    scale = spread / torch.where(quiet, noise, deviation)
    before.weight[:16] *= scale.view(16, 1, 1, 1, 1)
    before.bias[:16] = (before.bias[:16] - center) * scale + mean
    before.bias[16:] += 2 * scale.log()
    after.bias += after.weight[:, :, 0, 0, 0] @ (center - mean / scale)
    after.weight /= scale.view(1, 16, 1, 1, 1)


def wan_statistics(vae: Any) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation of each latent channel, as every Wan 2.1 transformer takes them, [16]."""
    return torch.tensor(vae.config.latents_mean), torch.tensor(vae.config.latents_std)


def train_decoder(work: Path) -> nn.Module:
    """Train the decoder on, on whole clips, while latents stay as they are: a transformer can learn beside it."""
    vae: Any = load_frozen(build_vae(), work / "vae.pt")
    parts = nn.ModuleList([vae.post_quant_conv, vae.decoder]).requires_grad_(True)
    vae.decoder.mid_block.attentions.requires_grad_(False)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        clip = draw_crops(DECODER_CLIPS, FRAMES, SIZE, generator)
        with torch.no_grad():
            latents = encode_units(vae, clip)
        strength = LATENT_NOISE * torch.rand(DECODER_CLIPS, 1, 1, 1, 1, generator=generator)
        return difference(
            decode_units(vae, latents + strength * torch.randn(latents.shape, generator=generator)), clip
        )

    first, last = DECODER_RATES
    settings = LoopSettings(
        DECODER_STEPS, first, final_rate=last / first, ema_decay=0.995, seed=SEED + 10, weight_decay=1e-4
    )
    show, checkpoint = report("decoder", DECODER_STEPS), work / "decoder-0.pt"
    averaged = train(trainable(parts), loss, settings, checkpoint=checkpoint, on_step=show)
    assign(parts, averaged)
    return vae


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


def decode_units(vae: Any, latents: Tensor) -> Tensor:
    """Decode latents of mean 0 and deviation 1 to [N, 3, F, H, W]."""
    mean, spread = (value.view(1, 16, 1, 1, 1) for value in wan_statistics(vae))
    return decode_clip(vae, latents * spread + mean)


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
        ends = lessons.given[index] * (rand(BATCH, 1, 1, 1, 1) < GIVEN)
        noisy = torch.cat([(1 - sigma) * clean + sigma * noise, ends], 1)
        predicted = video(noisy, 1000 * sigma.flatten(), prompts).sample
        return (predicted - (noise - clean)).square().mean()

    parameters = trainable(video)
    matrices = [name for name, value in parameters.items() if ".blocks." in name and value.ndim == 2]
    settings = LoopSettings(VIDEO_STEPS, learning_rate=VIDEO_RATE, ema_decay=0.998, seed=SEED + 20)
    show, checkpoint = report("video", VIDEO_STEPS), work / "video-0.pt"
    averaged = train(parameters, loss, settings, checkpoint=checkpoint, on_step=show, matrices=matrices)
    return assign(video, averaged)


# --- export


def export(work: Path) -> None:
    """Write what is finished beside the checkpoints: Wan's keys, float16."""
    for name, rename, file, metadata in (
        ("video", wan.transformer_names, TRANSFORMER_FILE, wan.metadata(DEMO_VIDEO)),
        ("decoder", wan.vae_names, VAE_FILE, {}),
    ):
        if (work / f"{name}.pt").exists():
            state = torch.load(work / f"{name}.pt")
            names = rename(state)
            save_half({names[key]: value for key, value in state.items()}, work / file, metadata)


# What trains each stage, and the name of its finished weights.
STAGES: dict[str, tuple[Callable[[Path], nn.Module], str]] = {
    "vae": (train_vae, "vae"),
    "decoder": (train_decoder, "decoder"),
    "video": (train_video, "video"),
}


def main() -> int:
    """Run the stages asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", default="vae,decoder,video,export")
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
