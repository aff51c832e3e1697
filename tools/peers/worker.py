"""A process that makes steps when it is asked to: requests and answers are lines of JSON."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import torch

MIB = 2**20


def serve(start: Callable[[], Callable[[dict[str, Any]], dict[str, Any]]]) -> None:
    """Answer requests until there are no more. What else the process prints goes to standard error.

    Args:
        start: function that loads what is needed, and returns the function of a request.
    """
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        answer = start()
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


def start_peak(*, beside_work: bool) -> Callable[[], float]:
    """Return a function that says, once, how far memory has gone since now over what it is now, in MiB; Linux only.

    Args:
        beside_work: False: all that is resident counts. True: the process's own memory counts, as it is seen every
            20 ms, since mapped weights come and go with what other programs need; what its allocator kept is given back
            first.
    """
    if not beside_work:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # the peak begins again at what is resident
        resident = memory("VmRSS")
        return lambda: memory("VmHWM") - resident
    ctypes.CDLL(None).malloc_trim(0)
    seen, ended = [memory("RssAnon")], threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            seen.append(memory("RssAnon"))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()

    def end() -> float:
        ended.set()
        looking.join()
        return max(seen) - seen[0]

    return end


def clock(*, beside_work: bool) -> Callable[[], float]:
    """Return the clock of steps, in seconds: the machine's, or beside other work the time that the process ran."""
    return time.process_time if beside_work else time.perf_counter


def memory(name: str) -> float:
    """Return a figure of this process in MiB: ``VmRSS``, ``VmHWM`` (the peak), ``RssAnon`` (without mapped files)."""
    with open("/proc/self/status", encoding="ascii") as file:
        found = next(line for line in file if line.startswith(f"{name}:"))
    return int(found.split()[1]) * 1024 / MIB


def hold_all_but(free: int) -> torch.Tensor:
    """Return a ballast that leaves so many MiB of the machine's memory available: hosts split calls by what is free.

    Raises:
        RuntimeError: less is available, and remains so for ten minutes.
    """
    until = time.monotonic() + 600
    while (available := psutil.virtual_memory().available // MIB) < free:
        if time.monotonic() > until:
            raise RuntimeError(
                f"got {available} MiB of memory available; expected {free}; end other programs."
            )
        time.sleep(1)
    return torch.ones(available - free, MIB, dtype=torch.uint8)
