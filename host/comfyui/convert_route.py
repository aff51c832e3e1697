"""The editor's way to the converter: a route that answers with a workflow, and reads and writes no file.

``POST /frameloom/convert`` takes a workflow as JSON, and gives ``{"graph", "verdict", "report"}``, or ``{"error"}``
with what was got and what was expected.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from server import PromptServer

from ...models.files.json_text import BadJSONError, read_json

PATH = "/frameloom/convert"
MOST_BYTES = 16 * 1024 * 1024
EXPECTED = "expected a workflow of the editor as JSON"


def add_route() -> None:
    """Add the route to the server that is being started, if one is."""
    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.routes.post(PATH)(_convert)


async def _convert(request: web.Request) -> web.Response:
    if request.content_type != "application/json":
        return _refuse(415, f"got {request.content_type or 'no type'}; {EXPECTED}; send application/json.")
    body = bytearray()
    async for part in request.content.iter_chunked(1 << 16):
        body += part
        if len(body) > MOST_BYTES:
            return _refuse(
                413, f"got more than {MOST_BYTES:,} bytes; {EXPECTED}; use the command frameloom convert."
            )
    try:
        return web.json_response(await asyncio.to_thread(_answer, bytes(body)))
    except ValueError as error:  # of JSON, or of the graph in it
        return _refuse(400, f"got {error}; {EXPECTED}.")


def _answer(body: bytes) -> dict[str, Any]:
    """Return what the editor gets for a workflow; ValueError says what was got in its place."""
    from ...models.convert.convert import convert  # only here: ComfyUI's start need not wait for it

    try:
        made = convert(read_json(body))
    except BadJSONError as error:
        raise ValueError(str(error)) from error
    lines = [{"verdict": each.verdict, "text": str(each)} for each in made.report.lines]
    return {"graph": made.graph, "verdict": made.report.verdict, "report": lines}


def _refuse(status: int, error: str) -> web.Response:
    return web.json_response({"error": f"convert: {error}"}, status=status)
