"""The bench on the demo's sizes: its cases still run. What they measure is not looked at."""

from __future__ import annotations

import os
import subprocess
import sys

from frameloom.tools.bench import CASES, REPORT, page

CHOSEN = CASES.keys() - {"file"}  # 256 frames, which take minutes


def test_cases_run_and_the_report_stays_as_it_is():
    before = REPORT.read_bytes()
    command = [sys.executable, REPORT.parents[1] / "tools" / "bench.py", "--demo", "--rounds", "2"]
    run = subprocess.run(
        [*command, "--only", *CHOSEN],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert [name for name in CHOSEN if f"## {CASES[name].title}\n" not in run.stdout] == []
    assert REPORT.read_bytes() == before


def test_a_case_that_is_measured_again_replaces_its_own_section_alone():
    before = REPORT.read_text("utf-8")
    assert page(before, {}) == before
    title = CASES["block"].title
    after = page(before, {"block": f"## {title}\n\nnew\n"})
    sections = [set(text.split("\n## ")) for text in (before, after)]
    assert {each.partition("\n")[0] for each in sections[0] ^ sections[1]} == {title}
