"""A folder of videos: what is found, what is skipped and why, and what leads out of it."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from frameloom.tests.support.videos import numbered, numbers_of, write_sound, write_video
from frameloom.training.motion.dataset import contact_sheet, describe, folder_dataset
from frameloom.training.video.cut import Cut
from frameloom.training.video.folder import fingerprint_folder, read_folder

CUT = Cut(frames=4, stride=2, width=32, height=32)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Three good clips and everything that can be wrong."""
    folder = tmp_path_factory.mktemp("given") / "clips"
    write_video(folder / "a.mkv", numbered(20))
    write_video(folder / "deep" / "b.mp4", numbered(20))
    write_video(folder / "c.gif", numbered(20))
    (folder / "a.txt").write_text("first")
    (folder / "c.txt").write_text("third")
    (folder / "results.csv").write_text(
        "videoid,name,page_dir\nb,second,deep\nshort,short,\nsound,sound,\nempty,e,\n"
    )
    shutil.copy(folder / "a.mkv", folder / "long.mkv")
    (folder / "long.txt").write_text("word " * 500)
    shutil.copy(folder / "a.mkv", folder / "silent.mkv")
    write_video(folder / "short.mkv", numbered(2))
    write_sound(folder / "sound.mp4")
    (folder / "empty.mp4").touch()
    (folder / "bad.csv").write_text("x\n")
    (folder / ".hidden.mp4").touch()
    return folder


@pytest.fixture
def folder(clips, tmp_path):
    return shutil.copytree(clips, tmp_path / "clips")


BAD = [
    "bad.csv has the columns x; expected videoid and name, as WebVid has, or file and caption; name them in the first "
    "row",
    "empty.mp4 is empty (0 bytes)",
    "long.mkv has a caption longer than 2,000 characters",
    "short.mkv has 2 frames; expected at least 4",
    "sound.mp4 has no pictures",
]


def test_good_files_become_clips_and_bad_ones_are_named(clips):
    found = read_folder(clips, CUT, "skip")
    assert [(clip.name, clip.caption) for clip in found.clips] == [
        ("a.mkv", "first"),
        ("c.gif", "third"),
        ("deep/b.mp4", "second"),
    ]
    names = [f"{each.name} {each.reason}" for each in found.skipped]
    assert names == sorted([*BAD, "silent.mkv has no caption"])
    assert all(numbers_of(clip.pictures()) == [6, 8, 10, 12] for clip in found.clips)


def test_videos_without_caption_count_where_that_is_wanted_and_a_report_says_so(clips):
    found = read_folder(clips, CUT, "empty")
    text = describe(folder_dataset(found, "clips", CUT, 0.1), "from 4 files of clips", found.skipped)
    assert text.splitlines() == [
        "4 clips of 4 frames, 32x32, from 4 files of clips",
        "3 captions, left out in 10 % of the steps",
        "without caption: 1 clip",
        "skipped: 5",
        *(f"  {each}" for each in BAD),
    ]


def test_where_nothing_can_be_used_the_error_says_why(tmp_path):
    with pytest.raises(ValueError, match=r"got 0 files, none of which can be used \(it is empty\)"):
        folder_dataset(read_folder(tmp_path, CUT, "skip"), "empty", CUT, 0.0)


def test_links_out_of_the_folder_and_what_is_no_file_are_not_opened(folder, tmp_path):
    """A pipe would keep whoever opens it waiting."""
    secret = write_video(tmp_path / "secret" / "s.mkv", numbered(20))
    (tmp_path / "secret" / "s.txt").write_text("secret")
    (folder / "link.mkv").symlink_to(secret)
    (folder / "silent.txt").symlink_to(tmp_path / "secret" / "s.txt")
    (folder / "far").symlink_to(tmp_path / "secret")
    (folder / "inside.mkv").symlink_to(folder / "a.mkv")
    (folder / "inside.txt").write_text("a link that stays")
    (folder / "dead.mkv").symlink_to(folder / "nowhere.mkv")
    (folder / "loop.mkv").symlink_to(folder / "loop.mkv")
    os.mkfifo(folder / "pipe.mp4")
    found = read_folder(folder, CUT, "skip")
    assert [clip.name for clip in found.clips] == ["a.mkv", "c.gif", "deep/b.mp4", "inside.mkv"]
    reasons = dict(found.skipped)
    assert reasons["link.mkv"] == reasons["silent.txt"] == "is a link that leads out of the folder"
    assert reasons["silent.mkv"] == "has no caption"
    assert reasons["dead.mkv"] == reasons["loop.mkv"] == reasons["pipe.mp4"] == "is no file"
    assert reasons["far"] == "is a link to a folder; copy it here"
    assert "secret" not in describe(folder_dataset(found, "clips", CUT, 0.0), "", found.skipped)


def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch):
    """Who runs tests may read every folder, so the system's answer is made up."""
    scan = os.scandir

    def refuse(place):
        if Path(place).name == "deep":
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    found = read_folder(folder, CUT, "skip")
    assert [clip.name for clip in found.clips] == ["a.mkv", "c.gif"]
    assert dict(found.skipped)["deep"] == "is a folder that can't be read (Permission denied)"


def test_whoever_watches_hears_of_every_file_and_can_stop(clips):
    told = []

    def watch(done):
        told.append(done)
        if done == 3:
            raise KeyboardInterrupt

    def start(files):
        told.append(f"of {files}")
        return watch

    with pytest.raises(KeyboardInterrupt):
        read_folder(clips, CUT, "skip", start)
    assert told == ["of 8", 0, 1, 2, 3]


def test_a_fingerprint_changes_with_any_file(folder):
    seen = {fingerprint_folder(folder)}
    assert fingerprint_folder(folder) in seen
    (folder / "deep" / "b.txt").write_text("another")
    seen.add(fingerprint_folder(folder))
    os.utime(folder / "a.mkv", (1, 1))
    seen.add(fingerprint_folder(folder))
    (folder / "c.gif").unlink()
    seen.add(fingerprint_folder(folder))
    assert len(seen) == 4


def test_a_preview_leaves_out_what_went_bad_meanwhile(folder, caplog):
    dataset = folder_dataset(read_folder(folder, CUT, "skip"), "clips", CUT, 0.0)
    (folder / "c.gif").unlink()
    sheet = contact_sheet(dataset)
    assert sheet.shape == (1, 2 * 34, 4 * 34, 3)
    assert "c.gif: is gone; it is left out of the preview." in caplog.text
