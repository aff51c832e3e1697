"""What NUWA-XL's nodes print, draw and refuse on the headless host."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.long_video.nuwa_tree import Tree
from frameloom.models.storyboard import scenes as storyboard
from frameloom.tests.contract.test_nuwa import SIZE, draw_keyframes, plan


@pytest.fixture
def plan_node(run):
    given = {"prompts": "a\nb\nc", "length": 3, "height": 256}
    return lambda **inputs: run("NuwaPlan", **(given | inputs))


def test_a_plan_has_a_prompt_at_each_keyframe(plan_node):
    assert plan_node()[0] == Tree(3, 2, {0: "a", 2: "b", 4: "c"}, "linear")
    assert plan_node(prompts="a", interpolation="hold")[0] == Tree(3, 2, {0: "a"}, "hold")


def test_a_plan_prints_jobs_levels_time_and_memory(plan_node):
    lines = plan_node(prompts="a", length=16, depth=3, seconds_per_job=2.5)[2].splitlines()
    assert lines == [
        "3,376 frames at 512 x 256, from 241 jobs of 16 frames: 1 on level 1, 15 on level 2, 225 on level 3",
        "one after the other by workers, 1: 602 s; 2: 302 s; 4: 152 s; 16: 42 s; at least 8 s",
        "all latents 110.6 MB, a job's 0.5 MB; all pictures 5.3 GB, which Decode To Video does not hold at once",
        "prompts: 1, linear between",
        "0: a",
    ]
    assert "1: 241 jobs' time;" in plan_node(prompts="a", length=16, depth=3)[2]


def test_a_storyboards_scenes_are_held_in_place_of_the_prompts(plan_node):
    scenes = [storyboard.Scene(id=number, prompt=f"scene {number}", frames=8) for number in (1, 2)]
    board = storyboard.Storyboard(size=(64, 64), scenes=scenes)
    tree, *_ = plan_node(prompts="not read", length=16, depth=2, storyboard=board)
    assert tree == Tree(16, 2, {0: "scene 1", 120: "scene 2"}, "hold")


def test_a_tree_is_drawn_with_its_prompts_and_every_level(plan_node):
    def orange(**inputs):
        picture = plan_node(**inputs)[1]
        red, green, blue = picture[0].unbind(-1)
        return picture, int(((red > 0.8) & (green > 0.3) & (green < 0.7) & (blue < 0.3)).sum())

    one, few = orange(prompts="a")
    three, more = orange()
    deep, _ = orange(depth=4)
    assert 0 < few < more
    assert deep.shape[1] > three.shape[1] == one.shape[1]


def test_a_batch_of_empty_frames_is_refused(port, demo, scene):
    with pytest.raises(
        ValueError, match=r"latent is \(2, 4, 8, 8\); expected one frame.*set batch_size to 1"
    ):
        draw_keyframes(demo, scene, plan(), latent={"samples": torch.zeros(2, 4, SIZE, SIZE)})


def test_a_sampler_that_a_link_brings_is_refused_if_it_remembers(port, demo, scene):
    with pytest.raises(ValueError, match=r"sampler_name='uni_pc' remembers.*expected one of ddim, euler"):
        draw_keyframes(demo, scene, plan(), sampler_name="uni_pc")
