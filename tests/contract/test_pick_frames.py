"""What every host promises of Pick Frames: the frames, their rate, and how many they are."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def pick(port):
    from frameloom.nodes.video.pick_frames import PickFrames

    images = torch.arange(24.0).reshape(24, 1, 1, 1).expand(24, 4, 4, 3)

    def go(**settings):
        plain = {"force_rate": 0.0, "skip_first_frames": 0, "select_every_nth": 1, "frame_cap": 0}
        return PickFrames.execute(images, **{"source_fps": 24.0, **plain, **settings}).args

    return go


def test_frames_their_rate_and_their_number_go_together(pick):
    images, fps, frames = pick(force_rate=12, skip_first_frames=1, select_every_nth=3, frame_cap=3)
    assert images[:, 0, 0, 0].tolist() == [2, 8, 14]
    assert (fps, frames) == (4.0, 3)


def test_without_a_rate_the_videos_own_counts(pick):
    images, fps, frames = pick(select_every_nth=2)
    assert images[:, 0, 0, 0].tolist() == list(range(0, 24, 2))
    assert (fps, frames) == (12.0, 12)


def test_a_clip_that_is_skipped_whole_is_refused(pick):
    with pytest.raises(ValueError, match="skip_first_frames: got 24 of a clip of 24 frames"):
        pick(skip_first_frames=24)


def test_a_whole_number_fits_a_rate_by_a_link(port):
    from frameloom.nodes.video.pick_frames import PickFrames

    kinds = {each.id: each.get_io_type() for each in PickFrames.define_schema().inputs}
    assert kinds["source_fps"] == kinds["force_rate"] == "FLOAT,INT"
