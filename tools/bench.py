#!/usr/bin/env python3
"""Time a denoising step with and without the motion module, beside diffusers' AnimateDiff, and write docs/bench.md.

usage: bench.py [--rounds N] [--demo]

SD1.5's sizes with random weights, 128 px, 8 frames with guidance (a batch of 16). The three UNets share one set of base
weights and one set of motion weights, run in one process, and take turns, so that whatever else the machine does falls
on all of them. Figures are medians with their quartiles; counted FLOPs stand beside them. --demo takes the demo model's
sizes instead: seconds, not minutes, to see that the tool works.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import MotionAdapter, UNetMotionModel
from frameloom.headless import networks
from frameloom.headless.edits import forward_with_edits
from frameloom.models.architecture import DEMO, SD15, UNetSize
from frameloom.models.edit import Edit, TemporalEdit
from frameloom.models.motion_checkpoint import MotionWeights, to_diffusers
from frameloom.models.motion_module import MotionModel, motion_size
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

REPORT = Path(__file__).resolve().parent.parent / "docs" / "bench.md"
FRAMES, SIDE = 8, 16
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
    """Build the plain UNet, ours, and diffusers' UNetMotionModel on the same weights."""
    torch.manual_seed(0)
    unet = networks.build_unet(size).eval().requires_grad_(False)
    patched = networks.build_unet(size).eval().requires_grad_(False)
    patched.load_state_dict(unet.state_dict(), assign=True)
    motion = MotionModel(motion_size(size)).eval().requires_grad_(False)
    theirs = UNetMotionModel.from_unet2d(unet, build_adapter(motion)).eval().requires_grad_(False)
    ours = hooks.enter_context(
        forward_with_edits(patched, [Edit("bench", temporal=TemporalEdit(motion))], FRAMES)
    )

    def plain(noisy: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        return unet(noisy, timesteps, encoder_hidden_states=tokens, return_dict=False)[0]

    def animatediff(noisy: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        video = noisy.unflatten(0, (-1, FRAMES)).transpose(1, 2)
        output = theirs(video, timesteps[::FRAMES], encoder_hidden_states=tokens, return_dict=False)[0]
        return output.transpose(1, 2).flatten(0, 1)

    return [Arm("plain UNet", plain), Arm("Frameloom", ours), Arm("diffusers AnimateDiff", animatediff)]


@torch.inference_mode()
def measure(arms: list[Arm], size: UNetSize, rounds: int) -> None:
    """Fill in FLOPs and times; every round runs each arm once, in turning order."""
    batch = 2 * FRAMES
    noisy, tokens = torch.randn(batch, 4, SIDE, SIDE), torch.randn(batch, 77, size.context_dim)
    timesteps = torch.full((batch,), 500)
    for arm in arms:
        counter = FlopCounterMode(display=False)
        with counter:
            arm.forward(noisy, timesteps, tokens)
        arm.flops = counter.get_total_flops()
    for turn in range(rounds):
        for arm in arms[turn % len(arms) :] + arms[: turn % len(arms)]:
            start = time.perf_counter()
            arm.forward(noisy, timesteps, tokens)
            arm.seconds.append(time.perf_counter() - start)
            print(f"round {turn + 1}/{rounds} {arm.name}: {arm.seconds[-1]:.2f} s", flush=True)
        arms[0].peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def report(arms: list[Arm], title: str) -> str:
    """Render the figures as Markdown."""
    plain, ours, theirs = arms
    lines = [
        f"## {title}",
        "",
        "| arm | s a step, median (quartiles) | time over plain | FLOPs over plain |",
        "|---|---|---|---|",
    ]
    for arm in arms:
        low, _, high = statistics.quantiles(arm.seconds, n=4)
        lines.append(
            f"| {arm.name} | {arm.median:.2f} ({low:.2f} .. {high:.2f}) | {arm.median / plain.median:.3f} "
            f"| {arm.flops / plain.flops:.3f} |"
        )
    pairs = list(zip(plain.seconds, ours.seconds, theirs.seconds, strict=True))
    overheads = [(mine - base, other - base) for base, mine, other in pairs]
    ratio = statistics.median(mine for mine, _ in overheads) / statistics.median(
        other for _, other in overheads
    )
    time_ratio, flop_ratio = ours.median / plain.median, ours.flops / plain.flops
    lines += [
        "",
        f"- Step with the module over plain: {time_ratio:.3f} in time, {flop_ratio:.3f} in FLOPs; "
        f"{time_ratio / flop_ratio:.3f} x (target <= 1.10).",
        f"- Overhead (patched minus plain, by round) over diffusers' AnimateDiff's: {ratio:.3f} (target <= 0.9).",
        f"- Peak memory of the process, all three UNets in it: {plain.peak_bytes / 2**30:.1f} GiB.",
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
    arguments = parser.parse_args()
    size, title = (DEMO.unet, "Demo model's sizes") if arguments.demo else (SD15.unet, "SD1.5's sizes")
    with ExitStack() as hooks:
        arms = build_arms(size, hooks)
        measure(arms, size, arguments.rounds)
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
