"""What a run left, judged: its words, its exit code and its files."""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
import safetensors.torch
import torch
from av.error import FFmpegError
from frameloom.tools.fuzz.case import ESCAPED, Outcome
from PIL import Image, ImageSequence
from safetensors import SafetensorError

ROOT = Path(__file__).resolve().parents[2]
FINE, REFUSED, FAILED, STOPPED = "ran", "refused before it ran", "failed in words", "stopped at the limit"
GOOD = (FINE, REFUSED, FAILED, STOPPED)
INTERNAL, HANG, CRASH = "internal exception", "hang", "crash"
WRONG, HALF = "NaN or empty result", "half-written file"
BAD = (INTERNAL, HANG, CRASH, WRONG, HALF)
# Errors that are raised for want of care, whoever raises them.
NEVER_WORDED = {
    each.__name__
    for each in (KeyError, IndexError, AttributeError, AssertionError, RecursionError, UnboundLocalError)
}
FRAME = re.compile(r'^\s*File "(.+)", line (\d+), in (.+)$', re.MULTILINE)
ERROR = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)
DARKEST = 3  # of 255: what a codec makes of black


@dataclass(frozen=True)
class Verdict:
    """``kind`` is one of GOOD or BAD, ``where`` groups equal faults, ``said`` is the last line that was said."""

    kind: str
    where: str = ""
    said: str = ""


def judge(folder: Path, outcome: Outcome) -> Verdict:
    """Judge a run by its folder and how it ended."""
    words = (folder / "err.txt").read_text("utf-8", "replace")
    said = next((line for line in reversed(words.splitlines()) if line.strip()), "")[:300]
    if outcome.state == "killed":
        return Verdict(HANG, _last_own_frame(words), said)
    if outcome.code < 0:
        return Verdict(CRASH, f"signal {-outcome.code}", said)
    if outcome.code == ESCAPED or (outcome.code and "Traceback (most recent" in words):
        fault = _raised_raw(words, outcome.code)
        if fault:
            return Verdict(INTERNAL, fault, said)
    broken = next(_broken_files(folder), None)
    if broken:
        return Verdict(HALF, broken, said)
    if outcome.code and not said:
        return Verdict(INTERNAL, f"exit code {outcome.code} without a word")
    if outcome.state == "stopped":
        return Verdict(STOPPED, "", said)
    if outcome.code:
        return Verdict(REFUSED if outcome.code == 2 else FAILED, "", said)
    wrong = next(_wrong_results(folder, words), None)
    return Verdict(WRONG, wrong, said) if wrong else Verdict(FINE)


def _raised_raw(words: str, code: int) -> str:
    """Return error and place of an exception that is not one of ours, said by a ``raise`` of our code."""
    last = words[words.rindex("Traceback (most recent") :]
    frames = list(FRAME.finditer(last))
    names = (
        [name for name in ERROR.findall(last[frames[-1].end() :]) if name[0].isupper() or "." in name]
        if frames
        else []
    )
    name = names[0].rpartition(".")[2] if names else "an error"
    file, line, _ = frames[-1].groups() if frames else ("", "0", "")
    is_ours = ROOT in Path(file).parents and ".venv" not in file
    if code != ESCAPED and is_ours and name not in NEVER_WORDED and int(line) in _raises(file):
        return ""
    return f"{name} at {_last_own_frame(last)}{' (escaped)' if code == ESCAPED else ''}"


@cache
def _raises(file: str) -> frozenset[int]:
    """Return the lines of a file's ``raise`` statements that name an exception."""
    tree = ast.parse("".join(linecache.getlines(file)))
    return frozenset(
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and node.exc is not None
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    )


def _last_own_frame(words: str) -> str:
    own = [
        (str(Path(file).relative_to(ROOT)), function)
        for file, _, function in FRAME.findall(words)
        if ROOT in Path(file).parents and ".venv" not in file and "fuzz" not in file
    ]
    return ":".join(own[-1]) if own else "no frame of ours"


def _broken_files(folder: Path) -> Iterator[str]:
    """Yield what is not whole: parts of files anywhere, and results that can't be read."""
    for path in (each for each in folder.rglob("*") if each.is_file()):
        if path.name.endswith(".part") or path.name.startswith(".tmp"):
            yield f"a part of a file: {path.suffixes[0]}"
    for path in _results(folder):
        try:
            _contents(path)
        except (OSError, ValueError, FFmpegError, SafetensorError) as error:
            yield f"a {path.suffix} that can't be read: {type(error).__name__}"


def _wrong_results(folder: Path, words: str) -> Iterator[str]:
    """Yield what a run passed on that is no result."""
    if "invalid value encountered" in words:
        yield "NaN became a picture"
    for path in _results(folder):
        contents = _contents(path)
        if not contents or any(each.numel() == 0 for each in contents):
            yield f"an empty {path.suffix}"
        elif path.suffix in (".safetensors", ".latent"):
            if not all(bool(each.isfinite().all()) for each in contents if each.is_floating_point()):
                yield f"NaN in a {path.suffix}"
        elif any(int(each.max()) <= DARKEST for each in contents):
            yield f"a black picture in a {path.suffix}"


def _results(folder: Path) -> Iterator[Path]:
    known = (".png", ".webp", ".mp4", ".mkv", ".safetensors", ".latent")
    return (path for path in sorted((folder / "output").rglob("*")) if path.suffix in known)


def _contents(path: Path) -> list[torch.Tensor]:
    """Return a result's pictures, or its tensors."""
    if path.suffix in (".safetensors", ".latent"):
        return list(safetensors.torch.load_file(path).values())
    if path.suffix in (".mp4", ".mkv"):
        with av.open(str(path)) as video:
            frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    else:
        with Image.open(path) as picture:
            frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)]
    return [torch.from_numpy(np.array(frame)) for frame in frames]
