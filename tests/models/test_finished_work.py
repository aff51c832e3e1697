"""What was finished or stopped before the seams had their names goes on: ``golden/finished`` was made by 65c7bd4.

A renamed class or field of what stands in keys fails here: give it its first name by ``KEY``, as ``keys.plain`` says.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from frameloom.headless.engine.motion import LoadedMotion
from frameloom.models.edits.edit import Edit
from frameloom.models.files.keys import hash_settings, plain
from frameloom.models.layout.attention import BoxBias, BoxGather, Layout, Reading, Region
from frameloom.models.layout.energy import BoxEnergy
from frameloom.models.layout.gligen import Gligen, GligenEdit
from frameloom.models.long_video.free_init import NoiseReinit
from frameloom.models.long_video.free_noise import NoiseShuffle, WindowFusion
from frameloom.models.long_video.job_folder import open_folder
from frameloom.models.long_video.nuwa_jobs import Recursion
from frameloom.models.long_video.nuwa_tree import Tree
from frameloom.models.motion.checkpoint import MotionWeights
from frameloom.models.motion.edit import motion_edit
from frameloom.models.motion.lora import MotionLoRA
from frameloom.models.video.schedules import ANIMATEDIFF
from frameloom.models.video.windows import WindowPlan
from frameloom.models.zero_shot.cross_frame import CrossFrameEdit
from frameloom.tests.support.motion import tiny_size
from frameloom.tests.support.training import Clips
from frameloom.training.loop import LoopSettings, train
from frameloom.training.motion.training import MotionSettings, run_key

FINISHED = Path(__file__).parents[1] / "golden" / "finished"
KEYS = json.loads((FINISHED / "keys.json").read_text(encoding="utf-8"))
LOOP = LoopSettings(4, 0.01)


def motion(**size):
    size = replace(tiny_size(), **size)
    weights = MotionWeights("mm", "v1", size, {"weight": torch.arange(4.0)}, ANIMATEDIFF, clip_norm=True)
    lora = MotionLoRA("lora", {"weight": (torch.ones(1, 2), torch.ones(2, 1))})
    return LoadedMotion(weights, torch.device("cpu"), torch.float32, ((lora, 0.5),))


def edits(name):
    timed = {"strength": 0.5, "start_percent": 0.1, "end_percent": 0.9}
    gligen = GligenEdit(Gligen([32], 64, 64), 0.4)
    layout = {"cross_attention": BoxBias(4.0, 0.5), "conditions": BoxGather(0.4, 0.9), "between": gligen}
    free_noise = {"noise": NoiseShuffle(8, 2), "time": WindowFusion(8, 2)}
    return {
        "motion module": [motion_edit("motion module", motion(), ANIMATEDIFF, **timed)],
        "mask adapter": [motion_edit("motion module", motion(mask_encoder=True))],
        "cross-frame attention": [
            Edit("cross-frame attention", self_attention=CrossFrameEdit("previous", 1, 0.5))
        ],
        "layout": [Edit("layout", **layout)],
        "energy": [Edit("layout", guide=BoxEnergy(100.0))],
        "windows": [Edit("context windows", windows=WindowPlan(8, 2))],
        "FreeNoise and FreeInit": [Edit("Free Noise", **free_noise), Edit("Free Init", run=NoiseReinit(1))],
    }[name]


def training_key():
    lesson = SimpleNamespace(
        learner=SimpleNamespace(weights=motion().weights), parameters={"weight": torch.ones(2)}
    )
    clips = Clips(torch.ones(1, 2, 4, 2, 2), torch.ones(2, 3, 4), torch.tensor([1]))
    base = ["base", "eps", plain(edits("cross-frame attention"))]
    return run_key(clips, lesson, MotionSettings(LOOP), base)


@pytest.mark.parametrize("name", sorted(KEYS.keys() - {"training", "a condition's layout"}))
def test_edits_have_the_keys_of_their_first_names(name):
    assert hash_settings(edits=plain(edits(name))) == KEYS[name]


def test_a_conditions_payload_has_the_key_of_its_first_names():
    track = torch.tensor([[0.0, 0.0, 0.5, 0.5]]), torch.tensor([True])
    region = Region([(1, 3)], (track,), torch.ones(1, 4))
    whole, bare = Reading(torch.ones(1, 5, 4), (region,)), Reading(torch.zeros(1, 5, 4))
    payload = Layout(whole, bare, (whole,)).payload()
    assert hash_settings(payload=plain(payload)) == KEYS["a condition's layout"]


def test_a_loaded_networks_copy_stands_for_nothing_else():
    [edit] = edits("mask adapter")
    assert plain(edit.with_networks([object()])) == plain(edit)
    assert plain(replace(edit, observe=CrossFrameEdit())) != plain(edit)


def test_a_stopped_training_goes_on(tmp_path):
    assert training_key() == KEYS["training"]
    checkpoint = shutil.copy(FINISHED / "training.checkpoint", tmp_path / "training.pt")
    weight, steps = torch.nn.Parameter(torch.zeros(2)), []
    train(
        {"weight": weight},
        lambda step, generator: (weight - 1).square().mean(),
        LOOP,
        checkpoint=checkpoint,
        key=training_key(),
        on_step=lambda step, loss: steps.append(step),
    )
    assert steps == [2, 3]


def test_finished_jobs_are_found(tmp_path):
    shutil.copytree(FINISHED / "nuwa", tmp_path / "nuwa")
    key = hash_settings(edits=plain(edits("motion module")))
    folder = open_folder(tmp_path / "nuwa", key, torch.ones(1, 1, 1, 1))
    recursion = Recursion(Tree(3, 2, {0: "a"}), torch.tensor([0.0, 1.0, 2.0]).view(3, 1, 1, 1), folder)
    assert recursion.kept == 2
    assert recursion.start() is None
    assert recursion.frames.flatten().tolist() == [0, 0.5, 1, 1.5, 2]
