"""Figures of a video, with controls, as text and as a chart."""

from __future__ import annotations

from torch import Tensor

from ...host import api
from ...models.video.metrics import Report, describe, measure
from ..drawing.plot import Panel, draw_panels
from ..widgets import fps, out, schema, socket

io = api.io


class VideoMetrics(io.ComfyNode):
    """Measure a video: similarity of neighbouring frames, flicker, motion, drift.

    The same figures of its first frame held still and of its frames in random order stand beside them,
    because a frozen picture is perfectly consistent and shuffled frames move most. Needs no downloads.
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
            ],
            outputs=[
                out(io.String, "figures", "A table of the figures of the video and its two controls."),
                out(io.Image, "plot", "A chart of similarity and motion over time."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, images: Tensor, fps: float) -> io.NodeOutput:
        """Run the node."""
        report = measure(images)
        return io.NodeOutput(describe(report, fps), _plot(report, fps).to(images.device))


def _plot(report: Report, fps: float) -> Tensor:
    clips = {"video": report.video, "shuffled": report.shuffled}
    similarity = {name: figures.similarity_by_frame.tolist() for name, figures in clips.items()}
    motion = {name: figures.motion_by_frame.tolist() for name, figures in clips.items()}
    return draw_panels(
        [
            Panel("similarity to the next frame (SSIM), over seconds", similarity, 0.0, 1 / fps),
            Panel("motion to the next frame, percent of the longer side, over seconds", motion, 0.0, 1 / fps),
        ]
    )


NODES: list[type] = [VideoMetrics]
