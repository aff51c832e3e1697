"""The editor's route to the readers of layouts, on a running server: what it answers to texts, good and bad."""

from __future__ import annotations

import pytest
from frameloom.models.storyboard.scenes import Storyboard, parse_storyboard
from frameloom.tests.support.layouts import SAMPLES, sample

pytestmark = pytest.mark.host


PATH = "/api/frameloom/storyboard"


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_is_read_as_the_node_reads_it(server, name):
    status, answer = server.ask(PATH, {"text": sample(name), "frames": 0, "width": 320, "height": 192})
    assert (status, answer["format"]) == (200, SAMPLES[name])
    board = Storyboard.model_validate(answer["storyboard"], strict=False)
    if name == "frameloom.json":
        assert board == parse_storyboard(sample(name))
    assert board.scenes


@pytest.mark.parametrize(
    ("text", "format", "line", "said"),
    [
        (
            '{"version": 1,\n "scenes": [\n  {"id": 1, "frames": 0}]}',
            "Frameloom JSON",
            3,
            "got 0; expected greater",
        ),
        ("Frame 1: []\nFrame 2: [}\nBackground keyword: sea", "LVD frames", 2, "LVD frames line 2: got"),
        ("once upon a time", "auto", 1, "text is of no format"),
    ],
)
def test_a_text_that_is_no_layout_is_answered_with_the_error_and_its_line(server, text, format, line, said):
    status, answer = server.ask(PATH, {"text": text, "format": format})
    assert (status, set(answer), answer["line"]) == (200, {"error", "line"}, line)
    assert said in answer["error"]


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (b"{", "application/json", 400, "got text: Invalid JSON"),
        (b"\xff\xfe", "application/json", 400, "got text: Invalid JSON"),
        ({"format": "auto"}, "application/json", 400, "got text: Field required"),
        ({"text": 1}, "application/json", 400, "got text: Input should be a valid string"),
        ({"text": "", "width": 4}, "application/json", 400, "got width: Input should be greater"),
        (
            {"text": "", "file": "/etc/passwd"},
            "application/json",
            400,
            "got file: Extra inputs are not permitted",
        ),
        ({"text": "", "format": "PDF"}, "application/json", 400, "got format 'PDF'"),
        ({"text": ""}, "text/plain", 415, "got text/plain"),
        (b" " * (10 << 20), "application/json", 413, "got more than 9,437,184 bytes"),
    ],
)
def test_a_bad_request_is_refused_in_words(server, body, kind, status, said):
    got, answer = server.ask(PATH, body, kind)
    assert (got, set(answer)) == (status, {"error"})
    assert said in answer["error"]
    assert "expected text, format, frames" in answer["error"]
    assert "storyboard_route" not in server.log.read_text("utf-8")  # in a traceback
