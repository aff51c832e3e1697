#!/usr/bin/env bash
# PyAV 18.1.0: VideoFrame.rotation tells of a mirrored video as of a turned one, or of nothing.
#
# An MP4's track carries a matrix that says how to show it: eight of them keep a picture upright on the pixel grid, four
# turns and four mirrors. Phones write the mirrors for front cameras.
# Expected: a mirror can be told from a turn, or rotation is 0 for it.
# Seen: "mirrored left and right" is -180, the same as "turned by 180", so a program that turns frames by rotation shows
# the clip upside down; "mirrored top and bottom" is 0, the same as no matrix; both diagonal mirrors are quarter turns. The
# matrix itself is right: it lies in frame.side_data as DISPLAYMATRIX.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0

"$folder/venv/bin/python" - "$folder/clip.mp4" <<'PYTHON'
import struct
import sys
from pathlib import Path

import av

WIDTH, HEIGHT = 64, 32
path = Path(sys.argv[1])
with av.open(str(path), "w") as output:
    stream = output.add_stream("mpeg4", rate=8)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    for packet in [*stream.encode(av.VideoFrame(WIDTH, HEIGHT, "yuv420p")), *stream.encode()]:
        output.mux(packet)
plain = path.read_bytes()


def matrix(a, b, c, d, x, y):
    """x' = a x + c y + tx, y' = b x + d y + ty, as a track header holds it."""
    return struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, x << 16, y << 16, 1 << 30)


place = plain.index(matrix(1, 0, 0, 1, 0, 0), plain.index(b"tkhd"))
cases = {  # matrix and the rotation that is told
    "no change": ((1, 0, 0, 1, 0, 0), 0),
    "mirrored top and bottom": ((1, 0, 0, -1, 0, HEIGHT), 0),
    "turned by 180": ((-1, 0, 0, -1, WIDTH, HEIGHT), -180),
    "mirrored left and right": ((-1, 0, 0, 1, WIDTH, 0), -180),
    "turned by 90": ((0, 1, -1, 0, HEIGHT, 0), -90),
    "mirrored in one diagonal": ((0, 1, 1, 0, 0, 0), -90),
    "turned by 270": ((0, -1, 1, 0, 0, WIDTH), 90),
    "mirrored in the other diagonal": ((0, -1, -1, 0, HEIGHT, WIDTH), 90),
}
same = True
for name, (numbers, known) in cases.items():
    path.write_bytes(plain[:place] + matrix(*numbers) + plain[place + 36 :])
    with av.open(str(path)) as clip:
        frame = next(clip.decode(video=0))
        told = frame.rotation
        stored = [struct.unpack("<9i", bytes(each)) for each in frame.side_data if each.type.name == "DISPLAYMATRIX"]
    kept = "side_data has the matrix" if stored and stored[0][:2] == (numbers[0] << 16, numbers[1] << 16) else "no matrix"
    print(f"{name}: rotation {told}, {kept}")
    same &= told == known
sys.exit(not same)
PYTHON
