"""What a newcomer meets first says the same as the code: issue forms, CI, the hooks before a commit, types."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from frameloom.models.edits.active import RULES, add, chain, each, last
from frameloom.tests.architecture.test_package import pyproject

ROOT = Path(__file__).resolve().parents[2]
FORMS = sorted(
    path.name for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"
)


def parsed(path: str) -> Any:
    """A YAML file's content."""
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


@pytest.mark.parametrize("form", FORMS)
def test_a_form_has_what_github_asks_of_it(form: str) -> None:
    content = parsed(f".github/ISSUE_TEMPLATE/{form}")
    assert {"name", "description", "body"} <= set(content)
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    ids = [field["id"] for field in fields]
    assert len(ids) == len(set(ids))
    assert all(field["attributes"]["label"] for field in fields)


def test_the_bug_form_demands_the_workflow_the_versions_and_the_log() -> None:
    body = parsed(".github/ISSUE_TEMPLATE/bug.yml")["body"]
    demanded = {field["id"] for field in body if field.get("validations", {}).get("required")}
    assert {"workflow", "log", "comfyui", "torch", "frameloom"} <= demanded


def test_ci_runs_the_script_that_all_machines_run() -> None:
    jobs = parsed(".github/workflows/ci.yml")["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert commands == [".ci/run"]
    assert (ROOT / ".ci" / "run").is_file()


def test_the_hooks_before_a_commit_use_the_same_ruff() -> None:
    (repository,) = parsed(".pre-commit-config.yaml")["repos"]
    pin = re.search(r"^ruff==(\S+)$", (ROOT / "tools" / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert pin is not None
    assert repository["rev"] == f"v{pin.group(1)}"
    assert [hook["id"] for hook in repository["hooks"]] == ["ruff-check", "ruff-format"]


def test_a_wheel_says_that_it_has_types() -> None:
    tool = pyproject()["tool"]
    assert "py.typed" in tool["setuptools"]["package-data"]["frameloom"]
    assert (ROOT / "py.typed").is_file()
    assert {"models", "language", "host/contract.py"} <= set(tool["pyright"]["strict"])


def test_the_page_of_the_house_says_each_seams_rule() -> None:
    words = {last: "the last counts", chain: "in order", add: "the sum", each: "all"}
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    rows = re.findall(r"^\| \*(\w+)\* \| .+ \| (.+) \|$", page, re.MULTILINE)
    assert sorted(rows) == sorted((seam, words[rule]) for seam, rule in RULES.items())
