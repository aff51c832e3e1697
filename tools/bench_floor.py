#!/usr/bin/env python3
"""Try what could make a step cheaper than its counted FLOPs, and write docs/bench_floor.md.

usage: bench_floor.py [--rounds N] [--demo]

SD1.5's sizes with random weights. The temporal slots of a clip and the plain UNet are timed apart; each trial takes
turns with plain float32. What it would make of a step follows from their shares of it. --demo takes the demo model's
sizes, to see that the tool works, and writes nothing.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from frameloom.headless.engine.edits import forward_with_edits
from frameloom.headless.weights.networks import build_unet
from frameloom.headless.weights.shared_attention import share_tokens
from frameloom.models.motion.module import MotionModel, TemporalAttention, motion_size
from frameloom.models.network.layers import attend_briefly
from frameloom.models.network.sizes import DEMO, SD15
from frameloom.models.network.unet import UNetSize, layer_grid
from frameloom.tools.bench import edit_of, flop_counter, ratio
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

REPORT = Path(__file__).resolve().parent.parent / "docs" / "bench_floor.md"
FRAMES, PIXELS, TOKENS = 16, 256, 77
GOAL, CLOSE = 0.8, 1e-3  # of a step; how far its results may be
Change = Callable[[Any], Any]


@dataclass
class Trial:
    """One way to make layers cheaper.

    Attributes:
        name: name of what is tried.
        change: function that makes a network's copy so.
        seconds, plain: seconds of each round, with it and without.
        apart: distance of its results from the plain network's, by the norm, over theirs.
    """

    name: str
    change: Change
    seconds: list[float]
    plain: list[float]
    apart: float = 0.0


class InBfloat16(nn.Module):
    """Runs a network in bfloat16 where autocast does so, and hands its results on in float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Run it."""
        with torch.autocast("cpu", torch.bfloat16):
            result = self.network(*inputs, **options)
        return result.float() if isinstance(result, Tensor) else tuple(each.float() for each in result)


class LaidOut(nn.Module):
    """A linear layer or a convolution whose weights are laid out once as oneDNN wants them, and not at every call."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        self.weight: Tensor | None = None  # convolutions' depends on the picture's size

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer would."""
        layer, kernels = self.layer, torch.ops.mkldnn
        weight = layer.weight.detach()
        if isinstance(layer, nn.Linear):
            if self.weight is None:
                self.weight = kernels._reorder_linear_weight(weight, None)
            return kernels._linear_pointwise(x, self.weight, layer.bias, "none", [], "")
        sizes = (layer.padding, layer.stride, layer.dilation, layer.groups)
        if self.weight is None:
            self.weight = kernels._reorder_convolution_weight(weight, *sizes, x.shape)
        return kernels._convolution_pointwise(x, self.weight, layer.bias, *sizes, "none", [], "")


def lay_out(network: nn.Module) -> nn.Module:
    """Replace a network's linear layers and convolutions."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear | nn.Conv2d):
                setattr(module, name, LaidOut(child))
    return network


def multiply_briefly(network: nn.Module) -> nn.Module:
    """Let a slot attend by products of small matrices."""
    for module in network.modules():
        if isinstance(module, TemporalAttention):
            module.attend = attend_briefly
    return network


def last(network: Any) -> nn.Module:
    """Put channels last in memory."""
    return network.to(memory_format=torch.channels_last)


INTRODUCTION = f"""\
# Bench: below the floor

Written by `tools/bench_floor.py`. A step takes about the time of its counted FLOPs ([bench](bench.md)). What could make
it cheaper was tried at SD1.5's sizes, {FRAMES} frames of {PIXELS} px, on a CPU that has bfloat16 (threads: {{cores}}).
*Over float32's*: medians of pairs with their 95 % bootstrap intervals, of the layers that change. *A step's* follows
from the share of a step that these layers take. *Apart*: how far what they give is from float32's, by the norm.

The goal: a step of {GOAL} of today's, within {CLOSE:.0e}. Trials that reach it: **{{reached}}**.

| trial | layers | over float32's | a step's | apart |
| --- | --- | --- | --- | --- |
{{table}}

- A motion module's slots take {{share:.2f}} of a step. A module that costs nothing would leave {{rest:.2f}}; to reach
  {GOAL}, its slots would have to take {{needed:.2f}} of their time.
- With slots alone in bfloat16, a step's answer is {{apart:.0e}} from float32's.
- The two sides of guidance work out alike what stands before text is first read: {{shared[0]:.3f}} of a plain step's
  FLOPs at 256 px, {{shared[1]:.3f}} at 512 px. To ask it once would save half of that.
- A whole network in bfloat16 is the host's choice (ComfyUI's `--bf16-unet`). It helps every pack alike.
- Weights that are laid out once help a CPU alone, and most where few frames go at once: each call lays them out again.

No option was added for any of these. Nothing here was measured on a GPU.
"""
SLOTS: dict[str, Change] = {
    "bfloat16 (autocast)": InBfloat16,
    "`torch.compile`": lambda slot: torch.compile(slot, dynamic=False),
    "weights laid out once for oneDNN": lay_out,
    "channels last": last,
    "attention as products of small matrices": multiply_briefly,
}
WHOLE = {
    name: SLOTS[name] for name in ("bfloat16 (autocast)", "weights laid out once for oneDNN", "channels last")
}


def motion_module(size: UNetSize) -> MotionModel:
    """Build a motion module that changes something."""
    torch.manual_seed(0)
    motion = MotionModel(motion_size(size)).eval().requires_grad_(False)
    for name in motion.slots:
        nn.init.normal_(motion.transformer(name).proj_out.weight, std=0.02)
    return motion


def take_turns(trials: Sequence[Trial], plain: nn.Module, ask: Callable[[Any], Tensor], rounds: int) -> float:
    """Time each trial beside the plain network, and return the plain network's median seconds."""
    took: list[float] = []
    for trial in trials:
        changed = trial.change(copy.deepcopy(plain))
        wanted, found = ask(plain), ask(changed)
        trial.apart = max(trial.apart, float((found - wanted).norm() / wanted.norm()))
        for turn in range(rounds):
            pair = {}
            for network in (plain, changed) if turn % 2 else (changed, plain):
                started = time.perf_counter()
                ask(network)
                pair[network] = time.perf_counter() - started
            trial.seconds.append(pair[changed])
            trial.plain.append(pair[plain])
            took.append(pair[plain])
        print(f"{trial.name}: {trial.seconds[-rounds:]} for {trial.plain[-rounds:]}", flush=True)
    return statistics.median(took)


def _ask_slot(slot: Any, hidden: Tensor) -> Tensor:
    return slot(hidden, FRAMES)


@torch.inference_mode()
def try_slots(size: UNetSize, rounds: int) -> tuple[list[Trial], float]:
    """Return the trials on slots, and the seconds of all slots of a clip; slots of one shape are timed once."""
    trials = [Trial(name, change, [], []) for name, change in SLOTS.items()]
    motion, total = motion_module(size), 0.0
    shapes: dict[tuple[int, int], list[str]] = {}
    for place in size.places:
        if place.slot in motion.slots:
            shapes.setdefault((place.width, place.level), []).append(place.slot)
    for (channels, level), names in shapes.items():
        slot = motion.transformer(names[0])
        hidden = torch.randn(FRAMES, channels, *layer_grid((PIXELS // 8, PIXELS // 8), level))
        parts = [Trial(trial.name, trial.change, [], []) for trial in trials]
        total += len(names) * take_turns(parts, slot, partial(_ask_slot, hidden=hidden), rounds)
        for trial, part in zip(trials, parts, strict=True):
            for mine, found in ((trial.seconds, part.seconds), (trial.plain, part.plain)):
                mine[:] = [
                    before + len(names) * one
                    for before, one in zip(mine or [0.0] * rounds, found, strict=True)
                ]
            trial.apart = max(trial.apart, part.apart)
    return trials, total


@torch.inference_mode()
def try_whole(size: UNetSize, rounds: int) -> tuple[list[Trial], float]:
    """Return the trials on a plain UNet, and its seconds for a clip."""
    torch.manual_seed(0)
    unet = build_unet(size).eval().requires_grad_(False)
    noisy = torch.randn(FRAMES, 4, PIXELS // 8, PIXELS // 8)
    text = torch.randn(FRAMES, TOKENS, size.context_dim)

    def ask(network: Any) -> Tensor:
        return network(noisy, 999, encoder_hidden_states=text, return_dict=False)[0]

    trials = [Trial(name, change, [], []) for name, change in WHOLE.items()]
    return trials, take_turns(trials, unet, ask, rounds)


@torch.inference_mode()
def step_apart(size: UNetSize) -> float:
    """Return how far a step's answer is from float32's, by the norm, where slots alone are in bfloat16."""
    answers = []
    for change in (lambda slot: slot, InBfloat16):
        motion = motion_module(size)
        for name in motion.slots:
            slot: Any = motion.get_submodule(name)
            slot["temporal_transformer"] = change(motion.transformer(name))
        torch.manual_seed(1)
        unet = share_tokens(build_unet(size)).eval().requires_grad_(False)
        noisy, text = torch.randn(FRAMES, 4, 16, 16), torch.randn(1, TOKENS, size.context_dim)
        with forward_with_edits(unet, [edit_of(motion)], FRAMES) as forward:
            answers.append(forward(noisy, torch.full((FRAMES,), 500), text))
    plain, low = answers
    return float((low - plain).norm() / plain.norm())


def shared_share(size: UNetSize, pixels: int) -> float:
    """Return the share of FLOPs that the two sides of guidance work out alike: all before text is first read."""
    with FakeTensorMode(), torch.no_grad():
        unet: UNet2DConditionModel = build_unet(size)
        noisy, text = torch.empty(1, 4, pixels // 8, pixels // 8), torch.empty(1, TOKENS, size.context_dim)
        with flop_counter() as whole:
            unet(noisy, torch.full((1,), 500), encoder_hidden_states=text)
        hidden = torch.empty(1, size.model_channels, pixels // 8, pixels // 8)
        places = hidden.flatten(2).mT
        first: Any = unet.down_blocks[0]
        with flop_counter() as alike:
            unet.conv_in(noisy)
            first.resnets[0](hidden, torch.empty(1, 4 * size.model_channels))
            first.attentions[0].proj_in(hidden)
            first.attentions[0].transformer_blocks[0].attn1(places)
    return alike.get_total_flops() / whole.get_total_flops()


def report(
    slots: Sequence[Trial], whole: Sequence[Trial], share: float, apart: float, shared: Sequence[float]
) -> str:
    """Render the figures as Markdown; ``share`` is the slots' of a step's time."""
    table, reached = [], []
    for layers, trials, part in (("slots", slots, share), ("plain UNet", whole, 1 - share)):
        for trial in trials:
            pairs = [one / other for one, other in zip(trial.seconds, trial.plain, strict=True)]
            step = 1 - part * (1 - statistics.median(pairs))
            table.append(
                f"| {trial.name} | {layers} | {ratio(trial.seconds, trial.plain)} | {step:.3f} | {trial.apart:.0e} |"
            )
            reached += [trial.name] if step <= GOAL and trial.apart <= CLOSE else []
    return INTRODUCTION.format(
        cores=torch.get_num_threads(),
        reached=", ".join(reached) or "none",
        share=share,
        rest=1 - share,
        needed=1 - (1 - GOAL) / share,
        table="\n".join(table),
        apart=apart,
        shared=shared,
    )


def main() -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--demo", action="store_true")
    arguments = parser.parse_args()
    size = DEMO.unet if arguments.demo else SD15.unet
    slots, slots_seconds = try_slots(size, arguments.rounds)
    whole, whole_seconds = try_whole(size, arguments.rounds)
    share = slots_seconds / (slots_seconds + whole_seconds)
    shared = [shared_share(size, pixels) for pixels in (256, 512)]
    text = report(slots, whole, share, step_apart(size), shared)
    print(text)
    if not arguments.demo:
        REPORT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
