"""One case: the command, run in a fork of this process, which has imported everything already."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from frameloom.headless import port
from frameloom.headless.__main__ import main
from frameloom.host import api
from frameloom.host.bundled import BUNDLED

ESCAPED = 70  # the exit code of a command that an exception has left
MEMORY = 12 * 2**30


@dataclass(frozen=True)
class Case:
    """What to run.

    Attributes:
        name: ``graph-17``, which makes it again.
        what: description of the damage, in words.
        command: arguments of ``frameloom``, less the folders.
        bundled: names of files of the pack -> what lies there instead.
    """

    name: str
    what: str
    command: list[str]
    bundled: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``code`` is negative for a signal, ``state`` is done, stopped or killed."""

    code: int
    state: str
    seconds: float


class Run:
    """A case on its way.

    Args:
        case: case to run.
        folder: folder of its own, for everything that it reads and writes.
    """

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder = case, folder
        self._since, self._state = time.monotonic(), "done"
        self._process = os.fork()
        if self._process == 0:
            _run_here(case, folder)

    def poll(self, limit: float, grace: float) -> Outcome | None:
        """Return how it ended, or None; stop it after ``limit`` seconds as Ctrl-C does, and kill it after ``grace``."""
        seconds = time.monotonic() - self._since
        process, status = os.waitpid(self._process, os.WNOHANG)
        if process:
            return Outcome(os.waitstatus_to_exitcode(status), self._state, seconds)
        if seconds > limit and self._state == "done":
            self._state = "stopped"
            os.kill(self._process, signal.SIGINT)
        if seconds > limit + grace and self._state == "stopped":
            self._state = "killed"
            os.kill(self._process, signal.SIGKILL)
        return None


def folders_of(folder: Path) -> dict[str, Path]:
    """Return a case's folders by the command's options."""
    return {name: folder / name for name in ("input", "output", "models")}


def _run_here(case: Case, folder: Path) -> None:
    """Run the command in this process, and end it."""
    code = ESCAPED
    try:
        code = _command(case, folder)
    except SystemExit as bad_usage:
        code = bad_usage.code if isinstance(bad_usage.code, int) else ESCAPED
    except KeyboardInterrupt:
        code = 1
    except BaseException:  # noqa: BLE001 - it is what the fuzz looks for
        traceback.print_exc()
    finally:
        for stream in (1, 2):
            os.fsync(stream)
        os._exit(code)


def _command(case: Case, folder: Path) -> int:
    for stream, name in ((1, "out.txt"), (2, "err.txt")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["HOME"] = str(folder / "home")
    os.chdir(folder)
    api._selected.clear()  # a command is a process of its own; this one's parent had a host
    for names in BUNDLED.values():
        names.update({name: case.bundled[name] for name in names.keys() & case.bundled.keys()})
    port.DEMO_MODEL = case.bundled.get("model", port.DEMO_MODEL)
    port.DEMO_TOKENIZER = case.bundled.get("tokenizer", port.DEMO_TOKENIZER)
    kind, *rest = case.command
    options = [f"--{name}={path}" for name, path in folders_of(folder).items()]
    shown = options if kind == "run" else [each for each in options if each.startswith("--models")]
    code = main([kind, *rest, *shown, "--device=cpu", "--traceback"])
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code
