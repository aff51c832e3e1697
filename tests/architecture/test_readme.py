"""The README is true: what it links to is there, and what it tells people to type exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from frameloom.headless.graph import read_workflow
from frameloom.headless.settings import with_settings
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
README = (ROOT / "README.md").read_text("utf-8")
PICTURE_BYTES = 500 * 1024


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text("utf-8"))
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_the_readmes_links_to_headings_have_them():
    links = re.findall(r"\]\(([^)#:]+)#([^)]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert links
    for page, anchor in links:
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
        slugs = {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}
        assert anchor in slugs, f"{page}#{anchor}"


def test_the_demos_picture_is_a_small_moving_webp():
    picture = ROOT / "docs" / "demo.webp"
    assert picture.stat().st_size < PICTURE_BYTES
    with Image.open(picture) as file:
        assert file.n_frames > 1


def test_every_make_target_that_it_names_exists():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z][\w-]*)", README, re.MULTILINE)) <= targets
    assert {"demo", "test", "test-host", "bench", "evidence", "demo-model", "format"} <= targets


def test_every_file_of_ours_that_a_command_names_exists():
    named = re.findall(r"(?:workflows/api|tools|assets/inputs|training|configs)/[\w./-]+\.\w+", README)
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_two_commands_come_first():
    assert re.findall(r"^make \S+", README, re.MULTILINE)[:2] == ["make demo", "make test"]
    assert README.index("make demo") < README.index("\n## ")


def test_every_workflow_is_listed():
    assert [path.stem for path in (ROOT / "workflows").glob("*.json") if f"`{path.stem}`" not in README] == []


def test_every_value_that_it_replaces_is_one_of_the_demos():
    prompt = read_workflow((ROOT / "workflows" / "api" / "animatediff_demo.json").read_text("utf-8"))
    settings = [f"{name}=0" for name in re.findall(r"--set (\S+?)=", README)]
    assert len(settings) > 1
    assert with_settings(prompt, settings) != prompt
