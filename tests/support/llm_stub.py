"""A chat model's server that plays what a test tells it to: a real one, on this machine's own address."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

PATIENCE = 20  # seconds, after which what should long have happened has not


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    path: str
    headers: Mapping[str, str]
    body: Any
    raw: bytes = b""


@dataclass
class Stub:
    """The server. ``acts`` are played in turn, one a request, the last again and again."""

    acts: list[Callable[[Handler], None]]
    asked: list[Asked] = field(default_factory=list)
    over: Event = field(default_factory=Event)
    hung_up: Event = field(default_factory=Event)
    address: str = ""

    @property
    def url(self) -> str:
        return f"{self.address}/v1"

    @property
    def questions(self) -> list[Any]:
        """What was posted."""
        return [each.body for each in self.asked if each.body is not None]

    @property
    def formats(self) -> list[str | None]:
        """The kinds of structured output that were asked for."""
        return [question.get("response_format", {}).get("type") for question in self.questions]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    stub: Stub

    def do_GET(self):
        self.play(b"")

    def do_POST(self):
        self.play(self.rfile.read(int(self.headers["Content-Length"])))

    def play(self, raw):
        stub = self.stub
        act = stub.acts[min(len(stub.asked), len(stub.acts) - 1)]
        stub.asked.append(
            Asked(
                self.path,
                {name.lower(): value for name, value in self.headers.items()},
                json.loads(raw) if raw else None,
                raw,
            )
        )
        self.close_connection = True
        try:
            act(self)
        except OSError:
            stub.hung_up.set()

    def send(self, status: int, pieces: Iterable[bytes], **headers: str) -> None:
        """Answer in chunks as the pieces are cut."""
        self.head(status, Transfer_Encoding="chunked", **headers)
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def wait(self) -> None:
        """Say nothing until the client hangs up, or the test is over."""
        self.connection.settimeout(0.05)
        while not self.stub.over.is_set():
            try:
                if not self.connection.recv(1):
                    raise ConnectionResetError
            except TimeoutError:
                continue

    def log_message(self, *args: Any) -> None:
        del args


@contextmanager
def serving(*acts: Callable[[Handler], None]) -> Iterator[Stub]:
    """Serve on a port that is free."""
    stub = Stub(list(acts))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Handler", (Handler,), {"stub": stub}))
    server.daemon_threads = True
    stub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stub
    finally:
        stub.over.set()
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)


def free_address() -> str:
    """Return an address at which nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


def completion(content: Any = None, finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    """A whole answer as OpenAI has it."""
    return {"choices": [{"index": 0, "message": {"content": content, **message}, "finish_reason": finish}]}


def delta(content: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A bit of a streamed answer."""
    return {"choices": [{"index": 0, "delta": {"content": content, **more}, "finish_reason": finish}]}


def events(*bits: dict[str, Any], end: str = "\n") -> bytes:
    """Bits as server-sent events."""
    lines = [json.dumps(bit, ensure_ascii=False) for bit in bits] + ["[DONE]"]
    return "".join(f"data: {line}{end}{end}" for line in lines).encode()


def streamed(text: str) -> bytes:
    """An answer as events of three characters each."""
    bits = [delta(text[start : start + 3]) for start in range(0, len(text), 3)]
    return events(delta("", role="assistant"), *bits, delta(None, "stop"))


def cut(data: bytes, size: int) -> list[bytes]:
    """Cut bytes into pieces of a size, wherever that falls."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def says(text: str) -> Callable[[Handler], None]:
    """Play a server that streams an answer."""
    return lambda handler: handler.send(200, [streamed(text)], Content_Type="text/event-stream")


def sends(*pieces: bytes, status: int = 200, **headers: str) -> Callable[[Handler], None]:
    """Play a server that answers anything."""
    return lambda handler: handler.send(status, pieces, **headers)


def returns(value: Any) -> Callable[[Handler], None]:
    """Play a server that answers some JSON."""
    return sends(json.dumps(value).encode())


def refuses(why: Callable[[Any], str | None], status: int = 400) -> Callable[[Handler], None]:
    """Play a server that says yes, unless a function of the question gives an error, and is no Ollama."""

    def act(handler):
        body = handler.stub.asked[-1].body
        if body is None:
            handler.send(404, [b"not here"])
        elif error := why(body):
            handler.send(status, [json.dumps({"error": error}).encode()])
        else:
            handler.send(200, [streamed("yes")])

    return act


def knows_only(*formats: str | None, otherwise: int = 400) -> Callable[[Handler], None]:
    """Play a server that refuses other kinds of structured output, and is no Ollama."""

    def why(body):
        known = body.get("response_format", {}).get("type") in formats
        return None if known else "unknown response_format"

    return refuses(why, otherwise)


def takes_no(*settings: str, words: str = "{} is not supported here") -> Callable[[Handler], None]:
    """Play a server that refuses settings, one at a time, and is no Ollama; ``words``: with {} for the setting."""
    return refuses(lambda body: next((words.format(f"'{name}'") for name in settings if name in body), None))


def hangs(handler: Handler) -> None:
    """Play a server that takes the question and says nothing."""
    handler.wait()


def drips(data: bytes, *, head: bool = True) -> Callable[[Handler], None]:
    """Play a server that sends a byte now and then, for ever."""

    def act(handler):
        if head:
            handler.head(200)
        while not handler.stub.over.wait(0.02):
            handler.wfile.write(data)

    return act


def breaks(handler: Handler) -> None:
    """Play a server that goes away in the middle of its answer."""
    handler.head(200, Transfer_Encoding="chunked")
    handler.wfile.write(b"ff\r\ndata: ")
