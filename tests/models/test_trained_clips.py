"""What is said of clips that a module for SDXL was not trained on."""

from __future__ import annotations

import pytest
from frameloom.models.edits.active import find_notes
from frameloom.models.edits.call import Plan
from frameloom.models.edits.edit import Edit, Part
from frameloom.models.motion.trained_clips import misfit
from frameloom.models.video.windows import WindowPlan

# Width and height of AnimateDiff-SDXL's pictures, which have SDXL's area.
BUCKETS = [(768, 1344), (832, 1216), (896, 1152), (1024, 1024), (1152, 896), (1216, 832), (1344, 768)]


def said(family, frames, size=None, **more):
    cells = None if size is None else (size[1] // 8, size[0] // 8)
    return misfit("file.ckpt", family, Plan(frames, size=cells, **more))


@pytest.mark.parametrize("size", BUCKETS)
def test_nothing_is_said_of_a_size_that_it_was_trained_on(size):
    assert said("animatediff_sdxl", 16, size) is None


@pytest.mark.parametrize("size", [(512, 512), (1280, 1280), (1600, 640), (1024, 768)])
def test_another_size_is_said_with_what_was_trained_on(size):
    told = said("animatediff_sdxl", 16, size)
    assert f"got {size[0]} x {size[1]}; expected one of their sizes, such as 1024 x 1024; set it" in told
    assert said("hotshotxl", 8, size) is None
    assert said("v3", 16, size) is None


def test_hotshotxl_says_that_it_knows_eight_frames():
    assert said("hotshotxl", 8) is None
    assert "trained on clips of 8 frames; got 16 at once; expected 8; set batch_size" in said("hotshotxl", 16)
    assert said("animatediff_sdxl", 24) is None


def test_windows_of_eight_frames_are_eight_frames():
    told = []

    class Listening(Part):
        def note(self, plan):
            told.append(plan.together)

    listening = Edit("module", observe=Listening())
    find_notes([listening], Plan(16))
    find_notes([listening, Edit("windows", windows=WindowPlan(8, 2))], Plan(16))
    find_notes([listening, Edit("windows", windows=WindowPlan(8, 2))], Plan(5))
    assert told == [16, 8, 5]
