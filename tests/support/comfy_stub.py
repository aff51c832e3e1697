"""A small HTTP server that plays ComfyUI for a farm: a good one, or one that hangs, lies, lacks, refuses or dies.

Its Keyframed Video draws a clip's frames from its two keyframes, its number and its seed, in 8 bits.
"""

from __future__ import annotations

import io
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

NODE = "Frameloom_KeyframedVideo"
SIZE = 16, 12


def graph(keyframes=4, length=5, **changes):
    """Return a graph in API form: keyframes by their count, a clip of them, and a node that saves it."""
    inputs = {"keyframes": ["2", 0], "model": ["1", 0], "length": length, "seed": 7, "steps": 2} | changes
    return {
        "1": {
            "class_type": "UNETLoader",
            "inputs": {"unet_name": "wan.safetensors"},
            "_meta": {"title": "Wan"},
        },
        "2": {"class_type": "Pictures", "inputs": {"count": keyframes, "names": ""}},
        "3": {"class_type": NODE, "inputs": inputs},
        "4": {"class_type": "SaveAnimatedWEBP", "inputs": {"images": ["3", 0]}},
    }


def drawn(prompt, link, salt=0):
    """Return the pictures that a link carries, [N, H, W, 3] of 8 bits."""
    node = prompt[link[0]]
    inputs = node["inputs"]
    if node["class_type"] == "Pictures":
        names = inputs["names"] or "".join(chr(97 + index) for index in range(inputs["count"]))
        return np.stack([noise(ord(name), salt) for name in names[: inputs["count"]]])
    if node["class_type"] == "ImageFromBatch":
        first = inputs["batch_index"]
        return drawn(prompt, inputs["image"], salt)[first : first + inputs["length"]]
    ends, length = drawn(prompt, inputs["keyframes"], salt), inputs["length"]
    frames = []
    for clip in range(len(ends) - 1):
        number = inputs.get("first_clip", 0) + clip
        between = [
            noise(inputs["seed"], number, frame, int(ends[clip : clip + 2].sum())) for frame in range(length)
        ]
        between[0], between[-1] = ends[clip], ends[clip + 1]
        frames += between[1:] if clip else between
    return np.stack(frames)


def noise(*seeds):
    return np.random.default_rng(seeds).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)


def png(pixels):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "png")
    return data.getvalue()


class Stub(ThreadingHTTPServer):
    """The server. ``kind`` says what it does from its prompt number ``after`` on; the keyframes are one, too."""

    daemon_threads = True

    def __init__(self, kind="good", after=0, seconds=0.0):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kind, self.after, self.seconds = kind, after, seconds
        self.prompts, self.done, self.files, self.stopped = [], {}, {}, []
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def acts(self, kind):
        return self.kind == kind and len(self.prompts) > self.after

    def handle_error(self, request, client_address):
        """Say nothing of clients that went away."""

    @property
    def clips(self):
        """Numbers of the clips that it was asked for."""
        return [node["inputs"]["first_clip"] for _, prompt in self.prompts for node in prompt.values()
                if "first_clip" in node["inputs"]]  # fmt: skip

    def look(self, name):
        """Return the queue's running prompts, and the history's entry of one."""
        with self.lock:
            if name not in self.done:
                return [], {}
            _, since, prompt, outputs, status = self.done[name]
            is_over = (
                time.monotonic() - since >= self.seconds and status is not None and name not in self.stopped
            )
            return ([] if is_over else [[0, name, prompt, {}, []]]), (
                {name: {"prompt": [], "outputs": outputs, "status": status}} if is_over else {}
            )

    def queue(self, name, prompt):
        with self.lock:
            self.prompts.append((name, prompt))
        saved = next(key for key, node in prompt.items() if node["class_type"] == "PreviewImage")
        pictures = drawn(prompt, prompt[saved]["inputs"]["images"], salt=int(self.acts("other pictures")))
        if self.acts("short"):
            pictures = pictures[:-1]
        files = []
        for number, pixels in enumerate(pictures):
            file = f"{name}_{number}.png"
            self.files[file] = b"<html>" if self.acts("no picture") else png(pixels)
            files.append({"filename": file, "subfolder": "", "type": "temp"})
        outputs, status = (
            {saved: {"images": files}},
            {"status_str": "success", "completed": True, "messages": []},
        )
        said = {"node_id": "3", "node_type": NODE, "exception_type": "ValueError",
                "exception_message": "length=6; expected 4 n + 1 frames"}  # fmt: skip
        if self.acts("refuses"):
            status = {"status_str": "error", "messages": [["execution_error", said]]}
        if self.acts("out of memory"):
            said |= {
                "exception_type": "torch.OutOfMemoryError",
                "exception_message": "tried to allocate 9 GiB",
            }
            status = {"status_str": "error", "messages": [["execution_error", said]]}
        if self.acts("cancelled"):
            status = {"status_str": "error", "messages": [["execution_interrupted", {"node_id": "3"}]]}
        if self.acts("nonsense"):
            outputs = {}
        if self.acts("hangs"):
            status = None
        with self.lock:
            if not self.acts("forgets"):
                self.done[name] = (name, time.monotonic(), prompt, outputs, status)


class _Handler(BaseHTTPRequestHandler):
    server: Stub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Write no log."""

    def reply(self, value, status=200, kind="application/json"):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        stub, url = self.server, urlsplit(self.path)
        if stub.acts("dies"):
            self.close_connection = True
            return
        if stub.kind == "is something else":
            self.reply(b"<html>hello</html>", kind="text/html")
        elif url.path.startswith("/object_info/"):
            known = {
                "optional": {} if stub.kind == "old" else {"first_clip": ["INT", {}]},
                "required": {"seed": []},
            }
            self.reply({} if stub.kind == "without the pack" else {NODE: {"input": known}})
        elif url.path == "/queue":
            running = [each for name in list(stub.done) for each in stub.look(name)[0]]
            self.reply({"queue_running": running, "queue_pending": []})
        elif url.path.startswith("/history/"):
            self.reply(stub.look(url.path.rpartition("/")[2])[1])
        else:
            self.reply(stub.files[parse_qs(url.query)["filename"][0]], kind="image/png")

    def do_POST(self):
        stub = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/prompt" and stub.kind == "lacks a model":
            error = {
                "type": "value_not_in_list",
                "message": "Value not in list",
                "details": "unet_name: 'wan.safetensors'",
            }
            node = {"class_type": "UNETLoader", "errors": [error]}
            self.reply({"error": {"message": "failed"}, "node_errors": {"1": node}}, 400)
        elif self.path == "/prompt":
            stub.queue(body["prompt_id"], body["prompt"])
            if stub.acts("dies"):
                self.close_connection = True
                return
            self.reply({"prompt_id": body["prompt_id"], "number": 1, "node_errors": {}})
        else:
            if self.path == "/interrupt":
                stub.stopped.append(body["prompt_id"])
            self.reply({})


@contextmanager
def playing(*kinds, **more):
    """Yield a server of each kind."""
    stubs = [each if isinstance(each, Stub) else Stub(each, **more) for each in kinds]
    threads = [threading.Thread(target=stub.serve_forever, args=(0.05,), daemon=True) for stub in stubs]
    for thread in threads:
        thread.start()
    try:
        yield stubs
    finally:
        for stub in stubs:
            stub.shutdown()
            stub.server_close()
