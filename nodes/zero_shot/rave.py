"""RAVE: a video edited by a model of pictures, several frames in one picture."""

from __future__ import annotations

from typing import Any

from ...host import api
from ...models.zero_shot.rave import rave_edit
from ..widgets import out, schema, seed, socket, whole

io = api.io


class Rave(io.ComfyNode):
    """Edit a video with a model of pictures, without a motion module and without training.

    In every step the frames are shuffled and laid into grids, each of which the model denoises as one picture, so that
    all frames get one look. ControlNets, masks and Control Schedule follow their frames. Start from the video's own
    latents: VAE Encode with a denoise below 1, or noise that the video was inverted to, as in the workflow rave_demo.
    One grid is in memory at a time, however long the clip is. Frames that do not fill a last grid share it with frames
    of the one before, which get the mean of both; a clip of fewer frames than a grid begins again in it.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "RAVE", "zero-shot",
            aliases=[
                "edit a video", "restyle",
                "RAVE", "KSamplerRAVE", "randomized noise shuffling", "video editing", "video to video", "vid2vid",
                "grid trick",
            ],
            inputs=[
                socket(io.Model, "model", "The model that samples: SD1.5, another one of pictures, or the demo model."),
                whole("grid_size", 3, 1, 8,
                    "Frames of a row and of a column of each grid: 3 as in the paper, 2 for half of the size. A grid "
                    "needs the memory of a picture of its size. 1 changes nothing."),
                seed("Seed of the shuffles, and of nothing else."),
            ],
            outputs=[out(io.Model, "model", "A copy of the model, for any sampler.")],
        )  # fmt: skip

    @classmethod
    def execute(cls, model: Any, grid_size: int, seed: int) -> io.NodeOutput:
        """Run the node."""
        return io.NodeOutput(api.port().install(model, rave_edit(grid_size, seed)))


NODES: list[type] = [Rave]
