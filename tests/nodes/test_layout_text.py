"""Layout From Text: a text of any format in, a storyboard and a text of another out."""

from __future__ import annotations

import pytest
from frameloom.language.formats.detect import AUTO, READERS, WRITERS
from frameloom.models.storyboard.scenes import parse_storyboard
from frameloom.tests.support.layouts import boxes, sample


@pytest.fixture
def read(run):
    settings = {"frames": 0, "fps": 6.0, "width": 320, "height": 192}
    return lambda text, **given: run("LayoutFromText", text=text, **(settings | given))


def test_the_node_offers_every_format(host):
    from frameloom.nodes.layout.text import EXPORTS, FORMATS

    assert set(FORMATS) == {AUTO, *READERS}
    assert set(EXPORTS) == set(WRITERS)


def test_the_example_in_the_node_moves_a_circle_to_the_right(run):
    storyboard, _ = run("LayoutFromText")
    lefts = [box[0] for box in boxes(storyboard.only_scene(), "red_circle")]
    assert len(lefts) == 16
    assert lefts == sorted(set(lefts))


def test_settings_fill_what_the_text_does_not_say(read):
    storyboard, text = read(sample("lvd.txt"), frames=24)
    assert (storyboard.fps, storyboard.size, storyboard.only_scene().frames) == (6.0, (320, 192), 24)
    assert parse_storyboard(text) == storyboard
    assert read(sample("storyboard20k.json"))[0].size == (480, 200)  # its resolution


def test_export_writes_the_chosen_format(read):
    _, text = read(sample("lvd.txt"), export_as="Storyboard20K lines")
    assert text.startswith("box; Create a storyboard.; A kite rises over a beach while a dog runs by; {'main")
    storyboard, _ = read(text, format="Storyboard20K lines")
    assert storyboard.only_scene().frames == 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", r"plan.txt: got a byte at 0 that is not UTF-8"),
        (b"[" * 8_000_100, r"expected at most 2,000,000"),
    ],
    ids=["bytes", "long"],
)
def test_a_file_is_read_instead_of_the_text_and_one_that_cannot_be_read_is_told(read, host, content, message):
    path = host.user_dir() / "layouts" / "plan.txt"
    path.parent.mkdir()
    path.write_bytes(b"\xef\xbb\xbf" + sample("lvd.txt").encode())
    assert read("not read", file="plan.txt") == read(sample("lvd.txt"))
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read("", file="plan.txt")
