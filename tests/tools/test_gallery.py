"""The gallery: every workflow has pictures that are small and move, and its page is what the tool writes."""

from __future__ import annotations

import pytest
from frameloom.headless.workflow.graph import check_workflow
from frameloom.host import api
from frameloom.tools.gallery import page, pictures
from frameloom.tools.gallery.demo import NAMES, SAVER, SETTINGS, WORKFLOWS, drawing_of, read, with_savers
from frameloom.tools.gallery.draw import Studio
from frameloom.tools.templates import file_name
from PIL import Image, ImageSequence

ALL_BYTES, THUMBNAIL_BYTES = 4_000_000, 60_000
WIDEST = 400


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A headless host without a file of the user's but the video that the tool draws."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "_selected", {})
        yield Studio(tmp_path_factory.mktemp("gallery"))


def colored(*colors):
    """A clip of plain frames."""
    return [Image.new("RGB", (64, 64), color) for color in colors]


def test_the_page_is_what_the_tool_writes():
    assert page.PAGE.read_text("utf-8") == page.text(), "run `make gallery`"


def test_every_workflow_has_an_animated_picture_and_no_other_lies_beside_them():
    assert sorted(path.name for path in page.PICTURES.iterdir()) == [f"{name}.webp" for name in NAMES]


def test_pictures_are_small():
    sizes = {path.name: path.stat().st_size for path in page.PICTURES.iterdir()}
    assert {name: size for name, size in sizes.items() if size > pictures.MOST_BYTES} == {}
    assert sum(sizes.values()) < ALL_BYTES
    thumbnails = {path.name: path.stat().st_size for path in WORKFLOWS.glob("*.jpg")}
    assert {name: size for name, size in thumbnails.items() if size > THUMBNAIL_BYTES} == {}


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_of_what_makes_a_clip_moves(name):
    with Image.open(page.PICTURES / f"{name}.webp") as file:
        frames = {frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(file)}
        assert file.height in (pictures.ALONE, pictures.BESIDE)
        assert file.width <= WIDEST
    assert (len(frames) > 1) == drawing_of(name).moves
    with Image.open(WORKFLOWS / f"{file_name(name)}.jpg") as file:
        assert file.size == (pictures.THUMBNAIL, pictures.THUMBNAIL)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_drawn_needs_no_file_of_the_users(name, studio):
    assert check_workflow(drawing_of(name).graph, studio.nodes).outputs


@pytest.mark.parametrize("name", [each for each in NAMES if each.endswith("_demo") and each not in SETTINGS])
def test_a_workflow_of_the_demo_model_is_drawn_at_its_own_settings(name):
    workflow, drawing = read(name), drawing_of(name)
    own = {node_id: node for node_id, node in drawing.graph.items() if not node_id.startswith(SAVER)}
    for node_id, node in own.items():
        if workflow[node_id]["class_type"] not in ("Frameloom_LayoutPreview", "Frameloom_DecodeToVideo"):
            assert node == {key: workflow[node_id][key] for key in ("class_type", "inputs")}
    assert {node["class_type"] for node in own.values()} >= {
        node["class_type"] for node in workflow.values() if "Sampler" in node["class_type"]
    }


def test_what_was_drawn_is_drawn_again_only_if_the_graph_changes(studio, capsys):
    def draw(color):
        empty = {"width": 16, "height": 16, "batch_size": 2}
        graph = {
            "1": {"class_type": "EmptyImage", "inputs": empty | {"color": color}},
            "2": {"class_type": "EmptyImage", "inputs": empty | {"color": 0x00FF00}},
            "3": {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": ["2", 0]}},
        }
        [clip] = studio.draw("plain", with_savers(graph, [["3", 0]]))
        return [frame.getpixel((0, 0)) for frame in clip], capsys.readouterr().out

    assert draw(0xFF0000) == ([(255, 0, 0)] * 2 + [(0, 255, 0)] * 2, "drawing plain\n")
    assert draw(0xFF0000) == ([(255, 0, 0)] * 2 + [(0, 255, 0)] * 2, "")
    assert draw(0x0000FF) == ([(0, 0, 255)] * 2 + [(0, 255, 0)] * 2, "drawing plain\n")


def test_clips_of_different_lengths_end_together_and_a_still_picture_stands_beside_them():
    clip = pictures.animated([colored("white"), colored("red", "blue"), colored(*["red"] * 3, "blue")])
    assert [frame.getpixel((pictures.BESIDE * 3 // 2, 60)) for frame in clip] == [(255, 0, 0)] * 2 + [
        (0, 0, 255)
    ] * 2
    assert [frame.getpixel((frame.width - 9, 60)) for frame in clip] == [(255, 0, 0)] * 3 + [(0, 0, 255)]
    assert {frame.getpixel((9, 60)) for frame in clip} == {(255, 255, 255)}


def test_a_thumbnail_shows_the_first_moment_and_the_last():
    colors = ["red", *["gray"] * 14, "blue"]
    square = pictures.thumbnail([colored(*colors)])
    assert (square.getpixel((20, 20)), square.getpixel((360, 360))) == ((255, 0, 0), (0, 0, 255))
    pair = pictures.thumbnail([colored("white"), colored(*colors)])
    assert (pair.getpixel((360, 20)), pair.getpixel((360, 360))) == ((255, 0, 0), (0, 0, 255))


def test_a_clip_that_is_too_large_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"noise.webp: got \d+ bytes at quality 50; expected at most 100;"):
        pictures.save_animated(colored("red", "blue"), 8.0, tmp_path / "noise.webp", most_bytes=100)
    assert list(tmp_path.iterdir()) == []
