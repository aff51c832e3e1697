"""One HTTP request and its answer. It can be stopped at once, and never takes longer than its clock allows.

A thread waits for the network and hands over pieces. The caller looks at the clock between pieces, and closes the
connection at the end, whatever happened. Redirects, ``.netrc`` and cookies are not used.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread, current_thread
from typing import Any

THREAD = "frameloom-llm"  # name of every thread that talks to a server
POLL = 0.25  # seconds between two looks at the clock
CONNECT = 5.0  # seconds to connect, for each address of a server
CHUNK = 65_536  # bytes
MAX_BYTES = 16_000_000  # of a reply; streamed JSON takes about 50 bytes for each byte of text


class OutOfTimeError(Exception):
    """The clock ran out."""


class TooLongError(Exception):
    """More than ``MAX_BYTES`` came."""


class DisconnectedError(Exception):
    """The server could not be reached, or the connection was lost. The message says why."""


class Clock:
    """The time that an errand may take, and a callback that can stop it.

    Args:
        seconds: seconds from now until the end.
        watch: callback that gets ``characters`` between any two waits; it raises to stop the errand.
    """

    def __init__(self, seconds: float, watch: Callable[[int], None]) -> None:
        self._end = time.monotonic() + seconds
        self._watch = watch
        self.characters = 0

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._end - time.monotonic()

    def tick(self) -> None:
        """Call ``watch``. Raises OutOfTimeError when no time is left."""
        self._watch(self.characters)
        if self.left <= 0:
            raise OutOfTimeError

    def sleep(self, seconds: float) -> None:
        """Wait, and look at the clock meanwhile."""
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0:
            self.tick()
            time.sleep(max(0.0, min(rest, POLL, self.left)))
        self.tick()

    def take(self, inbox: SimpleQueue[Any]) -> Any:
        """Return the next item of an inbox, or raise it if it is an error; look at the clock meanwhile."""
        while True:
            self.tick()
            with suppress(Empty):
                item = inbox.get(timeout=max(0.0, min(POLL, self.left)))
                if isinstance(item, Exception):
                    raise item
                return item


@dataclass(frozen=True)
class Reply:
    """A reply whose head has come. Names of headers are in small letters; ``pieces`` yields the body as it comes."""

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]

    def read(self, most: int) -> bytes:
        """Return the body's first ``most`` bytes, or all of a shorter one."""
        body = b""
        for piece in self.pieces:
            body += piece
            if len(body) >= most:
                break
        return body[:most]


@contextmanager
def exchange(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, clock: Clock
) -> Generator[Reply]:
    """Send a request, and close the connection when the block ends.

    Args:
        method: HTTP method, GET or POST.
        url: address. http addresses are asked directly, https ones through the proxy that the environment
            names, if any.
        headers: headers of the request.
        body: JSON text; None: no body.
        clock: clock of the errand.

    Raises:
        OutOfTimeError, TooLongError, DisconnectedError: here, or while the reply's pieces are read.
    """
    line = _Line()
    inbox: SimpleQueue[Any] = SimpleQueue()
    request = (method, url, {**headers, "Accept-Encoding": "identity"}, body, clock.left)
    Thread(target=_talk, args=(line, inbox, *request), daemon=True, name=THREAD).start()
    try:
        status, head = clock.take(inbox)
        yield Reply(status, head, iter(lambda: clock.take(inbox), None))
    finally:
        line.hang_up()


class _Line:
    """A connection that another thread can close, even before it is open."""

    def __init__(self) -> None:
        self._lock, self._socket, self._cut = Lock(), None, False

    def hold(self, connected: Any) -> None:
        with self._lock:
            self._socket = connected
        if self._cut:
            self.hang_up()

    def hang_up(self) -> None:
        """Close both directions. A thread that waits for the socket wakes up."""
        with self._lock:
            self._cut = True
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)


def _talk(
    line: _Line,
    inbox: SimpleQueue[Any],
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    seconds: float,
) -> None:
    """Put into the inbox: status and headers, pieces of the body, then None or what went wrong."""
    import requests
    from urllib3.exceptions import HTTPError

    for name in ("urllib3.connection", "urllib3.connectionpool"):
        logging.getLogger(name).addFilter(_is_anothers)  # adding the same filter again changes nothing
    last: Exception | None = DisconnectedError("the connection broke")
    adapter = _adapter(line)
    try:
        request = requests.Request(method, url, headers=dict(headers), data=body).prepare()
        # Below requests' Session, which reads .netrc, and the body of a redirect to its end.
        with adapter.send(
            request,
            stream=True,
            timeout=(min(CONNECT, seconds), seconds),
            verify=os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True,
            proxies=requests.utils.get_environ_proxies(url) if url.startswith("https:") else {},
        ) as response:
            head = {name.lower(): value for name, value in response.headers.items()}
            inbox.put((response.status_code, head))
            last = _pour(response.raw.stream(CHUNK, decode_content=False), inbox)
    except (OSError, HTTPError, ValueError, AttributeError) as error:
        # The last two come from a connection that was closed.
        last = DisconnectedError(_reason(error))
    finally:
        inbox.put(last)
        adapter.close()


def _is_anothers(record: logging.LogRecord) -> bool:
    """Keep our threads out of urllib3's logs, which quote headers that they can't read, and so might quote a key."""
    del record
    return current_thread().name != THREAD


def _pour(pieces: Iterable[bytes], inbox: SimpleQueue[Any]) -> TooLongError | None:
    size = 0
    for piece in pieces:
        inbox.put(piece)
        size += len(piece)
        if size > MAX_BYTES:
            return TooLongError()
    return None


def _adapter(line: _Line) -> Any:
    """Return a transport for requests that gives every open socket to the line."""
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    def held(connection: Any, pool: Any) -> Any:
        class Held(connection):
            # At other levels, which a program may set for all connections, requests are printed.
            debuglevel = 0

            def connect(self) -> None:
                connection.connect(self)
                line.hold(self.sock)

        class Pool(pool):
            ConnectionCls = Held

        return Pool

    pools = {
        "http": held(HTTPConnection, HTTPConnectionPool),
        "https": held(HTTPSConnection, HTTPSConnectionPool),
    }

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            manager = super().proxy_manager_for(proxy, **options)
            if proxy.lower().startswith("http"):  # a SOCKS proxy uses its own connections
                manager.pool_classes_by_scheme = pools
            return manager

    return Adapter()


def _reason(error: BaseException) -> str:
    """Return the system's message about a failed connection, or the kind of error; never a part of the request."""
    kind = type(error).__name__
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.strerror:
            return found.strerror
        found = found.__cause__ or found.__context__
    return kind
