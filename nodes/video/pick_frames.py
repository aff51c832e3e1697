"""Some frames of a clip: at another rate, from one on, every nth, and at most so many."""

from __future__ import annotations

from torch import Tensor

from ...host import api
from ...models.video.frame_rate import choose_frames
from ..widgets import out, rate, schema, socket, whole

io = api.io

_MOST = 2**31 - 1


class PickFrames(io.ComfyNode):
    """Pick frames of a video: at another rate, from one on, every nth, and at most so many.

    Connect images and fps of Get Video Components. The order is that of VideoHelperSuite's Load Video, and so are
    the frames: force_rate first, then skip_first_frames and select_every_nth, which count at the new rate, then
    frame_cap. A higher rate shows frames again.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Pick Frames", "video",
            aliases=[
                "frame rate", "force rate", "change fps", "resample video", "skip frames", "select every nth",
                "frame load cap", "every nth frame", "subsample", "VHS_LoadVideo", "VHS_SelectEveryNthImage",
            ],
            inputs=[
                socket(io.Image, "images", "The frames of the video, in order."),
                rate("source_fps", 8.0, 0.01,
                    "Frames a second of the images: fps of Get Video Components. Read with force_rate, and for the "
                    "output fps."),
                rate("force_rate", 0.0, 0.0,
                    "Frames a second to pick. 0 keeps all frames; 8 is what motion modules know."),
                whole("skip_first_frames", 0, 0, _MOST, "Number of frames to leave out at the start."),
                whole("select_every_nth", 1, 1, _MOST, "2 picks every second frame, 3 every third."),
                whole("frame_cap", 0, 0, _MOST, "Number of frames at which to stop. 0 is no limit."),
            ],
            outputs=[
                out(io.Image, "images", "The picked frames."),
                out(io.Float, "fps", "Frames a second at which they show the video at its own speed."),
                out(io.Int, "frames", "The number of the picked frames: for batch_size of Empty Latent Image."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        images: Tensor,
        source_fps: float,
        force_rate: float,
        skip_first_frames: int,
        select_every_nth: int,
        frame_cap: int,
    ) -> io.NodeOutput:
        """Run the node."""
        chosen = choose_frames(
            len(images), source_fps, force_rate, skip_first_frames, select_every_nth, frame_cap
        )
        return io.NodeOutput(images[chosen], (force_rate or source_fps) / select_every_nth, len(chosen))


NODES: list[type] = [PickFrames]
