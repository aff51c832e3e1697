"""Draw graphs headless, in one process on one core, and keep what came out until the graph changes."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from frameloom.headless import select_host
from frameloom.headless.port import HeadlessHost
from frameloom.headless.workflow.executor import Executor
from frameloom.headless.workflow.graph import check_workflow
from frameloom.host.bundled import ASSETS
from frameloom.host.video_file import Encoding, NewVideo
from frameloom.tools.gallery.demo import SAVED_FPS, VIDEO, Graph
from frameloom.training import shapes
from PIL import Image, ImageSequence

Clip = list[Image.Image]
VIDEO_FRAMES = 16


class Studio(HeadlessHost):
    """The headless host, with all that it reads and writes in one folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__("cpu", folder / "input", folder / "drawn", folder / "models")
        self.folder = folder
        for each in (self.input_dir, self.output_dir):
            each.mkdir(parents=True, exist_ok=True)

    def user_dir(self) -> Path:
        """Return the folder for what trainings and jobs keep."""
        return self.folder / "user"

    @cached_property
    def nodes(self) -> list[type[Any]]:
        """Every node, with a video for those that load one."""
        select_host(self)
        from frameloom.headless.core_nodes import core_node_classes  # they need a selected host
        from frameloom.nodes import node_classes

        _write_video(self.input_dir / VIDEO)
        return [*core_node_classes(), *node_classes()]

    @cached_property
    def assets(self) -> str:
        """What tells the demo model's files from others."""
        digest = hashlib.sha256()
        for path in sorted((ASSETS / "demo").glob("*.safetensors")):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def draw(self, name: str, graph: Graph) -> list[Clip]:
        """Return the frames of each panel of a graph, drawn now or kept from before."""
        key = hashlib.sha256(f"{self.assets} {json.dumps(graph, sort_keys=True)}".encode()).hexdigest()[:12]
        kept = self.folder / "drawn" / f"{name}-{key}"
        if not kept.is_dir():
            print(f"drawing {name}", flush=True)
            self.output_dir = self.folder / "unfinished"
            shutil.rmtree(self.output_dir, ignore_errors=True)
            Executor(check_workflow(graph, self.nodes)).run()
            self.output_dir.rename(kept)
        return [_frames(path) for path in sorted(kept.glob("*_00001_.webp"))]


def _frames(path: Path) -> Clip:
    """Return a clip's frames; a file holds equal ones, one behind the other, as one that lasts longer."""
    frames: Clip = []
    with Image.open(path) as file:
        for frame in ImageSequence.Iterator(file):
            picture, milliseconds = frame.convert("RGB"), frame.info.get("duration", 0)
            frames += [picture] * max(1, round(milliseconds * SAVED_FPS / 1000))
    return frames


def _write_video(path: Path) -> None:
    """Write the video that workflows load: a big white cross goes to the right."""
    path.unlink(missing_ok=True)
    clips = shapes.sample_clips(1, torch.Generator().manual_seed(5), VIDEO_FRAMES)
    pictures = (shapes.render(clips)[0] + 1).movedim(1, -1) / 2
    with NewVideo(lambda *_: path, Encoding("mp4", "h264", "yuv420p"), 8, {}) as video:
        video.add(pictures.contiguous())
