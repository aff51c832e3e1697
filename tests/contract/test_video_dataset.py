"""What every host promises of Video Dataset."""

from __future__ import annotations

import os
import pickle

import pytest
import torch
from frameloom.tests.support.videos import (
    numbered,
    numbers_of,
    write_animation,
    write_pictures,
    write_video,
)

DEFAULTS = {
    "source": "folder", "folder": "mine", "frames": 4, "stride": 2, "width": 32, "height": 32,
    "caption_dropout": 0.1, "missing_captions": "skip", "clips_per_video": 1, "flip": False, "clips": 3,
    "motion": "circle", "seed": 5,
}  # fmt: skip


@pytest.fixture
def video_dataset(port, folders):
    from frameloom.nodes.training.video_dataset import VideoDataset

    return VideoDataset


def run(node, **changed):
    return node.execute(**(DEFAULTS | changed)).args


def fill_folder(folder, count=2):
    folder.mkdir(parents=True)
    for number in range(count):
        write_video(folder / f"{number}.mkv", numbered(20))
        (folder / f"{number}.txt").write_text(f"clip {number}")
    (folder / "bad.mp4").write_text("no video")
    return folder


def test_a_folder_of_the_input_folder_becomes_a_dataset(port, video_dataset, folders):
    fill_folder(folders.input / "mine")
    dataset, report, preview = run(video_dataset)
    assert (len(dataset), dataset.frames, dataset.width, dataset.height) == (2, 4, 32, 32)
    assert dataset.caption_dropout == 0.1
    assert dataset.captions == ("clip 0", "clip 1")
    assert numbers_of(dataset.pictures(0)) == [6, 8, 10, 12]
    lines = report.splitlines()
    assert lines[0] == "2 clips of 4 frames, 32x32, from 2 files of mine"
    assert "  bad.mp4 has no caption" in lines
    assert preview.shape == (1, 2 * 34, 4 * 34, 3)
    assert 0 <= preview.min() < preview.max() <= 1


def test_every_setting_reaches_the_clips(port, video_dataset, folders):
    fill_folder(folders.input / "mine", 1)
    (folders.input / "mine" / "0.txt").unlink()
    changed = {"frames": 3, "stride": 4, "width": 64, "height": 48, "flip": True, "clips_per_video": 2}
    dataset, report, _ = run(video_dataset, **changed, missing_captions="empty", caption_dropout=0.25)
    assert dataset.captions == ("",) * 4
    assert [numbers_of(dataset.pictures(index)) for index in range(4)] == [[0, 4, 8]] * 2 + [[11, 15, 19]] * 2
    assert dataset.pictures(1).shape == (3, 3, 48, 64)
    assert torch.equal(dataset.pictures(1), dataset.pictures(0).flip(-1))
    assert "left out in 25 % of the steps" in report
    assert "  bad.mp4 is no video that FFmpeg can read" in report


def test_videos_are_read_by_time_and_loops_are_gone_round(port, video_dataset, folders):
    """An animated WebP, which Pillow reads, and a folder of pictures, which is the only thing in its folder."""
    write_animation(folders.input / "moving" / "a.webp", numbered(8), [50] * 4 + [200] * 4)
    write_pictures(folders.input / "still" / "walk", numbered(8))
    for name in ("moving/a.txt", "still/walk.txt"):
        (folders.input / name).write_text("a caption")
    cut = {"frames": 5, "stride": 2, "fps": 10.0}
    (moving, report, _), (still, *_) = (
        run(video_dataset, folder=name, **cut, missing_captions="skip") for name in ("moving", "still")
    )
    assert numbers_of(moving.pictures(0)) == [0, 4, 5, 6, 7]
    assert numbers_of(still.pictures(0)) == [0, 1, 3, 5, 7]
    assert "skipped" not in report
    once, *_ = run(video_dataset, folder="still", frames=4, stride=1, loop=True)
    assert numbers_of(once.pictures(0)) == [0, 2, 4, 6]
    _, report, _ = run(video_dataset, folder="moving", frames=16, stride=1, fps=30.0)
    assert "noted: 1\n  a.webp has too few frames for this cut" in report
    assert run(video_dataset, folder="moving", frames=4, stride=1)[1].endswith(
        "noted: 1\n  a.webp has frames that are shown for longer than others; set fps to read it by time"
    )


def test_shapes_need_no_folder(port, video_dataset, folders):
    dataset, report, preview = run(video_dataset, source="shapes", folder="none")
    assert len(dataset) == 3
    assert report.startswith("3 clips of 4 frames, 32x32, drawn (circle, seed 5)\n")
    assert preview.shape == (1, 3 * 34, 4 * 34, 3)
    again, *_ = run(video_dataset, source="shapes", folder="none")
    assert dataset.keys == again.keys
    assert dataset.keys != run(video_dataset, source="shapes", folder="none", seed=6)[0].keys
    assert torch.equal(pickle.loads(pickle.dumps(dataset)).pictures(2), dataset.pictures(2))


def test_folders_are_listed_anew_without_hidden_and_empty_ones_files_and_links_out(
    port, video_dataset, folders, tmp_path
):
    for name in ("mine", "b", ".hidden"):
        (folders.input / name).mkdir()
        (folders.input / name / "file").touch()
    (folders.input / "empty").mkdir()
    (folders.input / "file.mp4").touch()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    (folders.input / "link").symlink_to(outside)
    (folders.input / "up").symlink_to(folders.input.parent)
    (folders.input / "same").symlink_to(folders.input)
    assert port.list_files("input_folders") == ["b", "mine"]
    spec = video_dataset.GET_NODE_INFO_V1()["input"]["required"]["folder"]
    assert (spec[0] if isinstance(spec[0], list) else spec[1]["options"]) == ["none", "b", "mine"]


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        "",
        "/",
        "../outside",
        "mine/../../outside",
        "mine/deep",
        "mine/",
        "link",
        "none",
        ".hidden",
        "absolute",
    ],
)
def test_nothing_outside_a_listed_folder_can_be_named(port, video_dataset, folders, tmp_path, name):
    """By the node, by what the host asks before it runs, or by the port."""
    fill_folder(folders.input / "mine" / "deep", 1)
    fill_folder(folders.input / ".hidden", 1)
    outside = fill_folder(tmp_path / "outside", 1)
    (folders.input / "link").symlink_to(outside)
    name = str(outside) if name == "absolute" else name
    with pytest.raises(ValueError, match=r"^input_folders: got .*expected one of the list"):
        run(video_dataset, folder=name)
    with pytest.raises(ValueError, match=r"^input_folders: got "):
        video_dataset.fingerprint_inputs(**(DEFAULTS | {"folder": name}))
    with pytest.raises(ValueError, match=r"^input_folders: got "):
        port.resolve("input_folders", name)


def test_a_change_of_a_file_is_noticed_and_shapes_never_change(port, video_dataset, folders):
    folder = fill_folder(folders.input / "mine", 1)
    before = video_dataset.fingerprint_inputs(**DEFAULTS)
    assert video_dataset.fingerprint_inputs(**DEFAULTS) == before
    os.utime(folder / "0.txt", (1, 1))
    assert video_dataset.fingerprint_inputs(**DEFAULTS) != before
    drawn = DEFAULTS | {"source": "shapes", "folder": "none"}
    assert video_dataset.fingerprint_inputs(**drawn) == video_dataset.fingerprint_inputs(**drawn)


def test_a_folder_without_anything_usable_is_an_error_with_reasons(port, video_dataset, folders):
    fill_folder(folders.input / "mine", 0)
    with pytest.raises(
        ValueError, match=r"folder='mine': got 1 files, .* \(bad.mp4 has no caption\); expected videos"
    ):
        run(video_dataset)
