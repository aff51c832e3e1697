#!/usr/bin/env bash
# PyAV 18.1.0: a WebM of VP9 with transparency opens without it, though the very same library wrote it.
#
# VP9 keeps alpha in a second stream of its own beside each picture. FFmpeg's default VP9 decoder does not read that
# stream, and nothing says so: the stream's metadata holds alpha_mode=1, and the frames come as yuv420p with the hidden
# colours in view. The decoder libvpx-vp9 of the same build, asked for by name, returns yuva420p. Overlays, stickers and
# generated clips with alpha lose their cut-out in every program that just opens them.
#
# Seen on 2026-11-29: default decoder yuv420p; libvpx-vp9 yuva420p with alpha 0 and 255.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import av
import numpy as np

pixels = np.zeros((48, 64, 4), np.uint8)
pixels[..., 0] = 200
pixels[12:36, 16:48, 3] = 255  # all of it is red, the middle is opaque
with av.open("clip.webm", "w") as file:
    stream = file.add_stream("libvpx-vp9", rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuva420p"
    for _ in range(5):
        file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgba").reformat(format="yuva420p")))
    file.mux(stream.encode())

with av.open("clip.webm") as file:
    mode = file.streams.video[0].metadata.get("alpha_mode")
    default = next(file.decode(video=0)).format.name
named = av.CodecContext.create("libvpx-vp9", "r")
with av.open("clip.webm") as file:
    frames = [frame for packet in file.demux(video=0) if packet.size for frame in named.decode(packet)]
alpha = np.unique(frames[0].to_ndarray(format="rgba")[..., 3])
print(f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}: alpha_mode={mode}; opened as usual {default}; "
      f"by libvpx-vp9 {frames[0].format.name}, alpha from {alpha.min()} to {alpha.max()}")
right = (mode, default, frames[0].format.name) == ("1", "yuv420p", "yuva420p") and (alpha.min(), alpha.max()) == (0, 255)
sys.exit(0 if right else "changed: the default decoder may read transparency now")
PYTHON
