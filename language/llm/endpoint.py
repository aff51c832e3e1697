"""A language model behind an OpenAI-compatible server, by its profile.

This file decides what is asked, how often, and how far the demand for structured output is lowered. The key is read
when a question is asked, goes to the profile's own address alone, and is removed from every error and answer.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any, NoReturn, TypeVar
from urllib.parse import urljoin, urlsplit

from ...models.errors import LanguageModelError
from ...models.files.json_text import as_array, as_object, read_json
from ..answers.json_text import write_json
from .answer import Answer
from .dialect import Dialect
from .exchange import Clock, DisconnectedError, OutOfTimeError, Reply, TooLongError, exchange
from .key import Key, read_key
from .model import Message, Watch
from .profiles import FILE, Profile

logger = logging.getLogger(__name__)

AGAIN = (408, 429)  # HTTP status of a server that is busy, beside 5xx
UNSUITED = (400, 404, 422)  # HTTP status of a server that does not know a setting
BROKEN = (500, 501)  # HTTP status of a server that fails at a schema each time
# Words of a 503.
LOADING = re.compile(r"(?i)\b(loading|being loaded|warming up|initiali[sz]ing|starting|not ready)\b")
LOOK_AGAIN = 1.0  # seconds between two looks at whether a model is loaded
BACKOFF = 0.5  # seconds before the second attempt; twice as long before each further one
MAX_BYTES = 65_536  # of an error's body that are read
READING = 2  # version of the reading of answers; version 1 could take a draft among thoughts for the answer
SHOWN = 12  # models that an error names at most

_dialects: dict[tuple[str, str], Dialect] = {}  # dialects that worked, by profile and model

T = TypeVar("T")


class _AgainError(Exception):
    """An attempt failed, but the next one may succeed.

    Attributes:
        wait: seconds that the server asks for.
        status: HTTP status; 0 where no answer came.
        loading: True if the server says that it still loads its model.
    """

    def __init__(self, what: str, wait: float = 0.0, status: int = 0, loading: bool = False) -> None:
        super().__init__(what)
        self.wait, self.status, self.loading = wait, status, loading


class _UnsuitedError(LanguageModelError):
    """The server does not know a part of the question. ``words`` is its reply."""

    words = ""


class _BrokenError(LanguageModelError):
    """The server failed each time."""


@dataclass(frozen=True)
class Endpoint:
    """A language model of a server, as ``language.llm.model.LanguageModel``.

    Attributes:
        label: the profile's name.
        profile: the server, its model and the name of its key's environment variable.
        timeout: seconds for an answer altogether, attempts and waits between them included.
        attempts: number of tries of one request, the first included, while the server is busy or can't be
            reached.
        max_tokens: longest answer; 0: the server's own limit.
        temperature: temperature of sampling.
    """

    label: str
    profile: Profile
    timeout: float = 120.0
    attempts: int = 3
    max_tokens: int = 4096
    temperature: float = 0.7

    @property
    def identity(self) -> str:
        """Text that differs between models, for a store of answers. A profile without a model stays the same text."""
        address = sha256(self.profile.base_url.encode()).hexdigest()
        given = [self.label, address, self.profile.model, self.temperature]
        return json.dumps([READING, *given, *([self.profile.omit] if self.profile.omit else [])])

    def complete(
        self, messages: Sequence[Message], schema: Mapping[str, Any], *, seed: int, watch: Watch
    ) -> str:
        """Return the model's answer, as it came, but without the key; see ``LanguageModel.complete``.

        ``watch`` is called at least every half second.
        """
        key = read_key(self.profile.api_key_env, self.label)
        try:
            errand = _Errand(self, key, Clock(self.timeout, watch), messages, schema, seed)
            return key.scrub(errand.answer())
        except LanguageModelError as error:
            why = key.scrub(str(error))
        # Raised here, so that no other exception with the key is attached to it.
        raise LanguageModelError(why)


class _Errand:
    """One question to one server."""

    def __init__(
        self,
        endpoint: Endpoint,
        key: Key,
        clock: Clock,
        messages: Sequence[Message],
        schema: Mapping[str, Any],
        seed: int,
    ) -> None:
        self._of, self._key, self._clock, self._schema = endpoint, key, clock, schema
        self._base = endpoint.profile.base_url
        self._turns = [{"role": message.role, "content": message.text} for message in messages]
        self._settings: dict[str, Any] = {
            "stream": True,
            "temperature": endpoint.temperature,
            "seed": seed % 2**31,
            "max_tokens": endpoint.max_tokens or None,
        }

    def answer(self) -> str:
        """Return the answer in the strictest dialect that the server accepts."""
        model = self._of.profile.model or self._only_model()
        known = self._of.profile.model_dump_json(), model
        first = _dialects.get(known) or Dialect.of(self._of.profile)
        refusal: LanguageModelError | None = None
        for level in first.below():
            # After a failure at a schema, ask for less only once: the server may be broken.
            attempts = 1 if isinstance(refusal, _BrokenError) else 0
            if level.level == "ollama format" and level != first and not self._is_ollama():
                continue
            try:
                text, taken = self._ask(level, attempts, model)
            except (_UnsuitedError, _BrokenError) as error:
                refusal = refusal if isinstance(refusal, _BrokenError) else error
                continue
            if taken.level != first.level:
                logger.warning(
                    "%s: its server takes no %s; it is asked with %s",
                    *(self._of.label, first.level, taken.level),
                )
            _dialects[known] = taken
            return text
        raise LanguageModelError(str(refusal))

    def _ask(self, dialect: Dialect, attempts: int, model: str) -> tuple[str, Dialect]:
        """Return the answer, and the dialect after the server's refusals."""
        changes: list[str] = []
        while True:
            own = dialect.level == "ollama format"
            write = dialect.ollama_question if own else dialect.question
            question = write(model, self._turns, self._schema, **self._settings)
            try:
                path = "/api/chat" if own else "/chat/completions"
                text = self._request(path, self._read, question, root=own, attempts=attempts)
            except _UnsuitedError as error:
                change = None if own else dialect.without(question, error.words)
                if change is None:
                    raise
                dialect = change[0]
                changes.append(change[1])
                continue
            if changes:
                logger.warning("%s: its server is asked with %s", self._of.label, " and ".join(changes))
            return text, dialect

    def _read(self, reply: Reply) -> str:
        answer = Answer(self._of.label, self._key)
        for piece in reply.pieces:
            answer.add(piece)
            self._clock.characters = answer.characters
            if answer.done:
                break
        return answer.text(self._of.max_tokens)

    def _only_model(self) -> str:
        """Return the name of the server's model, if it has one."""
        listed = as_object(self._request("/models", _read_json)) or {}
        found = [(as_object(each) or {}).get("id") for each in as_array(listed.get("data")) or []]
        names = [name for name in found if isinstance(name, str)]
        if len(names) == 1:
            return names[0]
        has = ", ".join(self._key.excerpt(name) for name in names[:SHOWN]) + (
            ", ..." if len(names) > SHOWN else ""
        )
        self._fail(
            f"the profile names no model, and its server has {len(names)}" + (f": {has}" if names else ""),
            "exactly one",
            f"write a profile {self._of.label!r} with a model into {FILE}" if names else "load one there",
        )

    def _is_ollama(self) -> bool:
        try:
            found = self._request("/api/version", _read_json, root=True, attempts=1)
        except LanguageModelError:
            return False
        return set(as_object(found) or {}) == {"version"}

    def _request(
        self,
        path: str,
        read: Callable[[Reply], T],
        question: Mapping[str, Any] | None = None,
        *,
        root: bool = False,
        attempts: int = 0,
    ) -> T:
        """Send a request, read the reply, and try again while that may help.

        Args:
            path: path below the base URL.
            read: function that reads an answer of status 200.
            question: body to post; None: a GET request.
            root: True if the base URL's ``/v1`` is left out before the path.
            attempts: number of tries; 0: the endpoint's own.
        """
        url = (self._base.removesuffix("/v1") if root else self._base) + path
        attempts = attempts or self._of.attempts
        attempt, looks = 1, 0
        while True:
            try:
                return self._attempt(url, read, question)
            except _AgainError as error:
                fault, wait = error, max(error.wait, BACKOFF * 2 ** (attempt - 1))
            except OutOfTimeError:
                self._fail_late()
            if fault.loading:
                looks += 1
                self._wait_for_model(fault, looks)
                continue
            if attempt >= attempts or fault.status == 501:
                break
            attempt += 1
            self._sleep(wait, str(fault))
        times = f"{attempt} times" if attempt > 1 else "once"
        self._fail(
            f"{fault}, {times}",
            "a server that answers",
            f"start it, wait, or correct base_url in {FILE}",
            _BrokenError if fault.status in BROKEN else LanguageModelError,
        )

    def _wait_for_model(self, fault: _AgainError, looks: int) -> None:
        """Wait for a server that loads its model. Look 1, 2, 4, 8, ... writes a line to the log."""
        wait = max(fault.wait, LOOK_AGAIN)
        if wait >= self._clock.left:
            self._fail(
                f"{fault}, and its model is not loaded within timeout={self._of.timeout:g}",
                "a model that is loaded",
                "raise timeout, or load it before",
            )
        if looks & (looks - 1) == 0:
            logger.info(
                "%s: its server loads a model; %.0f seconds are left", self._of.label, self._clock.left
            )
        self._sleep(wait, str(fault))

    def _attempt(self, url: str, read: Callable[[Reply], T], question: Mapping[str, Any] | None) -> T:
        headers = {
            "Accept": "text/event-stream, application/json",
            "User-Agent": "frameloom",
            **self._key.headers,
        }
        body = None if question is None else write_json(question).encode()
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            with exchange("GET" if body is None else "POST", url, headers, body, self._clock) as reply:
                self._check(url, reply)
                return read(reply)
        except DisconnectedError as error:
            why = str(error)
        except TooLongError:
            self._fail("the answer does not end", "one of a megabyte at most", "look at the server's log")
        raise _AgainError(f"no answer from {self._base} ({why})")

    def _check(self, url: str, reply: Reply) -> None:
        """Raise an error if the reply is not an answer."""
        status = reply.status
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            place = _without_secrets(url, self._key.scrub(reply.headers.get("location", "")))
            self._fail(
                f"the server sends us on to {self._key.excerpt(place)} ({status})",
                "an answer from the profile's own address, since a key goes nowhere else",
                f"if you trust that address, write it as base_url into {FILE}",
            )
        said = reply.read(MAX_BYTES)
        what = f"the server answered {status}: {self._key.excerpt(said)}"
        if status in AGAIN or status >= 500:
            loading = status == 503 and LOADING.search(said.decode("utf-8", "replace")) is not None
            raise _AgainError(what, _seconds(reply.headers.get("retry-after", "")), status, loading)
        remedy = f"correct base_url and model in {FILE}"
        if status in UNSUITED:
            unsuited = _UnsuitedError(
                self._words(what, "200", remedy if status == 404 else "do what it says")
            )
            unsuited.words = said.decode("utf-8", "replace")
            raise unsuited
        if status in (401, 403):
            variable = self._of.profile.api_key_env
            remedy = f"check the key in {variable}" if variable else f"name its key as api_key_env in {FILE}"
        self._fail(what, "200", remedy)

    def _sleep(self, seconds: float, what: str) -> None:
        if seconds > self._clock.left:
            self._fail(
                f"{what}, and is to be asked again in {seconds:.0f} seconds",
                f"an answer within timeout={self._of.timeout:g}",
                "wait, or raise timeout",
            )
        try:
            self._clock.sleep(seconds)
        except OutOfTimeError:
            self._fail_late()

    def _fail_late(self) -> NoReturn:
        self._fail(
            f"no whole answer within timeout={self._of.timeout:g} seconds ({self._clock.characters} characters came)",
            "one",
            "raise timeout, ask for less, or take a faster model",
        )

    def _fail(
        self, what: str, expected: str, remedy: str, kind: type[LanguageModelError] = LanguageModelError
    ) -> NoReturn:
        raise kind(self._words(what, expected, remedy))

    def _words(self, what: str, expected: str, remedy: str) -> str:
        return f"{self._of.label}: {what}; expected {expected}; {remedy}."


def _read_json(reply: Reply) -> Any:
    try:
        return read_json(b"".join(reply.pieces))
    except ValueError:
        return None


def _without_secrets(url: str, location: str) -> str:
    """Return the target of a redirect, without user name, password, query and fragment."""
    try:
        parts = urlsplit(urljoin(url, location))
    except ValueError:
        return "what is no address"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _seconds(retry_after: str) -> float:
    """Return the seconds that a Retry-After header asks for; 0 if it can't be read.

    Examples:
        >>> _seconds("7"), _seconds("soon"), _seconds("Thu, 01 Jan 1970 00:00:00 GMT")
        (7.0, 0.0, 0.0)
    """
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            then = parsedate_to_datetime(retry_after)
        except (ValueError, TypeError):
            return 0.0
        seconds = (
            then.replace(tzinfo=then.tzinfo or timezone.utc) - datetime.now(timezone.utc)
        ).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
