"""FreeInit: sample a clip again from noise that the last one shines through."""

from __future__ import annotations

from typing import Any, get_args

from ..host import api
from ..models.edits.edit import Edit
from ..models.free_init import FilterName, NoiseReinit

io = api.io


class FreeInit(io.ComfyNode):
    """Frameloom_FreeInit."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return io.Schema(
            node_id="Frameloom_FreeInit",
            display_name="Free Init",
            category="frameloom/long video",
            description="Sample a clip several times, each time from noise whose coarse, slow part is that of the clip "
            "before: frames agree more, and move less. Takes as many times the time as there are runs. Works with any "
            "sampler node that goes all the way down, also from a clip at denoise below 1, and with windows, Free "
            "Noise, ControlNets and masks.",
            search_aliases=[
                "FreeInit",
                "ADE_IterationOptsFreeInit",
                "noise initialization",
                "consistency",
                "iterations",
                "flicker",
            ],
            inputs=[
                io.Model.Input("model", tooltip="A model with a motion module, or one that gets it later."),
                io.Int.Input(
                    "extra_iterations",
                    default=2,
                    min=0,
                    max=20,
                    tooltip="Runs after the first; the paper takes 4. 0 leaves sampling as it is, bit for bit.",
                ),
                io.Combo.Input(
                    "filter",
                    options=list(get_args(FilterName)),
                    default="butterworth",
                    tooltip="Which frequencies come from the clip before: butterworth, as in the authors' code, and "
                    "gaussian, the paper's best, fall off smoothly; ideal cuts at the stop frequency, and "
                    "ideal_released at the square root of twice that, as the authors' code and diffusers do.",
                ),
                io.Float.Input(
                    "spatial_stop",
                    default=0.25,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip="Frequency in a picture up to which noise comes from the clip before, of the highest that "
                    "latent pixels hold. More keeps more of the composition.",
                ),
                io.Float.Input(
                    "temporal_stop",
                    default=0.25,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip="Frequency over frames up to which noise comes from the clip before, of the highest that "
                    "frames hold. More keeps more of the motion.",
                ),
                io.Int.Input(
                    "order",
                    default=4,
                    min=1,
                    max=16,
                    tooltip="How steeply the butterworth filter falls off. Other filters have none.",
                ),
                io.Boolean.Input(
                    "coarse_to_fine",
                    default=False,
                    tooltip="Take fewer steps in earlier runs: of three, a third and two thirds. Faster; the clip may "
                    "be worse.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    "model", display_name="model", tooltip="A copy of the model, for the sampler."
                ),
            ],
        )

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
