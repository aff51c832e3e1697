"""Nodes that put a technique on a model: which edit they install, when they install none, and what they refuse."""

from __future__ import annotations

import pytest
from frameloom.models.long_video.free_init import NoiseReinit
from frameloom.models.long_video.free_noise import NoiseShuffle, WindowFusion
from frameloom.models.motion.edit import AtOnce, TemporalEdit
from frameloom.models.motion.free_u import FreeU
from frameloom.models.video.schedules import ANIMATEDIFF, STABLE_DIFFUSION, BetaSchedule, MeanSchedule
from frameloom.models.video.windows import WindowPlan
from frameloom.models.zero_shot.cross_frame import CrossFrameEdit

INSTALLED = {
    "Free Init": (
        "FreeInit",
        {
            "extra_iterations": 3, "filter": "gaussian", "spatial_stop": 0.2, "temporal_stop": 0.3, "order": 2,
            "coarse_to_fine": True,
        },
        {"run": NoiseReinit(3, "gaussian", 0.2, 0.3, 2, True)},
    ),
    "Free Init, by default the authors'": ("FreeInit", {}, {"run": NoiseReinit()}),
    "Free Noise": (
        "FreeNoise",
        {"window_length": 24, "stride": 6, "seed": 9},
        {"noise": NoiseShuffle(24, 6, 9), "time": WindowFusion(24, 6)},
    ),
    "Free Noise without reshuffle": ("FreeNoise", {"reshuffle": False}, {"noise": None, "time": WindowFusion(16, 4)}),
    "Free Noise without fuse": ("FreeNoise", {"fuse": False}, {"noise": NoiseShuffle(16, 4, 0), "time": None}),
    "Context Windows": (
        "ContextWindows",
        {"length": 12, "overlap": 3, "schedule": "looped", "stride": 2, "weights": "flat"},
        {"windows": WindowPlan(12, 3, "looped", 2, "flat")},
    ),
    "FreeU Per Frame": (
        "FreeUPerFrame",
        {"b1": 1.3, "b2": 1.4, "s1": 0.7, "s2": 0.6, "first": 0.1, "last": 0.9, "frames": 8},
        {"skips": FreeU(1.3, 1.4, 0.7, 0.6, 0.1, 0.9, 8)},
    ),
    "Cross Frame Attention": (
        "CrossFrameAttnPatch",
        {
            "anchor": "chosen frame", "frame": 2, "strength": 0.5, "start_percent": 0.1, "end_percent": 0.5,
            "levels": "1, 3", "in_controlnet": False,
        },
        {"self_attention": CrossFrameEdit("chosen frame", 2, 0.5, 0.1, 0.5, frozenset({1, 3}), False)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", INSTALLED)
def test_one_edit_with_the_settings_is_installed_on_a_clone(run, model, case):
    name, widgets, wanted = INSTALLED[case]
    (edit,) = run(name, model=model, **widgets)[0].edits
    assert {seam: getattr(edit, seam) for seam in wanted} == wanted
    assert model.edits == ()


@pytest.mark.parametrize(
    ("name", "widgets"),
    [
        ("FreeInit", {"extra_iterations": 0}),
        ("FreeNoise", {"reshuffle": False, "fuse": False}),
        ("CrossFrameAttnPatch", {"strength": 0.0}),
        ("ApplyMotionModule", {"strength": 0.0}),
    ],
)
def test_where_nothing_is_to_be_done_the_model_itself_comes_out(run, model, motion, name, widgets):
    linked = {"motion": motion} if name == "ApplyMotionModule" else {}
    assert run(name, model=model, **widgets, **linked)[0] is model


@pytest.mark.parametrize(
    ("choice", "schedule"),
    [
        ("auto", ANIMATEDIFF),
        ("sqrt_linear (AnimateDiff)", ANIMATEDIFF),
        ("linear (Stable Diffusion)", STABLE_DIFFUSION),
        ("use model's own", None),
        ("linear (AnimateDiff-SDXL)", BetaSchedule("linear", end=0.02)),
        ("avg(sqrt_linear,linear)", MeanSchedule()),
        ("cosine", BetaSchedule("cosine")),
    ],
)
def test_a_motion_module_acts_by_its_settings_and_auto_is_its_own_schedule(run, model, choice, schedule):
    (motion,) = run("MotionModuleLoader", file="mine.safetensors")
    widgets = {"strength": 0.8, "start_percent": 0.1, "end_percent": 0.9, "beta_schedule": choice}
    (edit,) = run("ApplyMotionModule", model=model, motion=motion, **widgets)[0].edits
    assert edit.slots == TemporalEdit(motion, 0.8, 0.1, 0.9)
    assert edit.schedule == schedule


@pytest.mark.parametrize(("frames", "wanted"), [(4, AtOnce(4)), (0, None)])
def test_frames_at_once_are_said_by_the_edit_and_0_leaves_them_to_the_host(
    run, model, motion, frames, wanted
):
    (edit,) = run("ApplyMotionModule", model=model, motion=motion, frames_at_once=frames)[0].edits
    assert edit.chunks == wanted


@pytest.mark.parametrize(
    ("name", "widgets", "said"),
    [
        ("ApplyMotionModule", {"start_percent": 0.8, "end_percent": 0.2}, "start_percent=0.8 is after end_per"),
        ("CrossFrameAttnPatch", {"start_percent": 0.6, "end_percent": 0.4}, "start_percent=0.6 is after end_per"),
        ("CrossFrameAttnPatch", {"levels": "0, 4"}, "levels='0, 4': '4' is no level"),
        ("CrossFrameAttnPatch", {"levels": ""}, "levels='': 'nothing' is no level"),
        ("FreeNoise", {"stride": 5}, r"stride=5 does not divide window_length=16; .*\[1, 2, 4, 8, 16\]"),
    ],
)  # fmt: skip
def test_settings_that_a_link_brings_are_refused_by_name(run, model, motion, name, widgets, said):
    linked = {"motion": motion} if name == "ApplyMotionModule" else {}
    with pytest.raises(ValueError, match=said):
        run(name, model=model, **widgets, **linked)


@pytest.mark.parametrize("seed", [0, 0xFFFFFFFFFFFFFFFF])
def test_any_seed_of_free_noise_gives_an_order(run, model, seed):
    (edit,) = run("FreeNoise", model=model, seed=seed)[0].edits
    assert sorted(edit.noise.sources(range(16, 32))) == list(range(16))
