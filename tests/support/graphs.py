"""How large the editor's graphs open on a screen of 1440 x 900 pixels."""

from __future__ import annotations

from frameloom.tools.templates import file_name

READABLE = 0.6
# Graphs of so many nodes, or of such large ones, that they don't fit at that zoom, and what they open at.
SMALLER = {
    file_name(name): zoom
    for name, zoom in {
        "camera_path_demo": 0.53,
        "layout_masks_demo": 0.53,
        "storyboard_demo": 0.54,
        "text2video_zero_demo": 0.55,
        "text2video_zero_motion_demo": 0.53,
        "text2video_zero_smooth_demo": 0.53,
    }.items()
}
