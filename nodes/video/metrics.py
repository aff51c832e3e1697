"""Figures of a video, with controls, as text and as a chart."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...host import api
from ...models.video.metrics import Comparison, Figures, compare_videos, describe, measure
from ..drawing.plot import Panel, draw_panels
from ..widgets import fps, out, schema, socket

io = api.io

Line = list[float]
SIMILARITY = "similarity to the next frame (SSIM)"
MOTION = "motion to the next frame, percent of the longer side"
DIFFERENCE = "difference of compare from video (mean |a - b|)"


class VideoMetrics(io.ComfyNode):
    """Measure a video: similarity of neighbouring frames, flicker, motion, drift.

    The same figures of its first frame held still and of its frames in random order stand beside them,
    because a frozen picture is perfectly consistent and shuffled frames move most. Needs no downloads. The
    node shows its frames: move the mouse over them.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Video Metrics", "metrics",
            aliases=["measure a video", "compare videos", "SSIM", "flicker", "temporal consistency", "video quality"],
            inputs=[
                socket(io.Image, "images", "The frames of one video, at least 3, in order."),
                fps(),
                socket(io.Image, "compare",
                    "Another video with frames of the same number and size, to be measured and shown beside the "
                    "first.", optional=True),
            ],
            outputs=[
                out(io.String, "figures", "A table of the figures of the video and its two controls."),
                out(io.Image, "plot", "A chart of similarity and motion over time."),
            ],
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    def execute(cls, images: Tensor, fps: float, compare: Tensor | None = None) -> io.NodeOutput:
        """Run the node."""
        report, clips = measure(images), {"video": images}
        figures, comparison = {"video": report.video}, None
        if compare is not None:
            comparison = compare_videos(images, compare)
            clips, figures = clips | {"compare": compare}, figures | {"compare": comparison.other}
        plot = _plot(_curves(figures | {"shuffled": report.shuffled}, comparison), fps)
        shown = api.port().show_clips(clips, fps, _curves(figures, comparison))
        return io.NodeOutput(describe(report, fps, comparison), plot.to(images.device), ui=shown)


def _curves(
    figures: Mapping[str, Figures], comparison: Comparison | None
) -> Mapping[str, Mapping[str, Line]]:
    """Return the lines of each chart: of videos by name, and of their difference."""
    curves = {
        SIMILARITY: {name: each.similarity_by_frame.tolist() for name, each in figures.items()},
        MOTION: {name: each.motion_by_frame.tolist() for name, each in figures.items()},
    }
    if comparison is not None:
        curves[DIFFERENCE] = {"difference": comparison.difference_by_frame.tolist()}
    return curves


def _plot(curves: Mapping[str, Mapping[str, Line]], fps: float) -> Tensor:
    return draw_panels(
        [Panel(f"{title}, over seconds", lines, 0.0, 1 / fps) for title, lines in curves.items()]
    )


NODES: list[type] = [VideoMetrics]
