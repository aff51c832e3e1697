"""Layout From Text: a text of any format in, a storyboard and a text of another out."""

from __future__ import annotations

import pytest
from frameloom.models.storyboard.scenes import parse_storyboard
from frameloom.tests.support.layouts import SAMPLES, boxes, sample

DEFAULTS = {
    "format": "auto",
    "file": "none",
    "frames": 0,
    "fps": 6.0,
    "width": 320,
    "height": 192,
    "export_as": "Frameloom JSON",
}


@pytest.fixture(autouse=True)
def _home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def run(nodes):
    return lambda text, **settings: nodes["LayoutFromText"].execute(text=text, **(DEFAULTS | settings)).args


def test_the_node_offers_every_format(nodes):
    from frameloom.language.formats.detect import AUTO, READERS, WRITERS

    choices = {
        each.id: each.options
        for each in nodes["LayoutFromText"].define_schema().inputs
        if hasattr(each, "options")
    }
    assert set(choices["format"]) == {AUTO, *READERS}
    assert set(choices["export_as"]) == set(WRITERS)


def test_the_example_in_the_node_moves_a_circle_to_the_right(nodes, run):
    text = nodes["LayoutFromText"].define_schema().inputs[0].default
    storyboard, _ = run(text, frames=16)
    scene = storyboard.only_scene()
    lefts = [box[0] for box in boxes(scene, "red_circle")]
    assert len(lefts) == 16
    assert lefts == sorted(set(lefts))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_text_becomes_a_storyboard_and_its_json(run, name):
    storyboard, text = run(sample(name), format=SAMPLES[name])
    assert parse_storyboard(text) == storyboard
    assert run(sample(name)) == (storyboard, text)


def test_settings_fill_what_the_text_does_not_say(run):
    storyboard, _ = run(sample("lvd.txt"), frames=24)
    assert (storyboard.fps, storyboard.size, storyboard.only_scene().frames) == (6.0, (320, 192), 24)
    assert run(sample("storyboard20k.json"))[0].size == (480, 200)  # its resolution


def test_export_writes_the_chosen_format(run):
    _, text = run(sample("lvd.txt"), export_as="Storyboard20K lines")
    assert text.startswith("box; Create a storyboard.; A kite rises over a beach while a dog runs by; {'main")
    storyboard, _ = run(text, format="Storyboard20K lines")
    assert storyboard.only_scene().frames == 6


def test_a_wrong_text_is_told_the_line(run):
    with pytest.raises(ValueError, match=r"^LVD frames line 4: got .\[300, 300, 60\]"):
        run(sample("lvd.txt").replace("[300, 300, 60, 60]", "[300, 300, 60]"), format="LVD frames")


@pytest.fixture
def folder(nodes, host):
    folder = host.user_dir() / "layouts"
    folder.mkdir(parents=True)
    return folder


def test_a_file_is_read_instead_of_the_text_and_again_when_it_changes(nodes, run, folder):
    (folder / "plan.txt").write_bytes(b"\xef\xbb\xbf" + sample("lvd.txt").encode())
    (folder / "notes.md").touch()
    options = {each.id: each.options for each in nodes["LayoutFromText"].define_schema().inputs[2:3]}
    assert options == {"file": ["none", "plan.txt"]}
    assert run("not read", file="plan.txt")[1] == run(sample("lvd.txt"))[1]
    before = nodes["LayoutFromText"].fingerprint_inputs(file="plan.txt", text="")
    (folder / "plan.txt").write_text("another")
    assert nodes["LayoutFromText"].fingerprint_inputs(file="plan.txt", text="") != before


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("../plan.txt", b"", r"file='../plan.txt' is not in the folder frameloom/layouts .* expected one of"),
        ("plan.txt", b"\xff\xfe", r"plan.txt: got a byte at 0 that is not UTF-8"),
        ("plan.txt", b"[" * 8_000_100, r"expected at most 2,000,000"),
    ],
    ids=["outside", "bytes", "long"],
)
def test_a_file_that_cannot_be_read_is_told(run, folder, file, content, message):
    (folder / "plan.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        run("", file=file)
