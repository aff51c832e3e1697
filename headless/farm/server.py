"""One ComfyUI server, asked by its HTTP API: whether it has the node, and for the pictures of a prompt.

What a server can't do, it is left out for, and the words say which and why. What its model refuses, others' would too.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..crew import WorkerGoneError
from .split import FIRST, NODE, SAVED, FarmJob

_PNG = b"\x89PNG\r\n\x1a\n"
_PAUSES = 0.2, 2.0  # seconds between two looks at a prompt: the first, and the longest


class JobRefusedError(RuntimeError):
    """A prompt failed while it ran, as it would on any server."""


@dataclass(frozen=True)
class Patience:
    """How long a server may take, in seconds: to answer a request, and to finish a job."""

    answer: float = 30.0
    job: float = 3600.0


class ServerWorker:
    """What an actor is: it owns a server, and gives it one prompt at a time."""

    def __init__(self, url: str, patience: Patience) -> None:
        self._server = Server(url, patience)

    def is_ready(self) -> tuple[None, float]:
        """Answer if the server has the node."""
        self._server.check()
        return None, 0.0

    def do(self, job: FarmJob, prompt_id: str) -> tuple[list[bytes], float]:
        """Return the PNG files of a job, and the seconds it took."""
        begin = time.perf_counter()
        return self._server.run(job, prompt_id), time.perf_counter() - begin


class Server:
    """A ComfyUI server."""

    def __init__(self, url: str, patience: Patience) -> None:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry

        self._url, self._patience = url, patience
        self._http = requests.Session()
        # Requests that change nothing are sent again when a connection breaks.
        again = HTTPAdapter(max_retries=Retry(3, read=1, backoff_factor=0.5))
        self._http.mount("http://", again)
        self._http.mount("https://", again)

    def check(self) -> None:
        """Check that it is a ComfyUI with the node.

        Raises:
            WorkerGoneError: it is none.
        """
        told = self._get(f"/object_info/{NODE}")
        if not isinstance(told, dict):
            raise _nonsense(told, "a node's description, as ComfyUI gives it")
        inputs = (told.get(NODE) or {}).get("input") or {}
        if not any(FIRST in part for part in inputs.values()):
            what = f"a Keyframed Video without {FIRST}" if inputs else "a ComfyUI without Keyframed Video"
            raise WorkerGoneError(
                f"got {what}; expected Frameloom of this version; install or update it there and restart."
            )

    def run(self, job: FarmJob, prompt_id: str) -> list[bytes]:
        """Return the PNG files that a job's prompt makes.

        Raises:
            WorkerGoneError: this server does not do it.
            JobRefusedError: the prompt failed while it ran.
        """
        try:
            self._queue(job, prompt_id)
            pictures = [self._fetch(file) for file in _files(self._await(job, prompt_id))]
        except WorkerGoneError:
            self.cancel(prompt_id)
            raise
        check_pictures(job, pictures)
        return pictures

    def cancel(self, prompt_id: str) -> None:
        """Take a prompt out of its queue, or stop it if it runs; other people's go on. A dead server is let be."""
        import requests

        with contextlib.suppress(requests.RequestException):
            for path, body in (("/queue", {"delete": [prompt_id]}), ("/interrupt", {"prompt_id": prompt_id})):
                self._http.post(self._url + path, json=body, timeout=5)

    def _queue(self, job: FarmJob, prompt_id: str) -> None:
        body = {"prompt": job.prompt, "prompt_id": prompt_id}
        answer = self._ask("POST", "/prompt", json=body)
        told = _json_of(answer)
        if answer.status_code == 200 and isinstance(told, dict) and told.get("prompt_id") == prompt_id:
            return
        if isinstance(told, dict) and (told.get("node_errors") or told.get("error")):
            raise WorkerGoneError(
                f"it refuses {job}: {_say_errors(told)}; expected a server with the node packs, model files and "
                "pictures that the graph names; put them there."
            )
        raise _nonsense(told, f"the number of the queued prompt (status {answer.status_code})")

    def _await(self, job: FarmJob, prompt_id: str) -> Any:
        """Return a prompt's entry in the history, once it is there."""
        until = time.monotonic() + self._patience.job
        pause, longest = _PAUSES
        while True:
            # In this order: a prompt goes from the queue to the history at once.
            queue = self._get("/queue")
            entry = self._get(f"/history/{prompt_id}")
            if not isinstance(queue, dict) or not isinstance(entry, dict):
                raise _nonsense([queue, entry], "its queue and its history")
            if prompt_id in entry:
                return _succeeded(entry[prompt_id])
            there = [each for part in queue.values() if isinstance(part, list) for each in part]
            if not any(isinstance(each, list) and prompt_id in each[1:2] for each in there):
                raise WorkerGoneError(
                    f"it does not know of {job} any more; expected it in its queue or history; look whether it was "
                    "restarted, or its queue cleared."
                )
            if time.monotonic() > until:
                raise WorkerGoneError(
                    f"it was not done with {job} after {self._patience.job:g} s; expected it sooner; look whether it "
                    "hangs or has others' prompts in its queue, or give more time with --timeout."
                )
            time.sleep(pause)
            pause = min(pause * 1.5, longest)

    def _fetch(self, file: Any) -> bytes:
        answer = self._ask("GET", "/view", params=file)
        if answer.status_code != 200 or not answer.content.startswith(_PNG):
            raise WorkerGoneError(
                f"got status {answer.status_code} and {answer.content[:40]!r} for a picture that it made; expected a "
                "PNG file; look at its log."
            )
        return answer.content

    def _get(self, path: str) -> Any:
        answer = self._ask("GET", path)
        if answer.status_code != 200:
            raise _nonsense(answer.text, f"status 200 of {path}, not {answer.status_code}")
        return _json_of(answer)

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        import requests

        try:
            return self._http.request(method, self._url + path, timeout=self._patience.answer, **more)
        except requests.RequestException as error:
            raise WorkerGoneError(
                f"it does not answer ({type(error).__name__}); expected a running ComfyUI within "
                f"{self._patience.answer:g} s; look whether it runs, and whether this machine may reach it."
            ) from error


def check_pictures(job: FarmJob, pictures: Sequence[bytes]) -> None:
    """Check that pictures are those of a job: as many as must be, of one size, and between its keyframes.

    Raises:
        WorkerGoneError: they are not.
    """
    sizes, hashes = [], []
    for data in pictures:
        size, pixels = read_picture(data)
        sizes.append(size)
        hashes.append(pixels)
    if len(set(sizes)) > 1 or (len(pictures) < 2 and job.index is not None):
        raise _nonsense([*set(sizes)], f"two or more pictures of one size for {job}")
    if job.frames not in (None, len(pictures)):
        raise _nonsense(f"{len(pictures)} pictures", f"{job.frames} for {job}")
    if job.ends and (hashes[0], hashes[-1]) != job.ends:
        raise WorkerGoneError(
            f"the ends of {job} are not the keyframes that another server showed; expected the same pictures on all; "
            "look for files of one name and other content in its input folder."
        )


def read_picture(data: bytes) -> tuple[tuple[int, int], str]:
    """Return a PNG's width and height, and what stands for its pixels.

    Raises:
        WorkerGoneError: it can't be read.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            pixels = picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _nonsense(error, "a PNG file that is whole") from error
    return pixels.size, hashlib.sha256(repr(pixels.size).encode() + pixels.tobytes()).hexdigest()


def _succeeded(entry: Any) -> Any:
    """Return what a finished prompt made, by its nodes."""
    status = (entry.get("status") or {}) if isinstance(entry, dict) else {}
    told = {
        each[0]: each[1] for each in status.get("messages", []) if isinstance(each, list) and len(each) == 2
    }
    if "execution_interrupted" in told:
        raise WorkerGoneError(
            "somebody cancelled the prompt there; expected it to run; start again to use it."
        )
    if "execution_error" in told:
        error = told["execution_error"]
        said = " ".join(str(error.get("exception_message")).split())
        kind = str(error.get("exception_type"))
        if "OutOfMemory" in kind:  # another server may have more
            raise WorkerGoneError(f"it has too little memory: {said}; expected enough for one clip.")
        raise JobRefusedError(f"node {error.get('node_id')} ({error.get('node_type')}): {kind}: {said}")
    if status.get("status_str") != "success" or not isinstance(entry.get("outputs"), dict):
        raise _nonsense(entry, "a prompt that succeeded, or an error")
    return entry["outputs"]


def _files(outputs: dict[str, Any]) -> list[dict[str, str]]:
    shown = outputs.get(SAVED)
    files = shown.get("images") if isinstance(shown, dict) else None
    if not isinstance(files, list) or not all(
        isinstance(each, dict) and "filename" in each for each in files
    ):
        raise _nonsense(outputs, "the names of the pictures")
    return files


def _json_of(answer: Any) -> Any:
    try:
        return answer.json()
    except ValueError:
        return answer.text


def _say_errors(told: dict[str, Any]) -> str:
    """Return what ComfyUI says of a prompt, by node."""
    said = [
        f"node {name} ({node.get('class_type')}): {error.get('message')}: {error.get('details')}"
        for name, node in (told.get("node_errors") or {}).items()
        for error in node.get("errors", [])
    ]
    if said:
        return " ".join("; ".join(said).split())
    error = told.get("error")
    parts = [error.get("message"), error.get("details")] if isinstance(error, dict) else [error]
    return " ".join(": ".join(str(each) for each in parts if each).split())


def _nonsense(got: Any, expected: str) -> WorkerGoneError:
    return WorkerGoneError(
        f"got {' '.join(str(got).split())[:200]!r}; expected {expected}; look whether a ComfyUI of 0.16 or later "
        "answers at this address."
    )
