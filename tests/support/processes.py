"""Start a script in several processes that find each other, as ``accelerate launch`` does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys


def run_together(script: str, count: int, *arguments: str) -> list[subprocess.CompletedProcess[str]]:
    """Run a script's text once in each process, and return how each ended, by rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **shared,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "OMP_NUM_THREADS": "1",
                "ACCELERATE_USE_CPU": "true",
            },
        )
        for rank in range(count)
    ]
    ended = [(process, process.communicate()) for process in started]
    return [subprocess.CompletedProcess(process.args, process.returncode, *texts) for process, texts in ended]
