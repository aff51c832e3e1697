"""A process that makes steps when it is asked to: requests and answers are lines of JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

MIB = 2**20


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer requests until there are no more. What else the process prints goes to standard error.

    Args:
        answer: function of a request.
    """
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


def forget_peak() -> None:
    """Let the peak of resident memory begin again at what is resident now; Linux only."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def memory(name: str) -> float:
    """Return a figure of this process in MiB: ``VmRSS``, ``VmHWM`` (the peak), ``RssAnon`` (without mapped files)."""
    with open("/proc/self/status", encoding="ascii") as file:
        found = next(line for line in file if line.startswith(f"{name}:"))
    return int(found.split()[1]) * 1024 / MIB
