"""What every host promises of clips that a node shows: the editor gets their frames, and headless nothing happens."""

from __future__ import annotations

import json
import math

import pytest
import torch
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene, Storyboard
from PIL import Image

FOX = Entity(id="fox", text="a fox", track=(BoxKey(f=0, box=(0.1, 0.1, 0.5, 0.5)),), hold=True)


@pytest.fixture
def temp(port, monkeypatch, tmp_path):
    """The folder of previews; None where the host has no editor."""
    if "headless" in type(port).__module__:
        return None
    import folder_paths

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    return tmp_path


def clip(frames=5, height=32, width=48):
    return torch.rand(frames, 1, 1, 3, generator=torch.Generator().manual_seed(1)).expand(
        -1, height, width, -1
    )


def colour_of(temp, shown, frame):
    """The middle of a frame of a small clip, all of which is in the first row of a sheet."""
    sheet = Image.open(temp / shown["subfolder"] / shown["sheets"][0])
    x, y = frame * shown["cell"][0] + shown["width"] // 2, shown["height"] // 2
    return torch.tensor(sheet.getpixel((x, y))) / 255


def test_the_editor_gets_every_frame_of_each_clip_and_headless_nothing_is_shown(port, temp):
    shown = port.show_clips({"video": clip(), "mask": clip()[..., 0]}, 12.5)
    if temp is None:
        assert shown == {}
        return
    video, mask = shown["frameloom_clips"]
    assert (video["title"], video["fps"], video["frames"], video["step"]) == ("video", 12.5, 5, 1)
    for frame, image in enumerate(clip()):
        assert (colour_of(temp, video, frame) - image[0, 0]).abs().max() < 0.02
        assert (colour_of(temp, mask, frame) - image[0, 0, 0]).abs().max() < 0.02


def test_a_clip_that_comes_bit_by_bit_is_shown_as_a_whole_one(port, temp):
    bits = port.show_clip("video", 5, 12.5)
    for part in clip().split(2):
        bits.add(part)
    shown, whole = bits.ui(), port.show_clips({"video": clip()}, 12.5)
    if temp is None:
        assert shown == whole == {}
        return
    (one,), (other,) = shown["frameloom_clips"], whole["frameloom_clips"]
    assert one | {"sheets": 0} == other | {"sheets": 0}
    files = [(temp / each["subfolder"] / each["sheets"][0]).read_bytes() for each in (one, other)]
    assert files[0] == files[1]


def test_curves_are_json_that_browsers_read(port, temp):
    shown = port.show_clips({}, curves={"a": {"b": [0.123456, math.nan, math.inf]}})
    if temp is None:
        assert shown == {}
        return
    assert shown["frameloom_curves"] == [{"title": "a", "lines": {"b": [0.1235, None, None]}}]
    json.dumps(shown, allow_nan=False)


def test_a_folder_that_can_not_be_written_to_is_said_and_fails_no_run(port, temp):
    if temp is not None:
        (temp / "frameloom").write_text("a file, where a folder should be")
    shown = port.show_clips({"video": clip()})
    if temp is not None:
        (video,) = shown["frameloom_clips"]
        assert video["sheets"] == []
        assert "could not be written" in video["problem"]


def test_nodes_that_make_frames_show_them_beside_what_core_shows(port, temp, folders):
    from frameloom.nodes.layout.pictures import LayoutToMasks
    from frameloom.nodes.video.metrics import VideoMetrics

    board = Storyboard(size=(64, 64), scenes=(Scene(id=1, frames=4, entities=(FOX,)),))
    made = [
        VideoMetrics.execute(clip(), 8.0, clip().flip(0)),
        LayoutToMasks.execute(board, "", 0, 0, 0.0, "box", invert=False),
    ]
    shown = [each.ui if isinstance(each.ui, dict) else each.ui.as_dict() for each in made]
    clips = [[(each["title"], each["frames"]) for each in ui.get("frameloom_clips", [])] for ui in shown]
    if temp is None:
        assert clips == [[], []]
        return
    assert clips == [[("video", 5), ("compare", 5)], [("mask", 4)]]
    titles = [list(curve["lines"]) for curve in shown[0]["frameloom_curves"]]
    assert titles == [["video", "compare"], ["video", "compare"], ["difference"]]
