"""The cache of answers: bounded, whole files only, the oldest go first."""

from __future__ import annotations

import errno
import os

import pytest
from frameloom.language.planning import cache
from frameloom.language.planning.cache import AnswerCache
from frameloom.models.files import whole_file


def sizes(folder):
    return [path.stat().st_size for path in folder.iterdir()]


def test_it_gives_back_what_it_was_given(tmp_path):
    kept = AnswerCache(tmp_path / "new")
    assert kept.read(("a", 1)) is None
    kept.write(("a", 1), "ä")
    assert kept.read(("a", 1)) == "ä"
    assert kept.read(("a1",)) is None, "parts of a question are told apart"


def test_no_more_files_than_its_bound_and_the_oldest_go(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MAX_FILES", 3)
    kept = AnswerCache(tmp_path)
    for number in range(5):
        kept.write((number,), str(number))
        for path in tmp_path.iterdir():
            stat = path.stat()
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - 10**9))
    assert [kept.read((number,)) for number in range(5)] == [None, None, "2", "3", "4"]


def test_no_more_bytes_than_its_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MAX_BYTES", 1000)
    kept = AnswerCache(tmp_path)
    for number in range(8):
        kept.write((number,), "x" * 300)
    assert sum(sizes(tmp_path)) == 900
    assert kept.read((7,)) == "x" * 300, "the newest stays"
    kept.write((8,), "x" * 1001)
    assert kept.read((8,)) is None
    assert sum(sizes(tmp_path)) == 900


def test_a_full_disk_is_one_error_and_what_was_kept_stays(tmp_path, monkeypatch):
    def full(part, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    kept = AnswerCache(tmp_path)
    kept.write(("a",), "1")
    with monkeypatch.context() as patch:
        patch.setattr(whole_file.os, "replace", full)
        with pytest.raises(OSError, match=r"No space left on device\); expected about 3 bytes .*; make room"):
            kept.write(("b",), "234")
    assert kept.read(("a",)) == "1"
    assert sizes(tmp_path) == [1]
