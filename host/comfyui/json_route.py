"""Routes of the editor that take JSON and answer with JSON. They write no file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from server import PromptServer


@dataclass(frozen=True)
class JsonRoute:
    """A route for POST, whose work is done beside the server's own, one request at a time.

    Attributes:
        path: path of it.
        answer: work of it, from a body to what JSON holds, or objects of such fields; raises ValueError that says what
            was got.
        expected: description of a good body.
        most_bytes: number of bytes above which a body is refused.
        instead: advice to whoever has a longer one.
    """

    path: str
    answer: Callable[[bytes], Any]
    expected: str
    most_bytes: int
    instead: str
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def add(self) -> None:
        """Add the route to the server that is being started, if one is."""
        server = getattr(PromptServer, "instance", None)
        if server is not None:
            server.routes.post(self.path)(self._reply)

    async def _reply(self, request: web.Request) -> web.Response:
        # A page of another site can't send this type without asking first, which ComfyUI denies.
        if request.content_type != "application/json":
            return self._refuse(415, request.content_type or "no type", "send application/json")
        body = bytearray()
        async for part in request.content.iter_chunked(1 << 16):
            body += part
            if len(body) > self.most_bytes:
                return self._refuse(413, f"more than {self.most_bytes:,} bytes", self.instead)
        async with self.turn:
            try:
                text = await asyncio.to_thread(lambda: json.dumps(self.answer(bytes(body)), default=vars))
            except ValueError as error:
                return self._refuse(400, str(error))
        return web.json_response(text=text)

    def _refuse(self, status: int, got: str, advice: str = "") -> web.Response:
        advice = f"; {advice}" if advice else ""
        name = self.path.rpartition("/")[2]
        error = f"{name}: got {got}; expected {self.expected}{advice}."
        return web.json_response({"error": error}, status=status)
