"""README and docs are true: what they link to is there, and what they tell people to type exists."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from frameloom.headless.workflow.graph import read_workflow
from frameloom.headless.workflow.settings import with_settings
from frameloom.tools.templates import file_name
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
DOORS = [name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md") if (ROOT / name).is_file()]
PAGES = [*DOORS, *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
README = (ROOT / "README.md").read_text("utf-8")
MADE = {"evidence.md", "samplers.md", *(path.name for path in (ROOT / "docs").glob("bench*.md"))}  # by a tool
FEW_WORDS, FIRST_LINES = 900, 25
PICTURE_BYTES = 500 * 1024


def text_of(page: str) -> str:
    """A page's text."""
    return (ROOT / page).read_text("utf-8")


def slugs_of(text: str) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text_of(page)) + re.findall(
        r'src="([^"]+)"', text_of(page)
    )
    assert [link for link in links if not (ROOT / page).parent.joinpath(unquote(link)).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_to_headings_have_them(page):
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text_of(page)):
        file = (ROOT / page).parent / target if target else ROOT / page
        assert anchor in slugs_of(file.read_text("utf-8")), f"{target}#{anchor}"


def test_every_page_of_the_docs_is_in_their_index():
    links = set(re.findall(r"\]\(([\w-]+\.md)\)", text_of("docs/README.md")))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - links == {"README.md"}


def test_the_readme_is_short_and_leads_to_all_other_pages():
    assert len(README.split()) <= FEW_WORDS
    assert {"docs/README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"} <= set(
        re.findall(r"\]\(([^)#:]+)\)", README)
    )


def test_the_readme_shows_then_says_then_installs():
    lines = README.splitlines()
    picture = next(number for number, line in enumerate(lines) if line.startswith("!["))
    install = lines.index("## Install in ComfyUI")
    assert picture < install < FIRST_LINES
    assert any(line.startswith("Frameloom ") for line in lines[picture:install])
    assert lines[install:].index("```") < FIRST_LINES - install
    assert re.findall(r"^## (.+)$", README, re.MULTILINE)[:3] == [
        "Install in ComfyUI",
        "Without ComfyUI",
        "What it does",
    ]


def test_the_demos_picture_is_a_small_moving_webp():
    picture = ROOT / "docs" / "demo.webp"
    assert picture.stat().st_size < PICTURE_BYTES
    with Image.open(picture) as file:
        assert file.n_frames > 1


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_it_names_exists(page):
    targets = set(re.findall(r"^([\w-]+):", text_of("Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z][\w-]*)", text_of(page), re.MULTILINE)) <= targets


def test_the_first_command_without_comfyui_is_the_demo_and_the_tests_are_named():
    assert re.findall(r"^make \S+", README, re.MULTILINE) == ["make demo"]
    assert "`make test`" in README
    assert "make test\n" in text_of(".ci/run")


@pytest.mark.parametrize("page", [page for page in PAGES if Path(page).name not in MADE])
def test_every_file_of_ours_that_a_command_names_exists(page):
    named = re.findall(
        r"(?<![\w/])(?:workflows/api|tools|assets/inputs|configs)/[\w./-]+\.\w+", text_of(page)
    )
    assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("page", [page for page in PAGES if Path(page).name not in MADE])
def test_every_workflow_that_it_names_exists(page):
    named = set(re.findall(r"`(\w+_(?:demo|sd15))`", text_of(page)))
    assert sorted(named - {path.stem for path in (ROOT / "workflows" / "api").glob("*.json")}) == []


def test_the_list_of_workflows_names_workflows_once_as_the_template_browser_does():
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", text_of("docs/workflows.md"), re.MULTILINE)
    assert rows
    assert len(rows) == len(dict(rows))
    assert [row for row in rows if row[1] != file_name(row[0])] == []
    assert dict(rows).keys() <= {path.stem for path in (ROOT / "workflows" / "api").glob("*.json")}


@pytest.mark.parametrize("page", ["README.md", "docs/run-headless.md"])
def test_every_value_that_it_replaces_is_one_of_the_demos(page):
    prompt = read_workflow(text_of("workflows/api/few_steps_demo.json"))
    settings = [f"{name}=0" for name in re.findall(r"--set (\S+?)=", text_of(page))]
    assert len(settings) > 1
    assert with_settings(prompt, settings) != prompt
