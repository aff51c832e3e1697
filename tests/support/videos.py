"""Tiny video files, written frame by frame, whose frames tell their number."""

from __future__ import annotations

import struct
from fractions import Fraction

import torch

STEP = 7  # of gray from one frame to the next

CODECS = {
    "mp4": ("h264", "yuv420p", {"bf": "3", "g": "12"}),
    "mov": ("h264", "yuv420p", {"g": "12"}),
    "ts": ("h264", "yuv420p", {"bf": "2", "g": "12"}),
    "h264": ("h264", "yuv420p", {"bf": "2"}),
    "mkv": ("ffv1", "bgr0", {}),
    "webm": ("libvpx-vp9", "yuv420p", {"g": "12"}),
    "avi": ("h264", "yuv420p", {"bf": "3", "g": "12"}),
    "gif": ("gif", "rgb8", {}),
}


def numbered(frames, width=64, height=48):
    """Pictures [F, H, W, 3] uint8: gray that says the frame's number."""
    gray = (10 + STEP * torch.arange(frames)).view(-1, 1, 1, 1)
    return gray.expand(-1, height, width, 3).to(torch.uint8)


def numbers_of(pictures):
    """The numbers that decoded pictures [F, 3, H, W] in -1..1 say, read in their middle."""
    _, _, height, width = pictures.shape
    middle = pictures[:, :, height // 4 : -height // 4, width // 4 : -width // 4].mean((1, 2, 3))
    return (((middle + 1) * 127.5 - 10) / STEP).round().int().tolist()


def write_video(path, pictures, rate=10, options=None, turn=0, gap=1, times=None, codec=None, aspect=None):
    """Write pictures [F, H, W, 3 or 4] uint8 as the path's ending says, each shown for ``gap`` frames' time.

    ``times``: when each is shown, in milliseconds. ``codec``: encoder, pixel format and options in place of CODECS'.
    ``aspect``: width of a pixel for a height of 1.
    """
    import av

    codec, pixels, known = codec or CODECS[path.suffix[1:]]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options or {}) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt, stream.options = pixels, known
        if turn:
            stream.set_display_rotation(turn)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if times:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(pictures):
            form = "rgb24" if picture.shape[-1] == 3 else "rgba"
            frame = av.VideoFrame.from_ndarray(picture.contiguous().numpy(), format=form)
            frame = frame.reformat(format=pixels)
            frame.pts = times[number] if times else number * gap
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def set_matrix(path, matrix):
    """Give an MP4 another display matrix (a, b, c, d): a stored pixel (x, y) is seen at (a x + c y, b x + d y)."""
    data, one = path.read_bytes(), 1 << 16
    header, plain = data.index(b"tkhd"), struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    place = data.index(plain, header)
    a, b, c, d = (number * one for number in matrix)
    path.write_bytes(
        data[:place] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[place + len(plain) :]
    )
    return path


def write_animation(path, pictures, durations, **options):
    """Write pictures [F, H, W, 3 or 4] uint8 as an animated WebP, GIF or PNG; ``durations`` in milliseconds."""
    from PIL import Image

    first, *others = (Image.fromarray(picture.contiguous().numpy()) for picture in pictures)
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    first.save(path, save_all=True, append_images=others, duration=durations, **lossless, **options)
    return path


def write_pictures(folder, pictures, name="frame_{:04}.png", start=1):
    """Write pictures [F, H, W, 3 or 4] uint8 as numbered files."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures, start):
        Image.fromarray(picture.contiguous().numpy()).save(folder / name.format(number))
    return folder


def write_sound(path):
    """Write a tenth of a second of silence."""
    import av
    import numpy

    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(
            numpy.zeros((1, 1024), numpy.float32), format="fltp", layout="mono"
        )
        frame.rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path
