"""The demo's layout prior: Train Layout Prior's recipe on drawn shapes, for longer. See train_demo.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from frameloom.models.layout_prior import LayoutGPT, save_prior
from frameloom.models.layout_sequence import NAME
from frameloom.models.storyboard import Scene
from frameloom.training import layout_scenes
from frameloom.training.layout_report import describe, train_and_measure
from frameloom.training.layout_training import LayoutSettings, make_corpus, new_prior
from frameloom.training.loop import step_generator

SEED = 2026
SETTINGS = LayoutSettings(steps=4000, context=160, seed=SEED)
FILE, WEIGHTS = "layout_prior.safetensors", "layout_final"


def demo_scenes() -> list[Scene]:
    """Return the scenes that it is trained on and those held out, all together."""
    return layout_scenes.draw_scenes(layout_scenes.SCENES, step_generator(SEED, 0))


def train_layout(report: Callable[[str, int], Callable[[int, float], None]]) -> LayoutGPT:
    """Train it, from nothing each time, and print what it is worth. ``report``: see train_demo.py."""
    network, figures = train_and_measure(demo_scenes(), SETTINGS, on_step=report("layout", SETTINGS.steps))
    print(describe(figures), flush=True)
    return network


def export_layout(work: Path, assets: Path) -> None:
    """Write it, float16, if it was trained."""
    weights = work / f"{WEIGHTS}.pt"
    if weights.exists():
        network = new_prior(SETTINGS, make_corpus(demo_scenes(), SETTINGS).words)
        network.load_state_dict(torch.load(weights))
        save_prior(assets / FILE, network.half(), NAME)
        print(f"{FILE}: {(assets / FILE).stat().st_size:,} bytes", flush=True)
