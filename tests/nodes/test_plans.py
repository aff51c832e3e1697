"""Plans that the editor shows before a run: they say what the node will do, by the functions that it runs."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest
from frameloom.models.long_video.free_noise import NoiseShuffle, WindowFusion
from frameloom.models.long_video.nuwa_tree import Tree, read_keyframe_prompts
from frameloom.models.long_video.prompt_text import parse_prompts
from frameloom.models.long_video.prompt_travel import plan_travel
from frameloom.models.video.factors import read_factors
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.input_table import widget_values
from frameloom.tests.support.motion import tiny_lora
from safetensors.torch import save_file


@pytest.fixture
def plan(nodes):
    """A function that returns a node's plan as the editor reads it; what is not given is as by default."""

    def plan(name, /, **given):
        names = inspect.signature(nodes[name].plan).parameters
        values = {**widget_values(nodes[name]), **given}
        made = nodes[name].plan(**{each: values[each] for each in names if each in values})
        return json.loads(json.dumps(made, default=vars))

    return plan


def frames_of(bar, frames):
    first, spacing, count, _ = bar
    return [(first + place * spacing) % frames for place in range(count)]


@pytest.mark.parametrize("schedule", ["static", "uniform", "looped", "batched"])
@pytest.mark.parametrize(("length", "overlap", "stride", "frames"), [
    (4, 2, 1, 10), (4, 1, 3, 23), (16, 4, 1, 16), (16, 4, 1, 7), (1, 0, 1, 5), (3, 0, 1, 10), (2, 1, 8, 300),
])  # fmt: skip
@pytest.mark.parametrize("weights", ["pyramid", "flat", "overlap-linear"])
def test_bars_are_the_windows_of_each_step_with_their_weights(
    plan, schedule, length, overlap, stride, frames, weights
):
    made = plan("ContextWindows", length=length, overlap=overlap, schedule=schedule, stride=stride,
        weights=weights, frames=frames)  # fmt: skip
    windows = WindowPlan(length, overlap, schedule, stride, weights)
    assert len(made["panels"]) == (4 if windows.is_moving else 1)
    for step, panel in enumerate(made["panels"]):
        asked = windows.windows(frames, step)
        assert [tuple(frames_of(bar, frames)) for (bar,) in panel["rows"]] == asked
        for (bar,), window in zip(panel["rows"], asked, strict=True):
            most = max(windows.weigh(window, frames))
            expected = [weight / most for weight in windows.weigh(window, frames)]
            assert panel["weights"][bar[3]] == pytest.approx(expected)


def test_windows_say_what_they_cost(plan):
    made = plan("ContextWindows", length=16, overlap=4, frames=32)
    assert made["title"] == (
        "32 frames: 3 windows of 16 in each step, a model call each; a frame is sampled 1.50 times"
    )


@pytest.mark.parametrize(("length", "stride", "frames"), [(16, 4, 64), (16, 4, 26), (5, 1, 12), (8, 8, 100)])
def test_free_noise_shows_whose_noise_a_frame_has_and_windows_of_attention(plan, length, stride, frames):
    made = plan("FreeNoise", window_length=length, stride=stride, seed=7, frames=frames)
    noise, attention = made["panels"]
    assert noise["values"] == NoiseShuffle(length, stride, 7).sources(range(frames))
    fusion = WindowFusion(length, stride)
    assert [bar[0] for (bar,) in attention["rows"]] == fusion.starts(frames)
    shown = fusion.weights(frames) * 0
    for row, (bar,) in zip(shown, attention["rows"], strict=True):
        for frame, weight in zip(frames_of(bar, frames), attention["weights"][bar[3]], strict=True):
            row[frame] = weight
    assert fusion.weights(frames).tolist() == [pytest.approx(row) for row in (shown / shown.sum(0)).tolist()]


def test_free_noise_shows_what_is_switched_on(plan):
    titles = [panel["title"] for panel in plan("FreeNoise", frames=64, fuse=False)["panels"]]
    assert titles == ["frame whose noise it is"]
    titles = [panel["title"] for panel in plan("FreeNoise", frames=64, reshuffle=False)["panels"]]
    assert titles == ["windows of attention"]
    for given in ({"frames": 16}, {"frames": 64, "fuse": False, "reshuffle": False}):
        made = plan("FreeNoise", **given)
        assert made["panels"] == []
        assert "as without this node" in made["title"]


@pytest.mark.parametrize(("length", "depth"), [(3, 1), (3, 4), (9, 2), (16, 2)])
def test_a_tree_shows_every_job_and_every_prompt(plan, length, depth):
    prompts = "\n".join(f"p{place}" for place in range(length))
    tree = Tree(length, depth, read_keyframe_prompts(prompts, length, depth))
    made = plan("NuwaPlan", prompts=prompts, length=length, depth=depth)
    (panel,) = made["panels"]
    assert made["frames"] == tree.frames
    assert made["title"].startswith(f"{tree.frames} frames: {tree.local_jobs + 1} jobs")
    for level, row in enumerate(panel["rows"], 1):
        jobs = [tree.job(level, index) for index in range((length - 1) ** (level - 1))]
        assert [tuple(frames_of(bar, tree.frames)) for bar in row] == [job.frame_ids for job in jobs]
    assert panel["marks"] == [*tree.prompts]


def test_a_tree_of_a_storyboard_has_no_prompts_yet(plan):
    made = plan("NuwaPlan", prompts="read\nnever", length=5, depth=2, storyboard=None)
    assert made["frames"] == 17
    assert made["panels"][0]["marks"] == []


@pytest.mark.parametrize("interpolation", ["linear", "ease in-out", "hold"])
def test_prompts_count_what_frames_are_mixed_of(plan, interpolation):
    text = "2: a circle\n9: a cross\n9000: a square\n14: \n100%: a line"
    keys = parse_prompts(text, 16)
    made = plan("PromptTravel", text=text, frames=16, interpolation=interpolation)
    (panel,) = made["panels"]
    shown = [dict.fromkeys(range(16), 0.0) for _ in panel["rows"]]
    for counts, (bar,) in zip(shown, panel["rows"], strict=True):
        counts.update(zip(frames_of(bar, 16), panel["weights"][bar[3]], strict=True))
    names = [int(label.partition(":")[0]) for label in panel["labels"]]
    for frame, (before, after, part) in enumerate(plan_travel(keys, 16, interpolation)):
        expected = {before: 1.0} if before == after else {before: 1 - part, after: part}
        got = {name: counts[frame] for name, counts in zip(names, shown, strict=True) if counts[frame]}
        assert got == pytest.approx(expected, abs=1e-4)
    assert panel["labels"][0] == "2: a circle"
    assert "14: (empty)" in panel["labels"]
    assert panel["marks"] == [2, 9, 14, 15]


def test_a_wrong_expression_is_told_with_its_line(plan):
    with pytest.raises(ValueError, match="prompts line 2, column 9: got "):
        plan("PromptTravel", text="0: a\n8: a (b:`t +`)", frames=16)


@pytest.mark.parametrize("name", ["ControlSchedule", "CFGSchedule", "MotionStrength", "MotionLoRASchedule"])
def test_charts_are_the_factors(plan, name):
    given = {"frames": 9, "strength": "0: 1, 4: 0.3\n-1: 2", "between": "ease in", "by_step": "0: 1, 50%: .2"}
    made = plan(name, **given)
    factors = read_factors(9, given["strength"], given["between"], given["by_step"])
    by_frame, by_step = made["panels"]
    assert by_frame["values"] == pytest.approx(factors.by_frame.tolist(), abs=1e-4)
    shares = [by_step["first"] + by_step["step"] * place for place in range(len(by_step["values"]))]
    assert shares[-1] == pytest.approx(1)
    assert by_step["values"] == pytest.approx(factors.at_steps(shares), abs=1e-4)


LOAD, ADD = "Frameloom_MotionModuleLoader", "Frameloom_MotionLoRALoader"
FEW, PLAIN = (
    f"{LOAD} frameloom_demo_motion_few_steps.safetensors",
    f"{LOAD} frameloom_demo_motion.safetensors",
)
PAN, PICTURE = f"{ADD} frameloom_demo_pan_left.safetensors", "LoadImage a picture.png"


@pytest.mark.parametrize(
    ("steps", "denoise", "before", "title", "timesteps"),
    [
        (
            0,
            1.0,
            (PICTURE, FEW, PAN),
            "motion_few_steps.safetensors: euler, sgm_uniform, 4 steps",
            [999, 749, 499, 249],
        ),
        (0, 0.5, (FEW,), "motion_few_steps.safetensors: euler, sgm_uniform, 2 of 4 steps", [499, 249]),
        (0, 0.0, (FEW, PLAIN), "motion_few_steps.safetensors: euler, sgm_uniform, 0 of 4 steps", None),
        (2, 1.0, (PLAIN, PAN), "motion.safetensors: euler, sgm_uniform, 2 steps", [999, 499]),
    ],
)
def test_few_steps_are_those_of_the_files_before_the_node(plan, steps, denoise, before, title, timesteps):
    made = plan("FewStepSettings", steps=steps, denoise=denoise, before="\n".join(before), model=None)
    assert made["title"] == f"{title}, cfg 1"
    assert [panel["values"] for panel in made["panels"]] == ([] if timesteps is None else [timesteps])


@pytest.mark.parametrize(
    ("steps", "before", "said"),
    [
        (0, (PLAIN, PAN), "motion.safetensors does not say that it is a few-step module"),
        (8, (FEW,), "got steps=8 for motion_few_steps.safetensors; expected 4"),
        (0, (f"{LOAD} gone.safetensors",), "gone.safetensors"),
    ],
)
def test_few_steps_that_do_not_fit_the_file_are_refused_as_in_the_run(plan, steps, before, said):
    with pytest.raises(ValueError, match=said):
        plan("FewStepSettings", steps=steps, before="\n".join(before), model=None)


@pytest.mark.parametrize("before", ["", PICTURE, LOAD, f"{FEW}\nFrameloom_TrainMotionModule "])
def test_few_steps_of_a_file_that_is_not_known_yet_are_not_guessed(plan, before):
    assert "known when the graph runs" in plan("FewStepSettings", before=before, model=None)["title"]
    assert "connect the model" in plan("FewStepSettings", before=before)["title"]


def test_a_lora_tells_its_steps_and_a_pickle_is_not_read(plan, host):
    path = host.models_dir / "animatediff_motion_lora" / "two.safetensors"
    save_file(tiny_lora(), path, metadata={"frameloom.few_steps": "2"})
    two = "Frameloom_MotionLoRASchedule two.safetensors"
    title = plan("FewStepSettings", before=f"{FEW}\n{two}\n{PAN}", model=None)["title"]
    assert title == "two.safetensors: euler, sgm_uniform, 2 steps, cfg 1"
    (host.models_dir / "animatediff_models" / "lcm.ckpt").write_bytes(b"\x80\x02 is never opened")
    title = plan("FewStepSettings", before=f"{LOAD} lcm.ckpt\n{two}", model=None)["title"]
    assert "known when the graph runs" in title


def test_the_editors_script_knows_just_the_nodes_that_have_a_plan(nodes):
    script = (Path(__file__).parents[2] / "web/js/plans.js").read_text("utf-8")
    shown = re.findall(r"^  Frameloom_(\w+): \d+,$", script, re.MULTILINE)
    assert sorted(shown) == sorted(name for name, node in nodes.items() if hasattr(node, "plan"))
