"""The bench on the demo's sizes: its cases still run. What they measure is not looked at."""

from __future__ import annotations

import os
import subprocess
import sys

from frameloom.tools.bench import CASES, REPORT

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
