"""A ComfyUI server with this checkout as its only custom node, in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from frameloom.tools.host import Host, serving

ROOT = Path(__file__).resolve().parents[2]
# A hyphen makes the folder no Python identifier; ComfyUI must load it all the same.
PACK_FOLDER = "frameloom-pack"
START_SECONDS = 180
# A language model's key in the server's environment; no test should find it anywhere else.
KEY_VARIABLE, KEY = "FRAMELOOM_TEST_KEY", "sentinel-7f3a91c05d"


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    base: Path
    log: Path

    def get(self, path: str) -> Any:
        """Return the JSON at a path."""
        with urllib.request.urlopen(self.url + path, timeout=60) as reply:
            return json.load(reply)

    def ask(self, path: str, body: Any, kind: str = "application/json") -> tuple[int, Any]:
        """Send JSON, or bytes as they are, to a path; return the status and the JSON that comes back."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def post(self, path: str) -> None:
        """Send an empty request to a path."""
        with urllib.request.urlopen(self.url + path, data=b"", timeout=60):
            pass


@contextmanager
def running_server(host: Host, base: Path, *options: str) -> Iterator[Server]:
    """Start a server, with more options of its command line; end it with the context."""
    (base / "custom_nodes").mkdir()
    (base / "custom_nodes" / PACK_FOLDER).symlink_to(ROOT, target_is_directory=True)
    log = base / "server.log"
    alone = ("--disable-all-custom-nodes", "--whitelist-custom-nodes", PACK_FOLDER)
    environment = os.environ | {KEY_VARIABLE: KEY}
    with serving(host, base, log, *alone, *options, environment=environment, seconds=START_SECONDS) as url:
        yield Server(url, base, log)


def documented_client(folder: Path) -> ModuleType:
    """Import the client that docs/api.md shows."""
    block = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    assert block is not None
    path = folder / "client.py"
    path.write_text(block.group(1))
    spec = spec_from_file_location("documented_client", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
