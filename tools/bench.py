#!/usr/bin/env python3
"""Time a denoising step with and without a technique, beside diffusers' own way, and write docs/bench.md.

usage: bench.py [--rounds N] [--only CASE ...] [--demo]

SD1.5's sizes with random weights, 8 frames with guidance (a batch of 16). The arms of a case share one set of weights,
run in one process, and take turns, so that whatever else the machine does falls on all of them. Figures are medians
with their quartiles; counted FLOPs and the peak of counted memory stand beside them. A clip's way into a file is timed
on the demo model's VAE. --only measures some cases and keeps the page's others. --demo takes the demo model's sizes
instead: seconds, to see that the tool works; then nothing is written.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.pipelines.deprecated.text_to_video_synthesis.pipeline_text_to_video_zero import (
    CrossFrameAttnProcessor2_0,
    create_motion_field_and_warp_latents,
)
from frameloom.headless import select_host
from frameloom.headless.engine.denoise import sample
from frameloom.headless.engine.edits import edited, forward_with_edits
from frameloom.headless.engine.guidance import CFG
from frameloom.headless.port import HeadlessHost
from frameloom.headless.samplers.sigmas import Sampling
from frameloom.headless.samplers.table import SAMPLERS
from frameloom.headless.seams.layers import attention_layers
from frameloom.headless.weights import networks
from frameloom.headless.weights.model import Model
from frameloom.headless.weights.shared_attention import share_tokens
from frameloom.models.edits.call import PAYLOAD, training_call
from frameloom.models.edits.edit import Edit
from frameloom.models.layout.attention import BoxBias, BoxGather, Layout, Reading, Region
from frameloom.models.long_video.free_noise import WindowFusion
from frameloom.models.motion.checkpoint import MotionWeights, to_diffusers
from frameloom.models.motion.edit import motion_edit
from frameloom.models.motion.module import MotionModel, motion_size
from frameloom.models.network.sizes import DEMO, SD15
from frameloom.models.network.unet import UNetSize
from frameloom.models.training import Learner
from frameloom.models.video.schedules import STABLE_DIFFUSION
from frameloom.models.video.windows import WindowPlan
from frameloom.models.zero_shot.cross_frame import CrossFrameEdit
from frameloom.models.zero_shot.motion_path import translation, warp
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

REPORT = Path(__file__).resolve().parent.parent / "docs" / "bench.md"
FRAMES, SIDE = 8, 32
LONG_CLIP, LONG_SIDE, CRF = 256, 16, 19.0
WINDOW = 4
TWICE, LAYOUT = "plain, twice the frames", "layout of two things, bias and gather"
MOST = 1.1  # times as long as its FLOPs say
HEADER = "# Bench\n\nWritten by `make bench`: arms take turns in one process; see `tools/bench.py`.\n"
BLOCK_SIDE = 64  # of the block alone: 4,096 tokens a frame, as 512 px have at level 0
CROSS_FRAME = Edit("bench", self_attention=CrossFrameEdit())
DIFFUSERS_ALL = "diffusers' UNet with it"
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


@dataclass(frozen=True)
class Case:
    """Arms that take turns.

    Attributes:
        title: name of what is timed.
        cells: length of the latents' side at SD1.5's sizes; the demo model's sizes have a quarter of it.
        build: function that makes the arms at a size; hooks last as long as the stack. The table compares with the
            first.
        example: function that makes the arguments of every arm, of latents of a side.
        conclude: function that says what the figures mean, one line each.
        setting: setting, if the case is not guidance of a short clip at the sizes asked for.
    """

    title: str
    cells: int
    build: Callable[[UNetSize, ExitStack], list[Arm]]
    example: Callable[[UNetSize, int], tuple[Tensor, Tensor, Tensor]]
    conclude: Callable[[list[Arm]], list[str]]
    setting: str = ""


def build_adapter(weights: MotionWeights) -> MotionAdapter:
    """Build diffusers' adapter with our module's weights."""
    state, config = to_diffusers(weights)
    adapter = MotionAdapter(**config)
    adapter.load_state_dict(state)
    return adapter


def random_unet(size: UNetSize) -> UNet2DConditionModel:
    """Build a UNet as diffusers makes it, the same weights every time."""
    torch.manual_seed(0)
    return networks.build_unet(size).eval().requires_grad_(False)


def headless_twin(unet: UNet2DConditionModel, size: UNetSize) -> UNet2DConditionModel:
    """Build the headless host's UNet with the same weights, shared in memory."""
    twin = share_tokens(networks.build_unet(size)).eval().requires_grad_(False)
    twin.load_state_dict(unet.state_dict(), assign=True)
    return twin


def weights_of(motion: MotionModel) -> MotionWeights:
    """Return a motion module's weights, as a file's of version 3."""
    return MotionWeights("bench", "v3", motion.size, motion.state_dict(), beta_schedule=None)


def edit_of(motion: MotionModel) -> Edit:
    """Return the edit that runs a motion module."""
    return motion_edit("bench", Learner(motion, weights_of(motion)))


def module_arms(size: UNetSize, hooks: ExitStack) -> list[Arm]:
    """Build diffusers' UNet, the headless host's, the same with our module, and diffusers' UNetMotionModel."""
    unet = random_unet(size)
    motion = MotionModel(motion_size(size)).eval().requires_grad_(False)
    edit = edit_of(motion)
    bare = hooks.enter_context(forward_with_edits(headless_twin(unet, size), [], FRAMES))
    ours = hooks.enter_context(forward_with_edits(headless_twin(unet, size), [edit], FRAMES))
    theirs: Any = UNetMotionModel.from_unet2d(unet, build_adapter(weights_of(motion)))
    theirs.eval().requires_grad_(False)

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


def cross_frame_twins(size: UNetSize) -> list[tuple[str, UNet2DConditionModel, list[Edit]]]:
    """Build UNets with self-attention of frames' own, ours across frames, and diffusers' across frames.

    The first three differ in nothing else and project the prompt once; the last is diffusers' altogether.
    """
    unet = random_unet(size)
    mixed = headless_twin(unet, size)
    theirs: Any = CrossFrameAttnProcessor2_0(batch_size=2)
    for _, attention in attention_layers(mixed, "attn1"):
        attention.set_processor(theirs)
    plain, ours = headless_twin(unet, size), headless_twin(unet, size)
    unet.set_attn_processor(theirs)
    return [
        ("plain", plain, []),
        ("cross-frame", ours, [CROSS_FRAME]),
        ("diffusers' CrossFrameAttnProcessor2_0", mixed, []),
        (DIFFUSERS_ALL, unet, []),
    ]


def text_for(arm: str, tokens: Tensor) -> Tensor:
    """Return the text as an arm reads it: diffusers' UNet wants it for each frame."""
    return tokens.repeat_interleave(FRAMES, 0) if arm == DIFFUSERS_ALL else tokens


def cross_frame_arms(size: UNetSize, hooks: ExitStack) -> list[Arm]:
    """Build a whole step plain, with cross-frame attention, and with diffusers' processor."""

    def arm(name: str, step: Forward) -> Arm:
        return Arm(name, lambda noisy, timesteps, tokens: step(noisy, timesteps, text_for(name, tokens)))

    return [
        arm(name, hooks.enter_context(forward_with_edits(unet, edits, FRAMES)))
        for name, unet, edits in cross_frame_twins(size)
    ]


def block_arms(size: UNetSize, hooks: ExitStack) -> list[Arm]:
    """Build the same of one transformer block of level 0: self-attention, cross-attention, feed-forward."""
    shallow = UNetSize(size.model_channels, (1,), size.context_dim, size.num_heads, (1,), num_res_blocks=1)

    def arm(name: str, block: torch.nn.Module) -> Arm:
        return Arm(
            name, lambda hidden, _, tokens: block(hidden, encoder_hidden_states=text_for(name, tokens))
        )

    arms = []
    for name, unet, edits in cross_frame_twins(shallow):
        run = hooks.enter_context(edited(unet, edits))
        run.begin(training_call(torch.empty(2 * FRAMES, 4, 64, 64), FRAMES))
        arms.append(arm(name, unet.get_submodule("down_blocks.0.attentions.0.transformer_blocks.0")))
    return arms


def block_example(size: UNetSize, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return a block's input [2F, tokens, C], nothing, and the text, [2, 77, D]."""
    return (
        torch.randn(2 * FRAMES, cells**2, size.model_channels),
        torch.empty(0),
        torch.randn(2, 77, size.context_dim),
    )


def file_arms(_: UNetSize, hooks: ExitStack) -> list[Arm]:
    """Build the two ways of a clip's latents into a file: all pictures at once, and a few at a time."""
    folder = hooks.enter_context(tempfile.TemporaryDirectory())
    port = HeadlessHost("cpu", folder, folder, folder)
    select_host(port)
    from frameloom.headless.core_nodes.video import CreateVideo, SaveVideo  # they need a selected host
    from frameloom.nodes.video.decode_to_video import LOSSY, DecodeToVideo

    vae = port.load_demo()[-1]

    def at_once(latents: Tensor, *_: Tensor) -> Tensor:
        images = port.decode(vae, {"samples": latents})
        codec = {"codec": "h264", "encoding": {"crf": CRF}}
        SaveVideo.execute(CreateVideo.execute(images, 8.0)[0], "clip", {"format": "mp4", "codec": codec})
        return latents

    def in_chunks(latents: Tensor, *_: Tensor) -> Tensor:
        DecodeToVideo.execute({"samples": latents}, vae, 8.0, "clip", LOSSY, CRF, 16)
        return latents

    return [
        Arm("VAE Decode, Create Video, Save Video", at_once),
        Arm("Decode To Video, 16 at a time", in_chunks),
    ]


def file_example(_: UNetSize, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return a long clip's latents, and nothing else."""
    return torch.randn(LONG_CLIP, 4, cells, cells), torch.empty(0), torch.empty(0)


def edits_arms(size: UNetSize, _: ExitStack) -> list[Arm]:
    """Build a sampled step plain, of twice the frames, with what asks as often, and with the module.

    Twice the frames take more than twice the time, whatever they are asked for.
    """
    plain = Model(headless_twin(random_unet(size), size), size, Sampling("eps", STABLE_DIFFUSION), 1.0)
    moving = plain.with_edit(edit_of(MotionModel(motion_size(size)).eval().requires_grad_(False)))
    models = {
        "plain": plain,
        TWICE: plain,
        LAYOUT: plain.with_edit(Edit("bench", cross_attention=BoxBias(), conditions=BoxGather())),
        f"windows of {WINDOW}": plain.with_edit(Edit("bench", windows=WindowPlan(WINDOW, WINDOW // 2))),
        "module": moving,
        f"module, FreeNoise's windows of {WINDOW}": moving.with_edit(
            Edit("bench", time=WindowFusion(WINDOW, WINDOW // 2))
        ),
    }
    sampler, sigmas = SAMPLERS["euler"], plain.sampling.sigmas[[900, 800]]

    def step(model: Model, noise: Tensor, tokens: Tensor) -> Tensor:
        prompt, negative = tokens.split(1)
        layout = two_things(prompt, len(noise)).payload()
        guidance = CFG([[prompt, {PAYLOAD: layout}]], [[negative, {}]], 7.0)
        latent = torch.zeros_like(noise)
        drawn, _ = sample(model, noise, guidance, sampler=sampler, sigmas=sigmas, latent=latent)
        return drawn

    def arm(name: str, model: Model) -> Arm:
        frames = FRAMES * (2 if name == TWICE else 1)
        return Arm(name, lambda noisy, _, tokens: step(model, noisy[:frames], tokens))

    return [arm(name, model) for name, model in models.items()]


def two_things(prompt: Tensor, frames: int) -> Layout:
    """Return a layout of two things that stand beside each other in every frame, for an encoded prompt."""
    present = torch.ones(frames, dtype=torch.bool)
    regions = [
        Region([(place, place + 2)], ((torch.tensor([[left, 0.25, left + 0.4, 0.75]] * frames), present),))
        for place, left in ((2, 0.05), (6, 0.55))
    ]
    alone = [Reading(prompt, (region,)) for region in regions]
    return Layout(Reading(prompt, tuple(regions)), Reading(prompt), tuple(alone))


def warp_arms(_: UNetSize, hooks: ExitStack) -> list[Arm]:
    """Build diffusers' way of a latent along a path into a clip, and ours."""
    path = translation(FRAMES, 12, 12)
    frames = range(FRAMES)

    def theirs(latents: Tensor, *_: Tensor) -> Tensor:
        return create_motion_field_and_warp_latents(12, 12, list(frames), latents.repeat(FRAMES, 1, 1, 1))

    return [
        Arm("diffusers' create_motion_field_and_warp_latents", theirs),
        Arm("Frameloom's warp", lambda latents, *_: warp(latents, path, frames)),
    ]


def warp_example(_: UNetSize, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return a frame of latents, and nothing else."""
    return torch.randn(1, 4, cells, cells), torch.empty(0), torch.empty(0)


def example(size: UNetSize, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return noisy latents [2F, 4, H, W], timesteps [2F], and the text of the two sides of guidance, [2, 77, D]."""
    batch = 2 * FRAMES
    return (
        torch.randn(batch, 4, cells, cells),
        torch.full((batch,), 500),
        torch.randn(2, 77, size.context_dim),
    )


def attention_flops(query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object) -> int:
    """Count one attention, from its shapes: torch counts nothing for the CPU's."""
    return sdpa_flop_count(query, key, value)


def flop_counter() -> FlopCounterMode:
    """Return torch's counter of FLOPs, which counts the CPU's attention, too."""
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(display=False, custom_mapping={attention: attention_flops})


@torch.inference_mode()
def measure(arms: list[Arm], inputs: tuple[Tensor, Tensor, Tensor], rounds: int) -> None:
    """Fill in FLOPs, memory and times; every round runs each arm once, in turning order."""
    for arm in arms:
        with flop_counter() as counter:
            arm.forward(*inputs)
        arm.flops = counter.get_total_flops()
        arm.peak_bytes = measure_peak(arm, inputs)
    for turn in range(rounds):
        shift = turn % len(arms)
        for arm in arms[shift:] + arms[:shift]:
            start = time.perf_counter()
            arm.forward(*inputs)
            arm.seconds.append(time.perf_counter() - start)
            print(f"round {turn + 1}/{rounds} {arm.name}: {arm.seconds[-1]:.2f} s", flush=True)


@torch.inference_mode()
def measure_peak(arm: Arm, inputs: tuple[Tensor, Tensor, Tensor]) -> int:
    """Return how many bytes of tensors a step holds at most, above weights and inputs.

    Counted from what the allocator hands out and takes back, so the same every time; what kernels take past it is not
    in it.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        arm.forward(*inputs)
    profiler: Any = run.profiler  # torch says neither that it is there nor what its events have
    events = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate(event.nbytes() for event in events))


def ratio(seconds: list[float], others: list[float]) -> str:
    """Say how many times as long one arm's steps take: median of pairs, and its 95 % bootstrap interval."""
    ratios = torch.tensor(seconds, dtype=torch.float64) / torch.tensor(others, dtype=torch.float64)
    picks = torch.randint(len(ratios), (2000, len(ratios)), generator=torch.Generator().manual_seed(0))
    medians = ratios[picks].quantile(0.5, dim=1)
    low, high = torch.quantile(medians, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return f"{float(ratios.quantile(0.5)):.3f} ({low:.3f} .. {high:.3f})"


def conclude_module(arms: list[Arm]) -> list[str]:
    """Hold the motion module against the plain step, and diffusers' AnimateDiff."""
    base, bare, ours, theirs = arms

    def overhead(arm: Arm, plain: Arm) -> float:
        pairs = zip(arm.seconds, plain.seconds, strict=True)
        return statistics.median(with_module - without for with_module, without in pairs)

    time_ratio, flop_ratio = ours.median / bare.median, ours.flops / bare.flops
    return [
        f"- Step with the module over the same host's plain step: {time_ratio:.3f} in time, {flop_ratio:.3f} in FLOPs; "
        f"{time_ratio / flop_ratio:.3f} x (target <= 1.10; diffusers' AnimateDiff over diffusers' plain step: "
        f"{theirs.median / base.median / (theirs.flops / base.flops):.3f} x).",
        "- Overhead (patched minus plain, median over rounds) over that of diffusers' AnimateDiff, both against "
        f"diffusers' plain UNet: {overhead(ours, base) / overhead(theirs, base):.3f} (target <= 0.9). The headless "
        "host projects a prompt's keys and values once, not once a frame.",
        f"- The module's layers alone, without that saving (against the headless host's own plain step): "
        f"{overhead(ours, bare) / overhead(theirs, base):.3f}.",
    ]


def conclude_cross_frame(arms: list[Arm]) -> list[str]:
    """Hold cross-frame attention against plain self-attention, and diffusers' processor."""
    plain, ours, theirs, altogether = arms
    more = (ours.peak_bytes - plain.peak_bytes) / 2**20
    return [
        f"- Cross-frame over plain: {ratio(ours.seconds, plain.seconds)} in time (target <= 1.03), "
        f"{ours.flops / plain.flops:.3f} in FLOPs (target below 1), {more:+.0f} MiB of memory (target: not more).",
        f"- Cross-frame over diffusers' processor, all else equal: {ratio(ours.seconds, theirs.seconds)} in time "
        f"(target <= 0.9), {ours.flops / theirs.flops:.3f} in FLOPs. Diffusers' projects every frame's keys and values "
        "and repeats the first frame's; attention itself is as much work in both.",
        f"- Cross-frame over diffusers' UNet with its processor, which projects the prompt for every frame as well: "
        f"{ratio(ours.seconds, altogether.seconds)} in time (target <= 0.9), {ours.flops / altogether.flops:.3f} in "
        "FLOPs.",
    ]


def conclude_file(arms: list[Arm]) -> list[str]:
    """Hold decoding a few frames at a time against decoding all."""
    at_once, in_chunks = arms
    return [
        f"- Decode To Video over the three nodes: {ratio(in_chunks.seconds, at_once.seconds)} in time, "
        f"{in_chunks.peak_bytes / at_once.peak_bytes:.3f} in memory, which does not grow with the clip. Encoders' own "
        "memory is not counted; it is the same in both."
    ]


def conclude_edits(arms: list[Arm]) -> list[str]:
    """Hold each arm's time against its FLOPs; the layout's against those of twice the frames, as many pictures."""
    plain, twice, *others = arms

    def over(arm: Arm) -> str:
        base = twice if arm.name == LAYOUT else plain
        flops = base.flops / arm.flops
        said = ratio([seconds * flops for seconds in arm.seconds], base.seconds)
        return f"{said} of what the time and the FLOPs of {base.name} say"

    return [
        f"- {TWICE}: {ratio(twice.seconds, plain.seconds)} times as long as plain.",
        *(f"- {arm.name}: {over(arm)} (target <= {MOST})." for arm in others),
    ]


def conclude_warp(arms: list[Arm]) -> list[str]:
    """Hold the warp against diffusers'."""
    theirs, ours = arms
    return [
        f"- Frameloom's warp over diffusers': {ratio(ours.seconds, theirs.seconds)} in time (target <= {MOST})."
    ]


CASES = {
    "module": Case("Motion module, a step", SIDE, module_arms, example, conclude_module),
    "block": Case(
        "Cross-frame attention, a transformer block of level 0",
        BLOCK_SIDE,
        block_arms,
        block_example,
        conclude_cross_frame,
    ),
    "step": Case("Cross-frame attention, a step", SIDE, cross_frame_arms, example, conclude_cross_frame),
    "edits": Case("Edits that ask more, a step", SIDE, edits_arms, example, conclude_edits),
    "warp": Case("A latent warped into a clip", BLOCK_SIDE, warp_arms, warp_example, conclude_warp),
    "file": Case(
        "A long clip into a file",
        LONG_SIDE,
        file_arms,
        file_example,
        conclude_file,
        f"Demo model's VAE, {8 * LONG_SIDE} px, {LONG_CLIP} frames, H.264",
    ),
}


def report(case: Case, arms: list[Arm], sizes: str, cells: int) -> str:
    """Render the figures as Markdown."""
    base = arms[0]
    threads = torch.get_num_threads()
    setting = case.setting or f"{sizes}, {8 * cells} px, {FRAMES} frames with guidance"
    lines = [
        f"## {case.title}",
        "",
        f"{setting}, float32, CPU, threads: {threads}.",
        "",
        f"| arm | s, median (quartiles) | time over {base.name} | FLOPs over it | its memory, MiB |",
        "|---|---|---|---|---|",
    ]
    for arm in arms:
        low, _, high = statistics.quantiles(arm.seconds, n=4)
        flops = f"{arm.flops / base.flops:.3f}" if base.flops else ""
        lines.append(
            f"| {arm.name} | {arm.median:.3g} ({low:.3g} .. {high:.3g}) | {arm.median / base.median:.3f} "
            f"| {flops} | {arm.peak_bytes / 2**20:.0f} |"
        )
    return "\n".join([*lines, "", *case.conclude(arms), ""])


def run_case(name: str, size: UNetSize, sizes: str, rounds: int) -> str:
    """Measure one case and render it."""
    case = CASES[name]
    cells = case.cells if size is SD15.unet else case.cells // 4
    with ExitStack() as hooks:
        arms = case.build(size, hooks)
        measure(arms, case.example(size, cells), rounds)
    return report(case, arms, sizes, cells)


def page(before: str, texts: Mapping[str, str]) -> str:
    """Return the page with some cases' sections written anew, and the others as they were."""
    _, *old = before.split("\n## ")
    kept = {section.partition("\n")[0]: f"## {section.rstrip()}\n" for section in old}
    sections = [texts.get(name) or kept.get(case.title) for name, case in CASES.items()]
    return "\n".join([HEADER, *filter(None, sections)])


def main() -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--demo", action="store_true")
    arguments = parser.parse_args()
    size, sizes = (DEMO.unet, "Demo model's sizes") if arguments.demo else (SD15.unet, "SD1.5's sizes")
    texts = {name: run_case(name, size, sizes, arguments.rounds) for name in arguments.only}
    print("\n".join(texts.values()))
    if not arguments.demo:
        REPORT.write_text(page(REPORT.read_text("utf-8"), texts), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
