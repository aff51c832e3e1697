"""FreeInit: sample a clip again from noise that the last one shines through."""

from __future__ import annotations

from typing import Any, get_args

from ...host import api
from ...models.edits.edit import Edit
from ...models.long_video.free_init import FilterName, NoiseReinit
from ..widgets import choice, number, out, schema, socket, switch, whole

io = api.io


class FreeInit(io.ComfyNode):
    """Sample a clip several times, each time from noise that keeps the coarse part of the clip before.

    Frames agree more, and move less. It takes as many times the time as there are runs. Works with any
    sampler node that goes all the way down, also from a clip at denoise below 1, and with windows, Free
    Noise, ControlNets and masks.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Free Init", "long video",
            aliases=[
                "FreeInit", "ADE_IterationOptsFreeInit", "noise initialization", "consistency", "iterations",
                "flicker",
            ],
            inputs=[
                socket(io.Model, "model",
                    "The model that samples, with a motion module, or one that gets it later."),
                whole("extra_iterations", 2, 0, 20,
                    "Number of runs after the first; the paper takes 4. 0 leaves sampling as it is, bit for "
                    "bit."),
                choice("filter", get_args(FilterName),
                    "Shape of the filter that says which frequencies come from the clip before. butterworth, "
                    "as in the authors' code, and gaussian, the paper's best, fall off smoothly. ideal cuts "
                    "at the stop frequency, and ideal_released at the square root of twice that, as the "
                    "authors' code and diffusers do."),
                number("spatial_stop", 0.25, 0.01, 1.0, 0.01,
                    "Frequency in a picture up to which noise comes from the clip before, as a share of the "
                    "highest that latent pixels hold. More keeps more of the composition."),
                number("temporal_stop", 0.25, 0.01, 1.0, 0.01,
                    "Frequency over frames up to which noise comes from the clip before, as a share of the "
                    "highest that frames hold. More keeps more of the motion."),
                whole("order", 4, 1, 16, "Steepness of the butterworth filter. Other filters have none."),
                switch("coarse_to_fine", False,
                    "Fewer steps in earlier runs: of three runs, a third and two thirds. Faster; the clip "
                    "may be worse."),
            ],
            outputs=[out(io.Model, "model", "A copy of the model, for the sampler.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        model: Any,
        extra_iterations: int,
        filter: FilterName,
        spatial_stop: float,
        temporal_stop: float,
        order: int,
        coarse_to_fine: bool,
    ) -> io.NodeOutput:
        """Run the node."""
        reinit = NoiseReinit(extra_iterations, filter, spatial_stop, temporal_stop, order, coarse_to_fine)
        if not extra_iterations:
            return io.NodeOutput(model)
        return io.NodeOutput(api.port().install(model, Edit("Free Init", run=reinit)))


NODES: list[type] = [FreeInit]
