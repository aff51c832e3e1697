#!/usr/bin/env python3
"""Time a denoising step with and without the motion module, beside diffusers' AnimateDiff, and write docs/bench.md.

usage: bench.py [--rounds N] [--demo]

SD1.5's sizes with random weights, 128 px, 8 frames with guidance (a batch of 16). The UNets share one set of base
weights and one set of motion weights, run in one process, and take turns, so that whatever else the machine does falls
on all of them. Figures are medians with their quartiles; counted FLOPs stand beside them. Each arm's peak memory comes
from a process of its own. --demo takes the demo model's sizes instead: seconds, to see that the tool works.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from frameloom.headless import networks
from frameloom.headless.edits import forward_with_edits
from frameloom.headless.shared_attention import share_tokens
from frameloom.models.architecture import DEMO, SD15, UNetSize
from frameloom.models.edit import Edit, TemporalEdit
from frameloom.models.motion_checkpoint import MotionWeights, to_diffusers
from frameloom.models.motion_module import MotionModel, motion_size
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

REPORT = Path(__file__).resolve().parent.parent / "docs" / "bench.md"
FRAMES, SIDE = 8, 16
ARMS = 4
Forward = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass
class Arm:
    """One way to make a step, and what it took."""

    name: str
    forward: Forward
    flops: int = 0
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def median(self) -> float:
        """Median seconds of a step."""
        return statistics.median(self.seconds)


def build_adapter(motion: MotionModel) -> MotionAdapter:
    """Build diffusers' adapter with our module's weights."""
    weights = MotionWeights("bench", "v3", motion.size, motion.state_dict(), beta_schedule=None)
    state, config = to_diffusers(weights)
    adapter = MotionAdapter(**config)
    adapter.load_state_dict(state)
    return adapter


def build_arms(size: UNetSize, hooks: ExitStack) -> list[Arm]:
    """Build diffusers' UNet, the headless host's, the same with our module, and diffusers' UNetMotionModel."""
    torch.manual_seed(0)
    unet = networks.build_unet(size).eval().requires_grad_(False)
    motion = MotionModel(motion_size(size)).eval().requires_grad_(False)

    def headless() -> UNet2DConditionModel:
        twin = share_tokens(networks.build_unet(size)).eval().requires_grad_(False)
        twin.load_state_dict(unet.state_dict(), assign=True)
        return twin

    edit = Edit("bench", temporal=TemporalEdit(motion))
    bare = hooks.enter_context(forward_with_edits(headless(), [], FRAMES))
    ours = hooks.enter_context(forward_with_edits(headless(), [edit], FRAMES))
    theirs = UNetMotionModel.from_unet2d(unet, build_adapter(motion)).eval().requires_grad_(False)

    def plain(noisy: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        per_frame = tokens.repeat_interleave(FRAMES, 0)
        return unet(noisy, timesteps, encoder_hidden_states=per_frame, return_dict=False)[0]

    def animatediff(noisy: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        video = noisy.unflatten(0, (-1, FRAMES)).transpose(1, 2)
        per_frame = tokens.repeat_interleave(FRAMES, 0)
        output = theirs(video, timesteps[::FRAMES], encoder_hidden_states=per_frame, return_dict=False)[0]
        return output.transpose(1, 2).flatten(0, 1)

    return [
        Arm("diffusers UNet", plain),
        Arm("headless UNet", bare),
        Arm("headless with module", ours),
        Arm("diffusers AnimateDiff", animatediff),
    ]


def example(size: UNetSize) -> tuple[Tensor, Tensor, Tensor]:
    """Return noisy latents [2F, 4, H, W], timesteps [2F], and the text of the two sides of guidance, [2, 77, D]."""
    batch = 2 * FRAMES
    return (
        torch.randn(batch, 4, SIDE, SIDE),
        torch.full((batch,), 500),
        torch.randn(2, 77, size.context_dim),
    )


@torch.inference_mode()
def measure(arms: list[Arm], size: UNetSize, rounds: int) -> None:
    """Fill in FLOPs and times; every round runs each arm once, in turning order."""
    inputs = example(size)
    for arm in arms:
        counter = FlopCounterMode(display=False)
        with counter:
            arm.forward(*inputs)
        arm.flops = counter.get_total_flops()
    for turn in range(rounds):
        shift = turn % len(arms)
        for arm in arms[shift:] + arms[:shift]:
            start = time.perf_counter()
            arm.forward(*inputs)
            arm.seconds.append(time.perf_counter() - start)
            print(f"round {turn + 1}/{rounds} {arm.name}: {arm.seconds[-1]:.2f} s", flush=True)


@torch.inference_mode()
def measure_peak(arm: Arm, size: UNetSize) -> int:
    """Return how many bytes a step takes above what the process holds before it. Linux only."""
    inputs = example(size)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = resident("VmRSS")
    arm.forward(*inputs)
    return resident("VmHWM") - before


def peak_in_own_process(index: int, *, demo: bool) -> int:
    """Return ``measure_peak`` of one arm, from a process that gives memory back as glibc does by itself.

    ``make`` sets a way that keeps it, which would hide what a step takes.
    """
    settings = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, __file__, "--peak", str(index), *(["--demo"] if demo else [])]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=settings)
    return int(done.stdout)


def resident(field: str) -> int:
    """Return this process's resident memory in bytes: ``VmRSS`` now, ``VmHWM`` at its highest."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field)) * 1024


def report(arms: list[Arm], title: str) -> str:
    """Render the figures as Markdown."""
    base, bare, ours, theirs = arms
    lines = [
        f"## {title}",
        "",
        "| arm | s a step, median (quartiles) | time over diffusers UNet | FLOPs over it | memory of a step, MiB |",
        "|---|---|---|---|---|",
    ]
    for arm in arms:
        low, _, high = statistics.quantiles(arm.seconds, n=4)
        lines.append(
            f"| {arm.name} | {arm.median:.2f} ({low:.2f} .. {high:.2f}) | {arm.median / base.median:.3f} "
            f"| {arm.flops / base.flops:.3f} | {arm.peak_bytes / 2**20:.0f} |"
        )

    def overhead(arm: Arm, plain: Arm) -> float:
        pairs = zip(arm.seconds, plain.seconds, strict=True)
        return statistics.median(with_module - without for with_module, without in pairs)

    time_ratio, flop_ratio = ours.median / bare.median, ours.flops / bare.flops
    lines += [
        "",
        f"- Step with the module over the same host's plain step: {time_ratio:.3f} in time, {flop_ratio:.3f} in FLOPs; "
        f"{time_ratio / flop_ratio:.3f} x (target <= 1.10; diffusers' AnimateDiff over diffusers' plain step: "
        f"{theirs.median / base.median / (theirs.flops / base.flops):.3f} x).",
        "- Overhead (patched minus plain, median over rounds) over that of diffusers' AnimateDiff, both against "
        f"diffusers' plain UNet: {overhead(ours, base) / overhead(theirs, base):.3f} (target <= 0.9). The headless "
        "host projects a prompt's keys and values once, not once a frame.",
        f"- The module's layers alone, without that saving (against the headless host's own plain step): "
        f"{overhead(ours, bare) / overhead(theirs, base):.3f}.",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--peak", type=int, help="print one arm's peak memory in bytes, and nothing else")
    arguments = parser.parse_args()
    size, title = (DEMO.unet, "Demo model's sizes") if arguments.demo else (SD15.unet, "SD1.5's sizes")
    with ExitStack() as hooks:
        if arguments.peak is not None:
            print(measure_peak(build_arms(size, hooks)[arguments.peak], size))
            return 0
        peaks = [peak_in_own_process(index, demo=arguments.demo) for index in range(ARMS)]
        arms = build_arms(size, hooks)
        measure(arms, size, arguments.rounds)
    for arm, peak in zip(arms, peaks, strict=True):
        arm.peak_bytes = peak
    threads = torch.get_num_threads()
    text = report(
        arms, f"{title}, {8 * SIDE} px, {FRAMES} frames with guidance, float32, CPU, {threads} threads"
    )
    print(text)
    if not arguments.demo:
        header = (
            "# Bench\n\nWritten by `make bench`: arms take turns in one process; see `tools/bench.py`.\n\n"
        )
        REPORT.write_text(header + text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
