"""Every node explains itself: tooltips, a description, names to be found by, and a help page made from them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from frameloom.host import api
from frameloom.tools import gen_docs
from frameloom.tools.schemas import own_nodes

ROOT = Path(__file__).resolve().parents[2]
LONGEST_WORD = 28
LIST = ROOT / "docs" / "nodes.md"


@pytest.fixture(scope="module")
def entries():
    """Our nodes' entries of /object_info, from the stand-in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "_selected", {})
        yield [node.GET_NODE_INFO_V1() for node in own_nodes()]


def test_every_help_page_is_what_the_schema_says(entries):
    there = {path.name: path.read_text("utf-8") for path in (ROOT / "web" / "docs").glob("*.md")}
    assert there == gen_docs.pages(), "run `make docs`"


def test_every_input_and_output_has_a_tooltip(entries):
    bare = [
        f"{entry['name']}.{name}"
        for entry in entries
        for section in ("required", "optional")
        for name, spec in entry["input"].get(section, {}).items()
        if not (*spec, {})[1].get("tooltip")
    ]
    bare += [entry["name"] for entry in entries if not all(entry["output_tooltips"] or [])]
    assert bare == []


def test_ids_categories_names_and_aliases_follow_the_house(entries):
    for entry in entries:
        assert entry["name"].startswith("Frameloom_")
        assert entry["category"].startswith("frameloom/")
        assert entry["description"].endswith(".")
        assert entry["search_aliases"]
        assert entry["display_name"].replace(" ", "").isalnum()
        assert "Frameloom" not in entry["display_name"]


def test_no_two_nodes_share_a_display_name(entries):
    names = [entry["display_name"] for entry in entries]
    assert len(set(names)) == len(names)


def test_every_node_that_the_list_names_has_that_name(entries):
    rows = re.findall(r"^\| \[([^]]+)\]\(../web/docs/(\w+)\.md\)", LIST.read_text("utf-8"), re.MULTILINE)
    names = {entry["name"]: entry["display_name"] for entry in entries}
    assert rows
    assert [row for row in rows if names.get(row[1]) != row[0]] == []


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (
            "animate",
            {"ApplyMotionModule", "MotionModuleLoader", "HoldFrames", "PIAPicture", "ZeroShotSampler"},
        ),
        ("boxes", {"LayoutFromText", "LayoutFromLLM", "LayoutPreview", "LayoutConditioning"}),
        ("long video", {"ContextWindows", "FreeNoise", "NuwaPlan", "StretchPositions"}),
        ("camera pan", {"CameraPresets", "MotionLoRALoader", "MotionPath"}),
        ("i2v", {"HoldFrames", "PIAPicture", "AnimateLCMPicture", "ApplySparseControl"}),
        ("use evolved sampling", {"ApplyMotionModule"}),
        ("load animatediff lora", {"MotionLoRALoader"}),
        ("context options", {"ContextWindows"}),
        ("ADE_UseEvolvedSampling", {"ApplyMotionModule"}),
        ("edit a video", {"Rave", "VidToMe"}),
    ],
)
def test_search_finds_nodes_by_the_words_that_people_type(entries, typed, found):
    hits = {
        entry["name"].removeprefix("Frameloom_")
        for entry in entries
        if any(typed.lower() in name.lower() for name in (entry["display_name"], *entry["search_aliases"]))
    }
    assert found <= hits


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "web" / "docs").glob("*.md")))
def test_a_help_page_fits_a_narrow_panel(page):
    """ComfyUI's panel has some 270 pixels: a table would be cut off, and so would a very long word."""
    text = (ROOT / "web" / "docs" / page).read_text("utf-8")
    assert not re.search(r"^\|", text, re.MULTILINE)
    assert [word for word in re.split(r"\s|<wbr>", text) if len(word) > LONGEST_WORD] == []
