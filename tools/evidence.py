#!/usr/bin/env python3
"""Measure what the demo model does, with controls, and write docs/evidence.md.

usage: evidence.py [--samples N] [--only SECTION ...]

Runs headless, on the shipped weights. Every prompt, start noise and order comes from fixed seeds, so the set is
published by this file. Rows live in docs/evidence.json, keyed by the weights' hash: a section that was measured on
these very weights is not measured again, and all are when the weights change.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from frameloom.headless.port import HeadlessHost
from frameloom.models import metrics
from frameloom.models.edit import Edit, TemporalEdit
from frameloom.models.motion_checkpoint import read_motion_weights
from frameloom.models.motion_lora import read_motion_lora
from frameloom.training import shapes
from frameloom.training.detector import Measurement, measure
from frameloom.training.loop import step_generator
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "assets" / "demo"
ROWS = ROOT / "docs" / "evidence.json"
REPORT = ROOT / "docs" / "evidence.md"
SEED = 31_337
STEPS, CFG, SAMPLER, SCHEDULER = 12, 3.0, "ddim", "normal"
LATENT_SIDE = shapes.IMAGE_SIZE // 8


@dataclass(frozen=True)
class Row:
    """One measured claim.

    Attributes:
        claim, arm: what is measured, and on what (the technique, or one of its controls).
        value, low, high: mean and the 95 % bootstrap interval.
        count: independent samples.
        target: what the interval is held against, ``>= low`` or ``low .. high``; nothing for a control.
    """

    claim: str
    arm: str
    value: float
    low: float
    high: float
    count: int
    target: str = ""


def row(claim: str, arm: str, values: Tensor, target: str = "") -> Row:
    """Summarise one value per sample: mean and percentile bootstrap of 2,000 resamples."""
    values = values.double().flatten()
    picks = torch.randint(len(values), (2000, len(values)), generator=step_generator(SEED, 0))
    means = values[picks].mean(1)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Row(claim, arm, float(values.mean()), low, high, len(values), target)


def agreement(found: Tensor, wanted: Tensor) -> Tensor:
    """Return 1 where the detector found what was asked for, else 0."""
    return (found == wanted).double()


class Studio:
    """The demo model, headless, and the one way this file samples from it."""

    def __init__(self) -> None:
        self.host = HeadlessHost("cpu", ROOT, ROOT / "output", ROOT)
        self.model, self.clip, self.vae = self.host.load_demo()
        weights = read_motion_weights(ASSETS / "motion.safetensors")
        self.motion = self.host.load_motion(weights)
        self.schedule = weights.beta_schedule

    def animated(self, lora_strength: float = 0.0) -> object:
        """Return the model with the motion module, and the motion LoRA on it if its strength is not 0."""
        motion = self.motion
        if lora_strength:
            motion = motion.with_lora(read_motion_lora(ASSETS / "pan_left.safetensors"), lora_strength)
        return self.host.install(
            self.model, Edit("evidence", temporal=TemporalEdit(motion), schedule=self.schedule)
        )

    def sample(self, model: object, prompt: str, frames: int, seed: int, negative: str = "") -> Tensor:
        """Sample and decode one prompt. Returns [F, 3, H, W] in -1..1."""
        noise = torch.randn(frames, 4, LATENT_SIDE, LATENT_SIDE, generator=step_generator(SEED, seed))
        latent = self.host.sample(
            model,
            self.host.encode_text(self.clip, prompt)[0],
            self.host.encode_text(self.clip, negative)[0],
            {"samples": torch.zeros_like(noise)},
            noise=noise,
            sigmas=self.host.sigmas(model, STEPS, SCHEDULER),
            sampler=SAMPLER,
            cfg=CFG,
        )
        return self.host.decode(self.vae, latent).movedim(-1, 1) * 2 - 1


def detector_rows(_: Studio, samples: int) -> list[Row]:
    """The measuring eye itself: drawn pictures must be read right, noise at chance."""
    truth = shapes.sample_images(samples, step_generator(SEED, 1))
    drawn = measure(shapes.render(truth)[:, 0])
    noise = measure(torch.rand(samples, 3, 128, 128, generator=step_generator(SEED, 2)) * 2 - 1)
    rows = []
    for name in ("shape", "color", "background"):
        rows.append(
            row(
                f"detector: {name}", "drawn", agreement(getattr(drawn, name), getattr(truth, name)), ">= 0.99"
            )
        )
        rows.append(row(f"detector: {name}", "noise", agreement(getattr(noise, name), getattr(truth, name))))
    return rows


def image_rows(studio: Studio, samples: int) -> list[Row]:
    """Text to image: does the picture show what the prompt says? Control: another prompt's words."""
    truth = shapes.sample_images(samples, step_generator(SEED, 3))
    prompts = [shapes.caption(truth, index) for index in range(samples)]
    pictures = [
        studio.sample(studio.model, prompt, 1, 10_000 + index) for index, prompt in enumerate(prompts)
    ]
    found = measure(torch.cat(pictures))
    other = truth.select(torch.arange(samples).roll(1))
    targets = {"color": ">= 0.95", "background": ">= 0.95", "shape": ">= 0.85"}
    rows = []
    for name, target in targets.items():
        value = getattr(found, name)
        rows.append(
            row(f"text to image: {name}", "demo model", agreement(value, getattr(truth, name)), target)
        )
        rows.append(row(f"text to image: {name}", "another's prompt", agreement(value, getattr(other, name))))
    near = (found.centers - torch.tensor(shapes.CELL_CENTERS)[truth.cell.flip(1)]).abs().amax(1) < 0.11
    rows.append(row("text to image: place (of nine)", "demo model", near))
    return rows


def moving_clips(samples: int) -> shapes.Clips:
    """Return clips of the published set: directions in turn, everything else drawn."""
    pool = shapes.sample_clips(8 * samples, step_generator(SEED, 4))
    kinds = len(shapes.DIRECTIONS)
    of_direction = [(pool.direction == index).nonzero().flatten() for index in range(kinds)]
    return pool.select(torch.stack([of_direction[i % kinds][i // kinds] for i in range(samples)]))


def follow(found: list[Measurement]) -> tuple[Tensor, Tensor]:
    """Return the shapes' paths, [B, F, 2] float, normalised, and the frames in which they were found, [B, F] bool."""
    return torch.stack([one.centers for one in found]), torch.stack([one.shape >= 0 for one in found])


def read_direction(centers: Tensor, present: Tensor) -> Tensor:
    """Name each clip's direction from its path (of ``follow``).

    Returns:
        [B] long, index into ``shapes.DIRECTIONS``; -1 where the shape was missing in more than half of the frames.
    """
    x, y = travel(centers, present).unbind(1)
    horizontal = torch.where(x < 0, 0, 1)
    vertical = torch.where(y < 0, 2, 3)
    named = torch.where(x.abs() >= y.abs(), horizontal, vertical)
    named = torch.where(torch.maximum(x.abs(), y.abs()) < 0.08, shapes.STILL, named)
    return torch.where(present.double().mean(1) > 0.5, named, -1)


def travel(centers: Tensor, present: Tensor) -> Tensor:
    """Return each clip's way from its first quarter to its last, [B, 2] double. Arguments: see ``follow``."""
    quarter = max(1, centers.shape[1] // 4)
    weight = present.unsqueeze(-1).double()

    def middle(part: slice) -> Tensor:
        return (centers[:, part] * weight[:, part]).sum(1) / weight[:, part].sum(1).clamp(min=1)

    return middle(slice(-quarter, None)) - middle(slice(quarter))


def mean_step(centers: Tensor) -> Tensor:
    """Return the mean distance of the shape between neighbouring frames, [B], as a share of the width."""
    return (centers[:, 1:] - centers[:, :-1]).norm(dim=-1).mean(1)


def video_rows(studio: Studio, samples: int) -> list[Row]:
    """Text to video: direction, step, similarity; and the same of drawn clips, like those it was trained on."""
    truth = moving_clips(samples)
    clips = sample_clips(studio, studio.animated(), truth, "motion module")
    return [
        *clip_rows("motion module", clips, truth, is_technique=True),
        *clip_rows("drawn clips", shapes.render(truth), truth, is_technique=False),
    ]


def unmoved_rows(studio: Studio, samples: int) -> list[Row]:
    """The video section's control: the same prompts and noise without the motion module."""
    truth = moving_clips(samples)
    clips = sample_clips(studio, studio.model, truth, "no module")
    return clip_rows("no module", clips, truth, is_technique=False)


def sample_clips(studio: Studio, model: object, truth: shapes.Clips, arm: str) -> Tensor:
    """Sample a clip for each caption. Returns [B, F, 3, H, W] in -1..1."""
    clips = []
    for index in range(len(truth)):
        clips.append(studio.sample(model, shapes.caption(truth, index), shapes.FRAMES, 20_000 + index))
        if (index + 1) % 16 == 0:
            print(f"{arm}: {index + 1}/{len(truth)}", flush=True)
    return torch.stack(clips)


def clip_rows(arm: str, clips: Tensor, truth: shapes.Clips, *, is_technique: bool) -> list[Row]:
    """Measure one arm. ``clips``: [B, F, 3, H, W] in -1..1."""
    found = [measure(clip) for clip in clips]
    centers, present = follow(found)
    right = agreement(read_direction(centers, present), truth.direction)
    moving = truth.direction != shapes.STILL
    rows = [row("video: direction (of five)", arm, right, ">= 0.90" if is_technique else "")]
    for index, name in enumerate(shapes.DIRECTIONS):
        rows.append(row(f"video: direction, {name}", arm, right[truth.direction == index]))
    step, true_step = mean_step(centers)[moving], mean_step(truth.centers)[moving]
    rows.append(row("video: step a frame, moving", arm, step))
    rows.append(
        row("video: step over the drawn one", arm, step / true_step, "0.67 .. 1.5" if is_technique else "")
    )
    for name in ("color", "background", "shape"):
        every = torch.stack([getattr(one, name) for one in found])
        rows.append(row(f"video: {name}", arm, agreement(every, getattr(truth, name)[:, None]).mean(1)))
    reports = [metrics.measure((clip.movedim(1, -1) + 1) / 2) for clip in clips]
    for name in ("similarity", "flicker"):
        for control in ("video", "shuffled", "frozen"):
            label = arm if control == "video" else f"{arm}, {control}"
            values = torch.tensor([getattr(getattr(report, control), name) for report in reports])
            rows.append(row(f"video: {name}", label, values))
    return rows


def lora_rows(studio: Studio, samples: int) -> list[Row]:
    """The motion LoRA, a pan to the left: still shapes drift to the right; with negative strength, to the left."""
    drawn = shapes.sample_clips(samples, step_generator(SEED, 5))
    truth = replace(drawn, direction=torch.full_like(drawn.direction, shapes.STILL))
    rows = []
    for strength in (0.0, 1.0, -1.0):
        clips = sample_clips(studio, studio.animated(strength), truth, f"LoRA {strength:g}")
        ways = travel(*follow([measure(clip) for clip in clips]))
        arm = f"strength {strength:g}"
        rows.append(row("motion LoRA: way to the right", arm, ways[:, 0], ">= 0.10" if strength == 1 else ""))
        rows.append(row("motion LoRA: way down", arm, ways[:, 1]))
    return rows


SECTIONS: dict[str, Callable[[Studio, int], list[Row]]] = {
    "detector": detector_rows,
    "image": image_rows,
    "video": video_rows,
    "video, no module": unmoved_rows,
    "motion LoRA": lora_rows,
}


def weights_hash() -> str:
    """Return the hash that rows are keyed by: of the shipped model, motion module and motion LoRA."""
    digest = hashlib.sha256()
    for name in ("model.safetensors", "motion.safetensors", "pan_left.safetensors"):
        digest.update((ASSETS / name).read_bytes())
    return digest.hexdigest()[:16]


def read_rows() -> dict:
    """Return the stored rows; none when they are of other weights."""
    stored = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    return stored if stored.get("weights") == weights_hash() else {"weights": weights_hash(), "sections": {}}


def store(section: str, rows: list[dict]) -> None:
    """Put a section's rows beside what is stored, also by another process meanwhile."""
    stored = read_rows()
    sections = stored["sections"] | {section: rows}
    stored["sections"] = {name: sections[name] for name in SECTIONS if name in sections}
    ROWS.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def judge(entry: dict) -> str:
    """Say how a row stands to its target."""
    if not entry["target"]:
        return ""
    low, _, high = entry["target"].removeprefix(">= ").partition(" .. ")
    if entry["low"] >= float(low) and entry["high"] <= float(high or "inf"):
        return "yes"
    return "by the mean only" if float(low) <= entry["value"] <= float(high or "inf") else "**no**"


def write_report(stored: dict) -> None:
    """Render docs/evidence.md from the stored rows."""
    lines = [
        "# Evidence",
        "",
        "Written by `make evidence`; every row is measured on the bundled demo model, headless, on a CPU. "
        f"Weights `{stored['weights']}`; {STEPS} steps of {SAMPLER}, {SCHEDULER} schedule, guidance {CFG}. Prompts and "
        "start noise are fixed by `tools/evidence.py`. Intervals are 95 % bootstrap over independent samples; a target "
        "stands beside the row it is for, and is met (yes) when the whole interval meets it.",
    ]
    for section, rows in stored["sections"].items():
        lines += [
            "",
            f"## {section[0].upper() + section[1:]}",
            "",
            "| claim | arm | mean | 95 % interval | n | target | met |",
        ]
        lines += ["|---|---|---|---|---|---|---|"]
        for entry in rows:
            interval = f"{entry['low']:.3f} .. {entry['high']:.3f}"
            cells = [
                entry["claim"],
                entry["arm"],
                f"{entry['value']:.3f}",
                interval,
                str(entry["count"]),
                entry["target"],
                judge(entry),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    REPORT.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    """Measure what is missing and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    arguments = parser.parse_args()
    studio = Studio()
    for section in arguments.only:
        rows = read_rows()["sections"].get(section, [])
        if rows and max(entry["count"] for entry in rows) >= arguments.samples:
            print(f"{section}: measured on these weights already")
        else:
            start = time.time()
            rows = [asdict(entry) for entry in SECTIONS[section](studio, arguments.samples)]
            print(f"{section}: {time.time() - start:.0f} s", flush=True)
            store(section, rows)
        write_report(read_rows())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
