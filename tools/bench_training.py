#!/usr/bin/env python3
"""Time a training step of a motion module beside a plain loop over diffusers, and write docs/bench_training.md.

usage: bench_training.py [--rounds N] [--only SIZE ...]

Both train a new motion module in a frozen UNet, with random weights, clips and captions, in float32 on the CPU. The
plain loop is what one writes with diffusers: ``UNetMotionModel.from_unet2d``, ``freeze_unet2d_params``, AdamW, the
same objective, clipped gradients. It is measured twice: on latents and text embeddings that are there already, and from
pictures and token ids, which it encodes at every step, as AnimateDiff's own training script does. Ours is the whole
trainer with its log; it encodes a clip once, before the first step, and keeps it. Each run is a
process of its own, so that memory is its alone; runs take turns, and steps of a turn are compared with those of the
same turn. Time is the CPU's, of all threads, so that it says something on a machine that has other things to do.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import MotionAdapter, UNetMotionModel
from frameloom.headless.port import HeadlessHost
from frameloom.headless.samplers.sigmas import Sampling
from frameloom.headless.weights import networks
from frameloom.headless.weights.model import Model
from frameloom.headless.weights.shared_attention import share_tokens
from frameloom.models.motion.checkpoint import to_diffusers
from frameloom.models.network.sizes import DEMO, SD15, ModelSize
from frameloom.models.video.schedules import STABLE_DIFFUSION
from frameloom.tools.bench import ratio
from frameloom.training.loop import LoopSettings, step_generator
from frameloom.training.motion.latent_cache import EncodedClips
from frameloom.training.motion.lessons import learn_module, new_module
from frameloom.training.motion.training import MotionSettings, train_motion
from torch import Tensor

REPORT = Path(__file__).resolve().parent.parent / "docs" / "bench_training.md"
PLAIN, ENCODING = "plain loop, diffusers, on latents", "plain loop, diffusers, from pictures"
OURS, SAVING = "Frameloom", "Frameloom, save_memory"
ARMS = (PLAIN, ENCODING, OURS, SAVING)
RATE, DECAY, CLIP_NORM = 1e-4, 0.01, 1.0
WARM_UP = 2  # steps before the clock runs
TARGET = 0.8
Done = Callable[[], None]


@dataclass(frozen=True)
class Size:
    """What is trained.

    Attributes:
        title: title of its table.
        model: sizes of the model.
        frames: number of frames of a clip; a batch is one clip.
        side: side of the latents.
        steps: number of steps of a turn that are timed.
    """

    title: str
    model: ModelSize
    frames: int
    side: int
    steps: int


SIZES = {
    "demo": Size("Demo model's sizes, 16 frames of 128 px", DEMO, 16, 16, 5),
    "sd15": Size("SD1.5's sizes, 8 frames of 128 px", SD15, 8, 16, 2),
}


@dataclass(frozen=True)
class Run:
    """What one process measured.

    Attributes:
        seconds: seconds of CPU time of each step.
        mebibytes: the peak of its memory above what it had before there was any network.
    """

    seconds: list[float]
    mebibytes: float


def random_clips(size: Size) -> EncodedClips:
    """Draw four clips with two captions."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(4, size.frames, 4, size.side, size.side, generator=generator)
    tokens = torch.randn(3, 77, size.model.unet.context_dim, generator=generator)
    return EncodedClips(latents, tokens, torch.tensor([1, 2, 1, 2]))


def train_plainly(size: Size, done: Done, *, encodes: bool) -> None:
    """Train as people write it, until ``done`` raises. ``encodes``: pictures and token ids, at every step."""
    unet = networks.build_unet(size.model.unet)
    state, config = to_diffusers(new_module(size.model.unet.slots, STABLE_DIFFUSION))
    adapter = MotionAdapter(**config)
    adapter.load_state_dict(state)
    network: Any = UNetMotionModel.from_unet2d(unet, adapter)
    del unet, adapter, state
    network.freeze_unet2d_params()
    parameters = [each for each in network.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
    alphas, clips = STABLE_DIFFUSION.alphas_cumprod().float(), random_clips(size)
    encode = encoder(size) if encodes else None
    for step in range(sys.maxsize):
        generator = step_generator(0, step)
        index = torch.randint(len(clips.latents), (1,), generator=generator)
        timesteps = torch.randint(1000, (1,), generator=generator)
        if encode is None:
            latents, tokens = clips.latents[index], clips.tokens[clips.caption[index]]
        else:
            latents, tokens = encode(generator)
        latents = latents.movedim(2, 1)
        noise = torch.randn(latents.shape, generator=generator)
        alpha = alphas[timesteps].view(-1, 1, 1, 1, 1)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        tokens = tokens.repeat_interleave(size.frames, 0)
        prediction = network(noisy, timesteps, encoder_hidden_states=tokens).sample
        torch.nn.functional.mse_loss(prediction, noise).backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
        done()


def encoder(size: Size) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    """Return what makes latents, [1, F, 4, h, w], and text embeddings, [1, L, D], of random pictures and token ids."""
    vae: Any = networks.build_vae(size.model.vae)
    text = networks.build_text(size.model.text)

    @torch.no_grad()
    def encode(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        pictures = torch.rand(size.frames, 3, 8 * size.side, 8 * size.side, generator=generator) * 2 - 1
        ids = torch.randint(size.model.text.vocabulary, (1, 77), generator=generator)
        latents = vae.encode(pictures).latent_dist.sample(generator) * size.model.latent_scale
        return latents.unsqueeze(0), text(ids)[0]

    return encode


def train_ours(size: Size, done: Done, *, save_memory: bool) -> None:
    """Train as Train Motion Module does, until ``done`` raises."""
    with tempfile.TemporaryDirectory() as folder:
        port = HeadlessHost("cpu", folder, folder, folder)
        unet = share_tokens(networks.build_unet(size.model.unet)).eval().requires_grad_(False)
        model = Model(unet, size.model.unet, Sampling("eps", STABLE_DIFFUSION), 0.18215)
        loop = LoopSettings(
            1_000_000,
            RATE,
            warmup=1,
            final_rate=1.0,
            betas=(0.9, 0.999),
            weight_decay=DECAY,
            clip_norm=CLIP_NORM,
            ema_decay=0.0,
        )
        settings = MotionSettings(
            loop, batch=1, caption_dropout=0.0, save_memory=save_memory, checkpoint_every=1_000_000
        )
        weights = new_module(size.model.unet.slots, STABLE_DIFFUSION)
        lesson = learn_module(weights, "bench", port.compute_device(), in_place=True)
        del weights, unet
        train_motion(
            port, model, random_clips(size), lesson, settings, lambda _: Path(folder), lambda *_: done()
        )


def work(arm: str, size: Size) -> None:
    """Measure one arm in this process, print the figures, and end it."""
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds: list[float] = []
    clock = time.process_time()

    def done() -> None:
        nonlocal clock
        seconds.append(time.process_time() - clock)
        if len(seconds) == WARM_UP + size.steps:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(json.dumps([seconds[WARM_UP:], (peak - start) / 1024]), flush=True)
            os._exit(0)  # a run that stops writes a checkpoint, which for SD1.5 is gigabytes
        clock = time.process_time()

    if arm in (PLAIN, ENCODING):
        train_plainly(size, done, encodes=arm == ENCODING)
    else:
        train_ours(size, done, save_memory=arm == SAVING)


def run_apart(name: str, arm: str) -> Run:
    """Measure one arm in a process of its own."""
    call = [sys.executable, __file__, "--work", arm, "--only", name]
    answer = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout
    run = Run(*json.loads(answer.splitlines()[-1]))
    print(f"{name}, {arm}: {[round(each, 2) for each in run.seconds]} s, {run.mebibytes:.0f} MiB", flush=True)
    return run


def report(size: Size, runs: dict[str, list[Run]]) -> list[str]:
    """Render a size's figures as Markdown."""
    seconds = {arm: [each for run in found for each in run.seconds] for arm, found in runs.items()}
    memory = {arm: max(run.mebibytes for run in found) for arm, found in runs.items()}
    lines = [
        f"## {size.title}, {size.steps} steps a turn",
        "",
        "| arm | CPU s a step, median | over the plain loop on latents (95 % interval) | over that from pictures "
        "| memory, MiB | over the plain loop on latents | over that from pictures |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in runs:
        middle = float(torch.tensor(seconds[arm], dtype=torch.float64).quantile(0.5))
        times = [ratio(seconds[arm], seconds[other]) for other in (PLAIN, ENCODING)]
        shares = [f"{memory[arm] / memory[other]:.3f}" for other in (PLAIN, ENCODING)]
        lines.append(f"| {' | '.join([arm, f'{middle:.2f}', *times, f'{memory[arm]:.0f}', *shares])} |")
    return [*lines, ""]


def main() -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of every arm")
    parser.add_argument("--only", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--work", choices=ARMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work, SIZES[arguments.only[0]])
        return 1
    lines = [
        "# Bench: training a motion module",
        "",
        "Written by `make bench` (`tools/bench_training.py`): a step of training beside a plain loop over diffusers' "
        "`UNetMotionModel`, both of a new module in a frozen UNet, with batches of one clip, float32, CPU, "
        f"threads: {torch.get_num_threads()}. Time is the CPU's, of all threads. Arms take turns, {arguments.rounds} "
        "of each, every turn a process of its own. Memory is the peak of the whole process above what it had before "
        "there was any network: weights, gradients, the optimiser's state and what a step remembers. No arm averages "
        "weights. The plain loop from pictures encodes a clip and its caption at every step, as "
        f"AnimateDiff's own script does; ours does so once a clip, before the first. Target for each: <= {TARGET} of "
        "the plain loop.",
        "",
    ]
    for name in arguments.only:
        runs: dict[str, list[Run]] = {arm: [] for arm in ARMS}
        for turn in range(arguments.rounds):
            shift = turn % len(ARMS)
            for arm in ARMS[shift:] + ARMS[:shift]:
                runs[arm].append(run_apart(name, arm))
        lines += report(SIZES[name], runs)
    print("\n".join(lines))
    REPORT.write_text("\n".join(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
