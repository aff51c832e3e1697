#!/usr/bin/env python3
"""Count a step without running it: kernel launches, bytes moved, activations; write docs/bench_paper.md.

SD1.5's UNet of the headless host with a motion module, on tensors that have shapes and no numbers. A launch is one of
torch's operations that is no view; it reads its inputs and writes its outputs once. Activations are what is alive at
the worst moment beside weights, without what a kernel takes for itself.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from frameloom.headless.engine.edits import edited
from frameloom.headless.engine.parts import InParts
from frameloom.headless.weights.networks import build_unet
from frameloom.headless.weights.shared_attention import share_tokens
from frameloom.models.edits.call import Call, Condition
from frameloom.models.edits.edit import Edit
from frameloom.models.edits.lockstep import Cut
from frameloom.models.long_video.free_noise import WindowFusion
from frameloom.models.motion.module import MotionModel, motion_size
from frameloom.models.network.sizes import SD15
from frameloom.tools.bench import edit_of
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

REPORT = Path(__file__).resolve().parent.parent / "docs" / "bench_paper.md"
MIB, GIB = 2**20, 2**30
WINDOW, STRIDE = 16, 4
CARDS = (6, 8, 12, 24)
BESIDE = 1.0  # GiB that a driver, its context and an allocator's gaps are taken to need


class Counter(TorchDispatchMode):
    """Counts the operations that run while it is on.

    Attributes:
        launches: operations that are no views.
        moved: bytes that they read and wrote.
        peak: most bytes at once that they made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launches = self.moved = self.peak = self._now = 0
        self._live: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Run an operation and count it."""
        result = func(*args, **(kwargs or {}))
        given, made = (
            [each for each in tree_leaves(tree) if isinstance(each, Tensor)]
            for tree in ((args, kwargs), result)
        )
        aliases = [each.alias_info for each in func._schema.returns]
        if made and any(alias is None or alias.is_write for alias in aliases):
            self.launches += 1
            self.moved += sum(each.nbytes for each in (*given, *made))
        known = {each.untyped_storage()._cdata for each in given} | self._live.keys()
        for storage in (each.untyped_storage() for each in made):
            key = storage._cdata
            if key not in known:
                self._live[key] = storage.nbytes()
                self._now += storage.nbytes()
                self.peak = max(self.peak, self._now)
                weakref.finalize(storage, self._free, key)
        return result

    def _free(self, key: int) -> None:
        self._now -= self._live.pop(key)


@dataclass(frozen=True)
class Count:
    """What a step takes: see ``Counter``; and the bytes of the weights."""

    launches: int
    moved: int
    peak: int
    weights: int


def count(
    frames: int, pixels: int, at_once: int, *, sides: int = 2, dtype: torch.dtype = torch.float16
) -> Count:
    """Count a step of a clip, with FreeNoise where it is longer than a module knows.

    Args:
        frames: frames of the clip.
        pixels: side of the picture.
        at_once: frames that go through the network's own layers at once.
        sides: conditions that are asked together.
        dtype: precision of weights and activations.
    """
    cells, usual = pixels // 8, torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with FakeTensorMode(), torch.no_grad(), ExitStack() as hooks:
            unet = share_tokens(build_unet(SD15.unet)).eval()
            motion = MotionModel(motion_size(SD15.unet)).eval()
            edits = [edit_of(motion)]
            if frames > motion.size.max_frames:
                edits.append(Edit("paper", time=WindowFusion(WINDOW, STRIDE)))
            run = hooks.enter_context(edited(unet, edits))
            conditions = tuple(Condition(side) for side in range(sides))
            call = Call(frames, 1, conditions, tuple(range(frames)), 1.0, 0.5, (cells, cells))
            cut = Cut(sides, frames, at_once)
            run.begin(replace(call, parts=len(cut.parts)))
            network = InParts(unet, run, cut) if len(cut.parts) > 1 else unet
            noisy = torch.empty(sides * frames, 4, cells, cells)
            text = torch.empty(sides, 77, SD15.unet.context_dim)
            with Counter() as counter:
                network(noisy, torch.full((1,), 500), encoder_hidden_states=text, return_dict=False)
            held = sum(each.nbytes for each in (*unet.parameters(), *motion.parameters()))
    finally:
        torch.set_default_dtype(usual)
    return Count(counter.launches, counter.moved, counter.peak, held)


def rows(counts: Mapping[tuple[int, int], Count]) -> list[str]:
    """Render counts by frames and frames at once."""
    lines = [
        "| frames | at once | launches | GiB moved | activations, MiB | with weights, GiB |",
        "|---|---|---|---|---|---|",
    ]
    for (frames, at_once), found in counts.items():
        lines.append(
            f"| {frames} | {'all' if at_once == frames else at_once} | {found.launches:,} | {found.moved / GIB:.0f} | "
            f"{found.peak / MIB:,.0f} | {(found.peak + found.weights) / GIB:.2f} |"
        )
    return lines


def most_frames(short: Count, long: Count, frames: tuple[int, int], card: int) -> int:
    """Return how many frames fit on a card, by the line through two clips of different length."""
    slope = (long.peak - short.peak) / (frames[1] - frames[0])
    room = (card - BESIDE) * GIB - short.weights - (short.peak - slope * frames[0])
    return int(room / slope)


def main() -> int:
    """Count, and write the page."""
    pixels, short, long = 512, 16, 64
    counts = {
        (frames, at_once): count(frames, pixels, at_once)
        for frames in (short, long)
        for at_once in (frames, 8, 4, 2)
    }
    known = {
        at_once: count(16, 384, at_once, sides=1, dtype=torch.float32).peak / MIB for at_once in (16, 4, 2)
    }
    fits = [
        f"| {'all' if at_once is None else at_once} | "
        + " | ".join(
            str(
                most_frames(
                    counts[short, at_once or short], counts[long, at_once or long], (short, long), card
                )
            )
            for card in CARDS
        )
        + " |"
        for at_once in (None, 8, 4, 2)
    ]
    text = [
        "# Bench on paper: a step on a GPU",
        "",
        "Written by `tools/bench_paper.py`, which runs nothing: it counts torch's operations on tensors without "
        f"numbers. SD1.5 with a v3 motion module, {pixels} px, float16, both sides of guidance in one batch, the "
        f"headless host's network; {long} frames with FreeNoise ({WINDOW}, stride {STRIDE}). Activations are without "
        "what kernels take for themselves. No GPU took part.",
        "",
        *rows(counts),
        "",
        "Fewer frames at once are more launches of smaller kernels: on a GPU that waits for launches they cost time, "
        "and the weights are read once for each part.",
        "",
        f"Frames that fit on a card, by the line through {short} and {long} frames, with weights and {BESIDE:g} GiB "
        "for what else a card holds:",
        "",
        "| at once | " + " | ".join(f"{card} GB" for card in CARDS) + " |",
        "|---|" + "---|" * len(CARDS),
        *fits,
        "",
        "Beside what was measured: 16 frames of 384 px, float32, one side at a time, in ComfyUI on a CPU "
        "([bench_peers.md](bench_peers.md)), where kernels' own buffers are in the figure. Counted: "
        + "; ".join(f"{most} at once {peak:,.0f} MiB" for most, peak in known.items())
        + ".",
        "",
    ]
    REPORT.write_text("\n".join(text), encoding="utf-8")
    print("\n".join(text))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
