"""Measure what the demo model does, with controls, and write docs/evidence.md.

usage: python -m frameloom.tools.evidence [--samples N] [--only SECTION ...] [--device NAME] [--workers N]

Runs headless, on the shipped weights; on the CPU, unless another device is named, which a section then says. Every
prompt, start noise and order comes from fixed seeds, so the set is published by this folder. Rows live in
docs/evidence.json, keyed by the hash of the files that their section measures: what was measured on these very weights
is not measured again, and what was measured on others is not shown.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from .foreground import DILATION, mask_rows, smoothing_rows
from .free_init import free_init_rows
from .free_noise import free_noise_rows
from .layout import CROP, SIDE, energy_rows, layout_rows, two_rows
from .layout import FRAMES as LAYOUT_FRAMES
from .layout_prior import FAR, prior_rows
from .layout_prior import FILE as PRIOR_FILE
from .long_video import DEPTH, LENGTH, adapted_rows, long_rows
from .long_video import FRAMES as LONG_FRAMES
from .mask_adapter import adapter_rows
from .motion import lora_rows, unmoved_rows, video_rows
from .pictures import detector_rows, image_rows
from .prompt_travel import travel_rows
from .rows import Row, judge
from .scenes import scene_rows
from .scripts import language_model_rows, storyboard_rows
from .studio import ADAPTER_FILE, ASSETS, CFG, CPU, ROOT, SAMPLER, SCHEDULER, STEPS, Studio
from .training import WORKFLOW as TRAINING_WORKFLOW
from .training import training_rows
from .zero_shot import DEMO, FRAMES, INSIDE, PAPER, demo_rows, open_rows, setting_rows
from .zero_shot import STEPS as ZERO_SHOT_STEPS

ROWS = ROOT / "docs" / "evidence.json"
REPORT = ROOT / "docs" / "evidence.md"
PARTS = ("keys", "samples", "devices", "sections")  # of what is stored, each by section

MODEL, MOTION, LORA = (
    ASSETS / name for name in ("model.safetensors", "motion.safetensors", "pan_left.safetensors")
)
MOVING = (MODEL, MOTION)
ADAPTED = (*MOVING, ASSETS / ADAPTER_FILE)


@dataclass(frozen=True)
class Section:
    """A part of the evidence.

    Attributes:
        rows: measures it.
        files: all that it measures, which its rows are keyed by.
    """

    rows: Callable[[Studio, int], list[Row]]
    files: tuple[Path, ...]

    @property
    def key(self) -> str:
        """Hash of its files."""
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


SECTIONS = {
    "detector": Section(detector_rows, ()),
    "image": Section(image_rows, (MODEL,)),
    "video": Section(video_rows, MOVING),
    "video, no module": Section(unmoved_rows, (MODEL,)),
    "motion LoRA": Section(lora_rows, (*MOVING, LORA)),
    "zero-shot video": Section(demo_rows, (MODEL,)),
    "zero-shot video, background unsaid": Section(open_rows, (MODEL,)),
    "zero-shot video, settings": Section(setting_rows, (MODEL,)),
    "foreground masks": Section(mask_rows, (MODEL,)),
    "background smoothing, background unsaid": Section(smoothing_rows, (MODEL,)),
    "layouts": Section(layout_rows, MOVING),
    "layouts, energy": Section(energy_rows, (MODEL,)),
    "layouts, two things": Section(two_rows, (MODEL,)),
    "scenes": Section(scene_rows, (MODEL,)),
    "mask adapter": Section(adapter_rows, ADAPTED),
    "long video": Section(long_rows, MOVING),
    "long video, mask adapter": Section(adapted_rows, ADAPTED),
    "FreeNoise": Section(free_noise_rows, MOVING),
    "FreeInit": Section(free_init_rows, MOVING),
    "prompt travel": Section(travel_rows, MOVING),
    "training": Section(training_rows, (*MOVING, TRAINING_WORKFLOW)),
    "layout prior": Section(prior_rows, (ASSETS / PRIOR_FILE,)),
    "storyboards, by source": Section(lambda studio, samples: storyboard_rows(), ()),
    "storyboards, by a small language model": Section(lambda studio, samples: language_model_rows(), ()),
}

# What a reader must know of a section.
NOTES = {
    "zero-shot video": f"{FRAMES} frames, {ZERO_SHOT_STEPS} steps, t1 {DEMO[0]} and t0 {DEMO[1]}, as in the demo "
    "workflows. Prompts say color, shape and background, and the path is in the frames at t1; so cross-frame attention "
    "is not needed for either here. A way leads from the shape in frame 0 to that in the last frame, on each axis. "
    f"Ending inside: the path's end lies within {INSIDE[0]} to {INSIDE[1]} of the picture, where the demo model has "
    "learned to draw shapes; beyond, the edge cuts them off, or the model puts them elsewhere.",
    "zero-shot video, background unsaid": f"t1 {PAPER[0]} and t0 {PAPER[1]}, the paper's: noisy enough that little is "
    "decided yet. Prompts say no background, so a frame learns which one to take from its own noise or from frame 0.",
    "zero-shot video, settings": "A path is followed where the model has decided a shape's place by t0. At the paper's "
    "levels the demo model has not, and the way says little of the path; choose lower ones for it.",
    "foreground masks": f"Of the zero-shot clips at t1 {DEMO[0]} and t0 {DEMO[1]}, by Foreground Mask with its "
    "defaults, in cells of 8 pixels; undilated unless the row says. IoU and cover are of all clips' cells together. "
    f"Smoothing takes the mask dilated by {DILATION}: at these levels backgrounds agree already, and it has nothing to "
    "do.",
    "background smoothing, background unsaid": f"t1 {PAPER[0]} and t0 {PAPER[1]}, prompts that say no background, and "
    "no cross-frame attention: nothing but smoothing tells a frame which one frame 0 took.",
    "layouts": f"Layout Conditioning with its defaults, {LAYOUT_FRAMES} frames. Boxes have sides of {SIDE} of the "
    "picture, what the demo model calls small, and tracks are those of the training clips. Prompts say no place, no "
    "way and no direction; arms of a storyboard share their start noise. Another storyboard's boxes: drawn with those, "
    "held against its own. IoU is of the bounding box of what the detector finds; a triangle's never fills its box. "
    "A direction counts when it is within 45 degrees of the boxes'; chance is a quarter.",
    "layouts, energy": "The experimental method with its defaults, on the first storyboards of those above.",
    "layouts, two things": "Two things of other colors and shapes pass each other on opposite sides of the picture. "
    f"The demo model has only ever seen one. Looks are of squares of {CROP} of the picture around each thing's boxes; "
    "where the detector finds nothing there, no color and no shape counts.",
    "scenes": "Scene Start behind Cross Frame Attention. An anchor is a picture of the same thing, by itself and "
    "from other noise. The change of the thing is the mean difference, of a range of 1, between what its box shows in "
    "the first frame and in the others.",
    "long video": f"{LONG_FRAMES} frames of a shape at a place that the prompt names. NUWA: L {LENGTH}, depth {DEPTH}, "
    "with the nodes' defaults. Seams are around given frames, at windows' ends and at clips'. A cross-fade of NUWA's "
    "own keyframes is what one has without a model: it jumps nowhere, and nothing moves in it.",
    "mask adapter": "Clips of the training set's kind, drawn anew, of which both ends or the first frames are given. "
    "Prompts say color, shape and background, neither place nor way. With the adapter: Nuwa Interpolate from own "
    "noise, without resampling, and a run with the first frames held. Training-free: Nuwa Interpolate's defaults. The "
    "clip itself went through the VAE, and is as good as one can be. After one frame, its trail tells the way, and "
    "nothing how far: the distances are from one of many clips that would be right. Four frames tell how fast as well.",
    "long video, mask adapter": "The keyframes of the section above, with the adapter between them: own noise, no "
    "resampling. It was trained on 16 frames, and here has 7.",
    "FreeNoise": "48 frames, three windows. Windows alone: the motion module attends in windows, and every frame has "
    "noise of its own. Clips, joined: three runs that know nothing of each other.",
    "FreeInit": "Prompts say no background, so that frames can differ in it, and no way. On the demo model they agree "
    "on it in one run already, so that there is little to gain; the clip of `freeinit_demo` is one of the few where "
    "they do not.",
    "prompt travel": "From a color to its neighbour in the list, over 16 frames. On the way the demo model draws a "
    "third color in one frame of three.",
    "training": "`train_motion_demo` as it stands: 1,000 steps from the bundled module, on 160 drawn circles, one clip "
    "a step. Prompts are captions of other circles, which name no motion. Going once round is three quarters of a turn "
    "at least, either way, without turning back, on a path that a circle fits.",
    "layout prior": "The bundled one, made by Train Layout Prior's recipe of drawn shapes in seven minutes of a CPU "
    "core. Asked by Layout Prior's defaults for captions and names of scenes that training held out. Random "
    "weights and random boxes keep to the same grammar. Precision, recall, density and coverage are Naeem et al.'s "
    "with five neighbours, on tracks: places, sizes and their changes; scenes trained on are what a perfect prior has. "
    "Recall means little beside scattered boxes, whose neighbourhoods are wide. A caption is held against the track "
    f"that it was made of: same way within 45 degrees; still is what goes no farther than {FAR} of the picture; the "
    "same of nine places. Another caption: the layout of one, held against what another says.",
    "storyboards, by source": "40 English scripts of 1 to 4 scenes, of shapes and of everyday things, each with what "
    "its scenes should hold, where that goes, and how it stands. 20 were in view while the rules were written; the "
    "other 20 were written, by the same author, when they were finished, and the rules were not changed for them. n "
    "counts what is asked: scripts, scenes, things, relations. No picture is made. The layout prior has random "
    "weights: it is what its grammar alone gives, and the chance level of ways and relations.",
    "storyboards, by a small language model": "The same scripts by Local LLM with SmolLM2, 135 M weights in 4 bits, "
    "the smallest that one could ask, with the node's defaults: it is held to the form of an answer, and has to find "
    "its content. Use one of several billion weights.",
}


def read_rows() -> dict:
    """Return what is stored of the sections whose files are as they were, in their order."""
    stored = _load()
    current = [name for name, section in SECTIONS.items() if stored["keys"].get(name) == section.key]
    return {part: {name: stored[part][name] for name in current} for part in PARTS}


def _load() -> dict:
    return json.loads(ROWS.read_text()) if ROWS.exists() else {part: {} for part in PARTS}


def store(section: str, rows: list[dict], samples: int, device: str) -> None:
    """Put a section's rows, what ``--samples`` was, and where it ran beside what another process may have stored."""
    stored = _load()
    for part, value in zip(PARTS, (SECTIONS[section].key, samples, device, rows), strict=True):
        stored[part][section] = value
    ROWS.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def write_report(stored: dict) -> None:
    """Render docs/evidence.md from the stored rows."""
    lines = [
        "# Evidence",
        "",
        "Written by `make evidence`; every row is measured on the bundled demo model, headless, on a CPU unless a "
        f"section says otherwise: {STEPS} steps of {SAMPLER}, {SCHEDULER} schedule, guidance {CFG}. Prompts and start "
        "noise are fixed by `tools/evidence/`. Intervals are 95 % bootstrap over independent samples; a target stands "
        "beside the row it is for, and is met (yes) when the whole interval meets it.",
    ]
    for section, rows in stored["sections"].items():
        lines += [
            "",
            f"## {section[0].upper() + section[1:]}",
            "",
            *([NOTES[section], ""] if section in NOTES else []),
            *([] if (device := stored["devices"][section]) == CPU else [f"Measured on {device}.", ""]),
            "| claim | arm | mean | 95 % interval | n | target | met |",
        ]
        lines += ["|---|---|---|---|---|---|---|"]
        for entry in rows:
            value, interval = show(entry)
            cells = [
                entry["claim"],
                entry["arm"],
                value,
                interval,
                str(entry["count"]),
                entry["target"],
                judge(entry),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    REPORT.write_text("\n".join(lines) + "\n", encoding="utf-8")


def show(entry: dict) -> tuple[str, str]:
    """Render a row's figure and its interval, with powers of ten where three decimals would say nothing."""
    largest = max(abs(entry["low"]), abs(entry["high"]))
    value, low, high = (
        f"{entry[name]:{'.0e' if 0 < largest < 0.001 else '.3f'}}" for name in ("value", "low", "high")
    )
    return value, f"{low} .. {high}"


def main() -> int:
    """Measure what is missing and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--device", default="cpu", help="by torch's name")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that share the prompts of long video"
    )
    arguments = parser.parse_args()
    studio = Studio(arguments.device, arguments.workers)
    for section in arguments.only:
        if read_rows()["samples"].get(section, 0) >= arguments.samples:
            print(f"{section}: measured already")
        else:
            start = time.time()
            rows = [asdict(entry) for entry in SECTIONS[section].rows(studio, arguments.samples)]
            print(f"{section}: {time.time() - start:.0f} s", flush=True)
            store(section, rows, arguments.samples, studio.device)
        write_report(read_rows())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
