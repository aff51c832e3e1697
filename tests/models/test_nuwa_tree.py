"""NUWA-XL's tree: which frames its jobs have, what stands on what, and how long it takes."""

from __future__ import annotations

import itertools
from collections import Counter
from functools import partial

import pytest
from frameloom.models.long_video.nuwa_tree import (
    Tree,
    check_size,
    count_frames,
    find_makespan,
    read_keyframe_prompts,
    spread_prompts,
)

SIZES = [(3, 1), (3, 2), (3, 5), (4, 3), (5, 2), (9, 3), (16, 2)]


def tree(length, depth):
    return Tree(length, depth, {0: "a"})


def levels(plan):
    """Return the jobs of each level, found from the keyframes down."""
    found = [[plan.keyframes]]
    while below := [child for job in found[-1] for child in plan.below(job)]:
        found.append(below)
    return found


@pytest.mark.parametrize(("length", "depth"), SIZES)
def test_every_frame_is_new_in_one_job_only_on_the_level_that_it_says(length, depth):
    plan, new = tree(length, depth), Counter()
    for level, jobs in enumerate(levels(plan), 1):
        inside = slice(None) if level == 1 else slice(1, -1)
        own = Counter(frame for job in jobs for frame in job.frame_ids[inside])
        assert {plan.level(frame) for frame in own} == {level}
        new += own
    assert new == Counter(range(count_frames(length, depth)))


@pytest.mark.parametrize(("length", "depth"), SIZES)
def test_a_level_has_a_job_for_each_gap_of_the_one_above(length, depth):
    found = levels(tree(length, depth))
    assert [len(jobs) for jobs in found] == [(length - 1) ** level for level in range(depth)]
    assert sum(map(len, found)) == tree(length, depth).local_jobs + 1
    for above, below in itertools.pairwise(found):
        known = sorted({frame for job in above for frame in job.frame_ids})
        assert [(job.frame_ids[0], job.frame_ids[-1]) for job in below] == list(itertools.pairwise(known))
        assert [job.index for job in below] == list(range(len(below)))


def test_a_job_has_evenly_spaced_frames():
    assert tree(16, 3).job(1, 0).frame_ids == tuple(range(0, 3376, 225))
    assert tree(16, 3).job(2, 14).frame_ids == tuple(range(3150, 3376, 15))
    assert tree(16, 3).job(3, 1).frame_ids == tuple(range(15, 31))


@pytest.mark.parametrize("make", [check_size, tree, partial(read_keyframe_prompts, "a")])
def test_a_tree_of_too_many_frames_is_refused(make):
    with pytest.raises(ValueError, match=r"make 129,746,337,890,626 frames; expected at most .* lower depth"):
        make(16, 12)


@pytest.mark.parametrize("prompts", [{}, {1: "a"}, {0: "a", 5: "b"}])
def test_prompts_outside_the_video_or_none_at_its_start_are_refused(prompts):
    with pytest.raises(ValueError, match=r"expected one for frame 0, and none behind frame 4"):
        Tree(3, 2, prompts)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "prompts line 1: got nothing; expected keyframe 1's prompt"),
        ("   \n\n", "prompts line 1: got nothing"),
        ("a\n\nb", "prompts line 2: got nothing; expected keyframe 2's prompt"),
        ("a\nb", r"got 2 lines, and there is none for keyframe 3; expected 3, .* or set length to 2"),
        ("a\nb\nc\nd", "got 4 lines, and 'd' is too many; expected 3"),
    ],
)
def test_a_gap_in_the_prompts_is_named(text, fault):
    with pytest.raises(ValueError, match=fault):
        read_keyframe_prompts(text, 3, 2)


def test_one_prompt_is_for_all_keyframes_and_several_are_at_theirs():
    assert read_keyframe_prompts("  a cross  \n", 5, 3) == {0: "a cross"}
    assert read_keyframe_prompts("a\nb\nc", 3, 4) == {0: "a", 8: "b", 16: "c"}


def test_scenes_keep_their_share_of_the_video():
    spread = spread_prompts({0: "a", 24: "b", 48: "c"}, 96, 16, 2)
    assert list(spread.values()) == ["a", "b", "c"]
    assert [frame / 225 for frame in spread] == pytest.approx([0, 24 / 95, 48 / 95], abs=1 / 225)
    assert spread_prompts({0: "a", 1: "b"}, 1000, 3, 1) == {0: "a", 1: "b"}


def list_schedule(plan, workers):
    """The same by hand: at each tick, the first jobs whose parents are done."""
    ready, ticks = [plan.keyframes], 0
    while ready:
        ready.sort()
        now, ready = ready[:workers], ready[workers:]
        ready += [child for job in now for child in plan.below(job)]
        ticks += 1
    return ticks


@pytest.mark.parametrize(("length", "depth"), SIZES)
@pytest.mark.parametrize("workers", [1, 2, 3, 16, 10_000])
def test_the_makespan_is_that_of_list_scheduling(length, depth, workers):
    assert find_makespan(tree(length, depth), workers) == list_schedule(tree(length, depth), workers)
