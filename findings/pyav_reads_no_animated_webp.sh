#!/usr/bin/env bash
# PyAV 18.1.0 writes animated WebP and can't read it.
#
# Animated WebP is what ComfyUI's own node SaveAnimatedWEBP saves, so people have clips in it.
# Expected: the FFmpeg 8.1.2 that PyAV's wheels bring can encode animations (libwebp_anim), so it decodes them.
# Seen: it opens what it has just written as a stream of video, and decoding it ends in InvalidDataError. Pillow 12 reads
# all frames of the same file.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 pillow==12.3.0

"$folder/venv/bin/python" - "$folder/clip.webp" <<'PYTHON'
import sys

import av
from PIL import Image

FRAMES = 3
path = sys.argv[1]
with av.open(path, "w") as output:
    stream = output.add_stream("libwebp_anim", rate=8)
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    for number in range(FRAMES):
        frame = av.VideoFrame(64, 64, "yuv420p")
        for plane, value in zip(frame.planes, (60 * number + 40, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.pts = number
        output.mux(stream.encode(frame))
    output.mux(stream.encode())
with Image.open(path) as picture:
    by_pillow = picture.n_frames
try:
    with av.open(path) as clip:
        opened = clip.streams.video[0].codec_context.name
        by_pyav = f"{len(list(clip.decode(video=0)))} frames"
except av.error.InvalidDataError as error:
    by_pyav = type(error).__name__
print(f"FFmpeg {av.ffmpeg_version_info}: wrote {FRAMES} frames; opened as {opened}, decoded: {by_pyav}; Pillow: {by_pillow} frames")
sys.exit((opened, by_pyav, by_pillow) != ("webp", "InvalidDataError", FRAMES))
PYTHON
