"""A language model behind an OpenAI-compatible server, by its profile.

Owns what is asked for, how often, and how far structured output steps down. The key is read when a question is asked,
goes to the profile's own address, and is taken out of every error and answer.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any, Literal, NoReturn, TypeVar, get_args
from urllib.parse import urljoin, urlsplit

from ..models.errors import LanguageModelError
from .answer import Answer
from .exchange import Clock, DisconnectedError, OutOfTimeError, Reply, TooLongError, exchange
from .key import Key, read_key
from .model import Message, Watch
from .profiles import FILE, Profile

logger = logging.getLogger(__name__)

# How an answer is held to its schema: the server's grammar, Ollama's own, any JSON, or nothing but the prompt.
Level = Literal["json_schema", "ollama format", "json_object", "no format"]
LEVELS: tuple[Level, ...] = get_args(Level)
AGAIN = (408, 429)  # HTTP status, beside 5xx, of what may work a little later
UNSUITED = (400, 422)  # of what a server may not know
BACKOFF = 0.5  # seconds before the second attempt; twice as long before each further one
MAX_BYTES = 65_536  # of an error's body
SHOWN = 12  # models that an error names

_levels: dict[
    tuple[str, str], Level
] = {}  # that a server took, by base_url and model, while this process runs

T = TypeVar("T")


class _AgainError(Exception):
    """An attempt failed in a way that may pass; ``wait``: seconds that the server asks for."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.wait = wait


class _UnsuitedError(LanguageModelError):
    """The server does not know something of what it was asked."""


@dataclass(frozen=True)
class Endpoint:
    """A language model of a server, as ``language.model.LanguageModel``.

    Attributes:
        label: the profile's name.
        profile: the server, its model and the name of its key's environment variable.
        timeout: seconds for an answer altogether, attempts and waits between them included.
        attempts: at one request, the first included, while the server is busy or can't be reached.
        max_tokens: longest answer; 0: the server's own limit.
        temperature: of sampling.
    """

    label: str
    profile: Profile
    timeout: float = 120.0
    attempts: int = 3
    max_tokens: int = 4096
    temperature: float = 0.7

    @property
    def identity(self) -> str:
        """What tells its answers from another model's, for a cache. A server's only model is not told from its next."""
        address = sha256(self.profile.base_url.encode()).hexdigest()
        return json.dumps([self.label, address, self.profile.model, self.temperature])

    def complete(
        self, messages: Sequence[Message], schema: Mapping[str, Any], *, seed: int, watch: Watch
    ) -> str:
        """Return the model's answer, as it came, but without the key.

        Args:
            messages: the conversation.
            schema: JSON schema of the answer; enforced as far as the server takes it.
            seed: of sampling.
            watch: called with the number of characters at least every half second; raises what stops the work.

        Raises:
            LanguageModelError: there is no answer; says why and what to do, and holds no key.
        """
        key = read_key(self.profile.api_key_env, self.label)
        try:
            return key.scrub(_Errand(self, key, Clock(self.timeout, watch)).answer(messages, schema, seed))
        except LanguageModelError as error:
            why = key.scrub(str(error))
        raise LanguageModelError(why)  # here, where no other exception hangs on to it


class _Errand:
    """One question to one server."""

    def __init__(self, endpoint: Endpoint, key: Key, clock: Clock) -> None:
        self._of, self._key, self._clock = endpoint, key, clock
        self._base = endpoint.profile.base_url

    def answer(self, messages: Sequence[Message], schema: Mapping[str, Any], seed: int) -> str:
        """Return the answer at the highest level that the server takes."""
        model = self._of.profile.model or self._only_model()
        known = self._base, model
        turns = [{"role": message.role, "content": message.text} for message in messages]
        start, refusal = _levels.get(known, LEVELS[0]), ""
        for level in LEVELS[LEVELS.index(start) :]:
            if level == "ollama format" and level != start and not self._is_ollama():
                continue
            try:
                text = self._ask(level, {"model": model, "messages": turns, "stream": True}, schema, seed)
            except _UnsuitedError as error:
                refusal = str(error)
                continue
            if level != start:
                logger.warning(
                    "%s: its server takes no %s; it is asked with %s", self._of.label, start, level
                )
            _levels[known] = level
            return text
        raise LanguageModelError(refusal)

    def _ask(self, level: Level, question: dict[str, Any], schema: Mapping[str, Any], seed: int) -> str:
        of, seed = self._of, seed % 2**31
        if level == "ollama format":
            options = {"temperature": of.temperature, "seed": seed, "num_predict": of.max_tokens or -1}
            return self._request(
                "/api/chat", self._read, question | {"format": schema, "options": options}, root=True
            )
        question |= {"temperature": of.temperature, "seed": seed}
        if of.max_tokens:
            question[_limit_name(self._base)] = of.max_tokens
        if level == "json_schema":
            form = {"name": "answer", "strict": True, "schema": schema}
            question["response_format"] = {"type": level, "json_schema": form}
        elif level == "json_object":
            question["response_format"] = {"type": level}
        return self._request("/chat/completions", self._read, question)

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
        listed = self._request("/models", _read_json)
        entries = listed.get("data") if isinstance(listed, dict) else None
        found = (
            [each.get("id") for each in entries or [] if isinstance(each, dict)]
            if isinstance(entries, list)
            else []
        )
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
        return isinstance(found, dict) and set(found) == {"version"}

    def _request(
        self,
        path: str,
        read: Callable[[Reply], T],
        question: Mapping[str, Any] | None = None,
        *,
        root: bool = False,
        attempts: int = 0,
    ) -> T:
        """Send a request and read what comes, again while that may help.

        Args:
            path: below the base URL.
            read: what to make of an answer of status 200.
            question: to post; None: get.
            root: whether the path is below what comes before ``/v1``.
            attempts: instead of the endpoint's.
        """
        url = (self._base.removesuffix("/v1") if root else self._base) + path
        attempts = attempts or self._of.attempts
        for attempt in range(1, attempts + 1):
            try:
                return self._attempt(url, read, question)
            except _AgainError as error:
                what, wait = str(error), max(error.wait, BACKOFF * 2 ** (attempt - 1))
            except OutOfTimeError:
                self._fail_late()
            if attempt < attempts:
                self._sleep(wait, what)
        times = f"{attempts} times" if attempts > 1 else "once"
        self._fail(
            f"{what}, {times}", "a server that answers", f"start it, wait, or correct base_url in {FILE}"
        )

    def _attempt(self, url: str, read: Callable[[Reply], T], question: Mapping[str, Any] | None) -> T:
        headers = {
            "Accept": "text/event-stream, application/json",
            "User-Agent": "frameloom",
            **self._key.headers,
        }
        body = None if question is None else json.dumps(question).encode()
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
        """Raise for what is not an answer."""
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
        what = f"the server answered {status}: {self._key.excerpt(reply.read(MAX_BYTES))}"
        if status in AGAIN or status >= 500:
            raise _AgainError(what, _seconds(reply.headers.get("retry-after", "")))
        if status in UNSUITED:
            self._fail(what, "200", "see to what it says", _UnsuitedError)
        remedy = f"correct base_url and model in {FILE}"
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
        raise kind(f"{self._of.label}: {what}; expected {expected}; {remedy}.")


def _read_json(reply: Reply) -> Any:
    try:
        return json.loads(b"".join(reply.pieces))
    except (ValueError, RecursionError):
        return None


def _limit_name(base_url: str) -> str:
    """Return what a server calls the longest answer: OpenAI's newer models refuse the name that others know."""
    return "max_completion_tokens" if urlsplit(base_url).hostname == "api.openai.com" else "max_tokens"


def _without_secrets(url: str, location: str) -> str:
    """Return where a redirect leads, without user name, password, query and fragment."""
    try:
        parts = urlsplit(urljoin(url, location))
    except ValueError:
        return "what is no address"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _seconds(retry_after: str) -> float:
    """Return how long a Retry-After header asks to wait; 0 where it says nothing of use.

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
