"""Training: does ``train_motion_demo`` teach the bundled motion module to go in a circle, and leave the base alone?

The workflow's own nodes train, with its values. Prompts are captions of drawn circles that are not in the data set, and
both modules start from the same noise.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from frameloom.models.motion.edit import motion_edit
from frameloom.tools.detector import measure, measure_circling
from frameloom.tools.evidence.motion import follow, moving_clips, sample_clips
from frameloom.tools.evidence.rows import SEED, Row, agreement, row
from frameloom.tools.evidence.studio import MOVING, ROOT, Section, Studio
from frameloom.training import shapes
from frameloom.training.loop import step_generator
from torch import Tensor

WORKFLOW = ROOT / "workflows" / "api" / "train_motion_demo.json"
ROUND = "training: goes once round"
BEFORE, AFTER = "bundled module", "trained"


def training_rows(studio: Studio, samples: int) -> list[Row]:
    """Train as the workflow says, and sample with the module before and after; drawn clips are the controls."""
    circles = shapes.sample_circles(samples, step_generator(SEED, 12))
    frozen = _hash(studio)
    motion = _train(studio)
    schedule = motion.weights.beta_schedule
    trained = studio.host.install(studio.model, motion_edit("evidence", motion, schedule))
    clips = {
        AFTER: sample_clips(studio, trained, circles, AFTER),
        BEFORE: sample_clips(studio, studio.animated(), circles, BEFORE),
        "drawn circles, through the VAE": _through_vae(studio, shapes.render(circles)),
        "drawn straight clips, through the VAE": _through_vae(studio, shapes.render(moving_clips(samples))),
    }
    found = {arm: [measure(clip) for clip in every] for arm, every in clips.items()}
    circling = {arm: measure_circling(*follow(each)) for arm, each in found.items()}
    targets = {AFTER: ">= 0.80", BEFORE: "<= 0"}
    rows = [row(ROUND, arm, each.is_circle.double(), targets.get(arm, "")) for arm, each in circling.items()]
    for arm, each in circling.items():
        clockwise = each.is_circle & (each.turn > 0)
        rows.append(row("training: and clockwise, as its clips", arm, clockwise.double()))
    for name in ("color", "background", "shape"):
        for arm in (AFTER, BEFORE):
            every = torch.stack([getattr(one, name) for one in found[arm]])
            right = agreement(every, getattr(circles, name)[:, None]).mean(1)
            rows.append(row(f"training: {name} as the prompt's", arm, right))
    same = torch.tensor([float(_hash(studio) == frozen)])
    return [
        *rows,
        row("training: the base has the SHA-256 it had", "trained", same, ">= 1"),
    ]


def _train(studio: Studio) -> Any:
    """Run the workflow's data set and trainer; returns the MOTION.

    A run that was stopped goes on: its files are in the user's folder.
    """
    studio.select()
    from frameloom.nodes.training.train_motion import TrainMotionModule  # they need a selected host
    from frameloom.nodes.training.video_dataset import VideoDataset

    nodes = {node["class_type"]: node["inputs"] for node in json.loads(WORKFLOW.read_text("utf-8")).values()}
    widgets = {
        name: value
        for name, value in nodes["Frameloom_TrainMotionModule"].items()
        if not isinstance(value, list)
    }
    with torch.inference_mode():  # as hosts run nodes
        dataset = VideoDataset.execute(**nodes["Frameloom_VideoDataset"])[0]
        parts = studio.model, studio.clip, studio.vae
        return TrainMotionModule.execute(*parts, dataset, motion=studio.motion, **widgets)[0]


def _hash(studio: Studio) -> str:
    return studio.host.train_forward(studio.model, shapes.FRAMES).hash_weights()


def _through_vae(studio: Studio, clips: Tensor) -> Tensor:
    """Encode and decode clips, [B, F, 3, H, W] in -1..1."""
    again = []
    for clip in clips:
        latent = studio.host.encode(studio.vae, (clip.movedim(1, -1) + 1) / 2)["samples"]
        again.append(studio.decode(latent))
    return torch.stack(again)


SECTIONS = {
    "training": Section(
        training_rows,
        (*MOVING, WORKFLOW),
        "`train_motion_demo` as it stands: 1,000 steps from the bundled module, on 160 drawn circles, one "
        "clip a step. Prompts are captions of other circles, which name no motion. Going once round is three "
        "quarters of a turn at least, either way, without turning back, on a path that a circle fits.",
    ),
}
