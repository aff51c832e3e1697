"""The video that finished clips make: its frames as PNG files, and a video file, each whole or not there."""

from __future__ import annotations

import io
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ...host.video_file import Encoding, NewVideo

_MP4 = Encoding("mp4", "h264", "yuv420p", 19.0)
_AT_ONCE = 16  # frames in memory


def join_clips(clips: Iterable[Sequence[bytes]]) -> Iterator[bytes]:
    """Yield the frames of a video; what two neighbouring clips share comes once.

    Raises:
        ValueError: a clip is not as long as those before it.
    """
    length = 0
    for place, clip in enumerate(clips):
        if place and len(clip) != length:
            raise ValueError(
                f"clip {place + 1} has {len(clip)} frames, and those before it {length}; expected one length; look "
                "which node gives Keyframed Video its length, and whether it gives the same each time."
            )
        length = len(clip)
        yield from clip[1:] if place else clip


def write_video(
    frames: Iterable[bytes], output: Path, name: str, fps: float, texts: dict[str, str]
) -> tuple[Path, Path]:
    """Write a video's frames and its file.

    Args:
        frames: PNG files of its frames.
        output: folder of the results.
        name: start of their names.
        fps: frames a second.
        texts: texts that the file carries.

    Returns:
        Folder of the frames, and the video file. Names that are taken are left as they are.

    Raises:
        OSError: the disk is full, or the folder can't be written to. Nothing half-written is left.
    """
    output.mkdir(parents=True, exist_ok=True)
    part = output / f".{name}.{uuid.uuid4().hex[:8]}.part"
    part.mkdir()
    try:
        with NewVideo(lambda _width, _height: _free(output, name), _MP4, fps, texts) as video:
            waiting: list[bytes] = []
            for number, frame in enumerate(frames):
                (part / f"{number:05}.png").write_bytes(frame)
                waiting.append(frame)
                if len(waiting) == _AT_ONCE:
                    video.add(_images(waiting))
                    waiting = []
            if waiting:
                video.add(_images(waiting))
        folder = video.path.with_suffix("")
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder, video.path


def _free(output: Path, name: str) -> Path:
    number = 1
    while (path := output / f"{name}_{number:05}.mp4").exists() or path.with_suffix("").exists():
        number += 1
    return path


def _images(frames: Sequence[bytes]) -> Any:
    import numpy as np
    import torch
    from PIL import Image

    pixels = np.stack([np.asarray(Image.open(io.BytesIO(frame)).convert("RGB")) for frame in frames])
    return torch.from_numpy(pixels).float() / 255
