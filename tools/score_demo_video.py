#!/usr/bin/env python3
"""Measure the video model that tools/train_demo_video.py trains: clips of a prompt, with and without given ends.

usage: score_demo_video.py [--work DIR] [--samples N] [--threads N]

Clips are of the training set's kind, drawn anew: 17 frames of 64 pixels, which the detector reads enlarged. A control
has the prompt of another clip; the clip itself went through the autoencoder, and is as good as one can be. The exported
files are run by diffusers' networks, by Euler's method along the flow; ComfyUI's loaders and sampler give the same
(tests/host/inside/test_wan.py).
"""

from __future__ import annotations

import argparse
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from frameloom.headless.weights import wan
from frameloom.models.network.sizes import DEMO_VIDEO
from frameloom.tools import train_demo_video as recipe
from frameloom.tools.detector import measure
from frameloom.tools.evidence.rows import SEED, Row, agreement, show_number, table
from frameloom.tools.evidence.studio import CFG, STEPS
from frameloom.training import shapes
from frameloom.training.loop import step_generator
from safetensors.torch import load_file
from torch import Tensor, nn

PROMPT, OTHER, ENDS, ITSELF = (
    "the prompt",
    "another clip's prompt",
    "the prompt and both ends",
    "the clip itself",
)
ARMS = (PROMPT, OTHER, ENDS, ITSELF)
CLAIMS = (
    "color", "background", "shape", "direction (of five)", "first frame's distance from the clip's",
    "last frame's distance from the clip's", "middle frame's distance from the clip's",
)  # fmt: skip
LEAST_WAY = 0.12  # share of the width; what goes less far stands still


def load(work: Path) -> tuple[Any, Any]:
    """Return the transformer and the autoencoder of the exported files."""
    networks = wan.build_transformer(DEMO_VIDEO), wan.build_vae(DEMO_VIDEO)
    rules = (wan.transformer_names, recipe.TRANSFORMER_FILE), (wan.vae_names, recipe.VAE_FILE)
    for network, (rename, file) in zip(networks, rules, strict=True):
        stored, names = load_file(work / file), rename(network.state_dict())
        network.load_state_dict({ours: stored[key].float() for ours, key in names.items()})
        network.eval().requires_grad_(False)
    return networks


def draw_noise(count: int) -> Tensor:
    """Draw the noise that sampling starts from, [N, 16, T, h, w]."""
    side, frames = recipe.SIZE // 8, (recipe.FRAMES + 3) // 4
    return torch.randn(count, 16, frames, side, side, generator=step_generator(SEED, 90_000))


@torch.no_grad()
def sample(
    video: Any, prompts: Tensor, empty: Tensor, given: Tensor | None = None, *, steps: int = STEPS
) -> Tensor:
    """Draw latents by Euler's method along the flow.

    Args:
        video: transformer.
        prompts: [N, 77, 64]. Captions as the text encoder gives them.
        empty: [77, 64]. The empty caption.
        given: [N, 20, T, h, w]. Ends that are given; None: no ends.
        steps: number of steps.

    Returns:
        [N, 16, T, h, w] of mean 0 and deviation 1.
    """
    x = draw_noise(len(prompts))
    given = x.new_zeros(len(x), 20, *x.shape[2:]) if given is None else given
    for sigma, next_sigma in pairwise(recipe.shifted(torch.linspace(1, 0, steps + 1)).tolist()):
        inputs, at = torch.cat([x, given], 1), torch.full((len(x),), 1000 * sigma)
        flow, without = (video(inputs, at, text).sample for text in (prompts, empty.expand_as(prompts)))
        x = x + (next_sigma - sigma) * (without + CFG * (flow - without))
    return x


@torch.no_grad()
def video_rows(work: Path, samples: int) -> list[Row]:
    """Draw every clip in every way, from one noise."""
    video, vae = load(work)
    lessons, truth = recipe.encode_lessons(vae, samples, step_generator(SEED, 91_000))
    clips = shapes.render(truth, recipe.SIZE).transpose(1, 2)
    both = torch.ones(samples, dtype=torch.bool)
    prompts = lessons.prompts[:, 0]
    latents = {
        PROMPT: sample(video, prompts, lessons.empty),
        OTHER: sample(video, prompts.roll(1, 0), lessons.empty),
        ENDS: sample(video, prompts, lessons.empty, recipe.give_ends(vae, clips, both, both)),
        ITSELF: lessons.latents,
    }
    drawn = [recipe.decode_units(vae, latents[arm]) for arm in ARMS]
    figures = torch.stack([figures_of(clip, clips, truth) for clip in drawn])
    return table("Wan", ARMS, CLAIMS, figures, {}, PROMPT)


def figures_of(drawn: Tensor, clips: Tensor, truth: shapes.Clips) -> Tensor:
    """Return the figures of each clip in the order of the claims, [N, claims].

    Args:
        drawn: clips to measure, [N, 3, F, H, W] in -1..1.
        clips: clips that the prompts describe, [N, 3, F, H, W].
        truth: description of those clips.
    """
    pictures = drawn.clamp(-1, 1).transpose(1, 2)
    found = measure(
        nn.functional.interpolate(pictures.flatten(0, 1), size=shapes.IMAGE_SIZE, mode="bilinear")
    )
    middle = recipe.FRAMES // 2
    looks = [
        agreement(getattr(found, name).view(len(drawn), -1)[:, middle], getattr(truth, name))
        for name in ("color", "background", "shape")
    ]
    centers = found.centers.view(len(drawn), -1, 2)
    way = centers[:, -1] - centers[:, 0]
    toward = (way @ shapes.DIRECTION_VECTORS[: shapes.STILL].T).argmax(1)
    direction = torch.where(way.norm(dim=1) < LEAST_WAY, shapes.STILL, toward)
    distance = ((pictures.transpose(1, 2) - clips) / 2).abs().mean((1, 3, 4)).double()
    ends = [distance[:, place] for place in (0, -1, middle)]
    return torch.stack([*looks, agreement(direction, truth.direction), *ends], 1)


def main() -> int:
    """Print the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=recipe.WORK)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for each in video_rows(arguments.work, arguments.samples):
        value, low, high = (show_number(number, vars(each)) for number in (each.value, each.low, each.high))
        print(f"{each.claim}, {each.arm}: {value} ({low} .. {high}), n {each.count}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
