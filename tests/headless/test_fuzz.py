"""The fuzz outside CI: the same name makes the same case, and its judge knows a fault from a refusal."""

from __future__ import annotations

import json
import random
import traceback

import numpy as np
import pytest
from frameloom.headless.workflow.settings import read_value, with_settings
from frameloom.models.storyboard.scenes import parse_storyboard
from frameloom.tools.fuzz import damage, graphs, verdict
from frameloom.tools.fuzz.case import ESCAPED, Outcome
from PIL import Image

GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 2, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "red"}},
}


@pytest.fixture
def left(tmp_path):
    """Judge a run by what it said and what it left in its folder."""
    (tmp_path / "output").mkdir()

    def judged(code=0, words="", state="done"):
        (tmp_path / "err.txt").write_text(words, "utf-8")
        found = verdict.judge(tmp_path, Outcome(code, state, 1.0))
        return found.kind, found.where

    return judged


def told(work):
    """Return what a run prints whose node does this."""
    try:
        work()
    except (ValueError, TypeError) as error:
        return f"{traceback.format_exc()}failed: node 1 (Any): {type(error).__name__}: {error}\n"
    raise AssertionError


def test_a_name_makes_one_workflow_and_another_name_another():
    def made(name):
        return graphs.mutate(random.Random(name), GRAPH)

    assert made("2026 graph-1") == made("2026 graph-1")
    assert len({made(f"2026 graph-{number}") for number in range(30)}) > 20
    assert GRAPH["1"]["inputs"]["width"] == 16


def test_a_spoiled_file_is_not_the_good_one():
    good = bytes(range(256)) * 4
    spoiled = {damage.spoil(random.Random(number), good, {"other": b"x"})[0] for number in range(40)}
    assert len(spoiled) > 20
    assert good not in spoiled


def test_an_error_that_our_code_raises_is_words_and_any_other_is_a_fault(left):
    assert left(1, told(lambda: with_settings(GRAPH, ["9.width=1"]))) == (verdict.FAILED, "")
    assert left(1, told(lambda: parse_storyboard("{"))) == (verdict.FAILED, "")
    raw = told(lambda: read_value(5, None))  # json's own error
    assert left(1, raw) == (verdict.INTERNAL, "TypeError at models/files/json_text.py:read_json")
    said = told(lambda: with_settings(GRAPH, ["9.width=1"]))
    assert left(ESCAPED, said)[0] == verdict.INTERNAL  # it left the command, whatever it says


def test_a_kill_a_signal_and_silence_are_faults(left):
    assert left(-9, "", "killed")[0] == verdict.HANG
    assert left(-11)[0] == verdict.CRASH
    assert left(1)[0] == verdict.INTERNAL
    assert left(2, "bad value") == (verdict.REFUSED, "")
    assert left(1, "stopped", "stopped") == (verdict.STOPPED, "")


def test_what_a_run_leaves_is_whole_and_shows_something(left, tmp_path):
    picture = tmp_path / "output" / "a.png"
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(picture)
    assert left() == (verdict.FINE, "")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture)
    assert left() == (verdict.WRONG, "a black picture in a .png")
    picture.write_bytes(picture.read_bytes()[:40])
    assert left()[0] == verdict.HALF
    picture.rename(tmp_path / "output" / ".a.png.0.part")
    assert left(1, "words")[0] == verdict.HALF


def test_cheap_workflows_are_those_of_the_pack():
    cheap = graphs.cheap_graphs()
    assert cheap["animatediff_demo"]["7"]["inputs"]["steps"] == 2
    assert json.dumps(cheap["text2image_demo"]) != json.dumps(cheap["animatediff_demo"])
