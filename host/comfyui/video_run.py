"""What edits are told while ComfyUI samples a model of video: one ``VideoRun`` a run, one ``Call`` a model call.

Less is offered there than in a UNet, so there is less to do than in ``run``: conditions are looked up, and attention to
the prompt is added to.
"""

from __future__ import annotations

from typing import Any

from comfy.patcher_extension import WrappersMP

from ...models.edits.active import RunEdits
from ...models.edits.call import LATENTS, Call, Condition
from .installed import installed
from .levels import progress_at
from .seams.live import KEY
from .seams.video_attention import ask_biased
from .seams.video_network import VideoCall

RUN_KEY = f"{KEY}.video"


class VideoRun(RunEdits):
    """One sampling run of an edited model of video."""

    def __init__(self, guider: Any) -> None:
        """Take what samples.

        Raises:
            ValueError: a condition with a payload has an area, whose boxes are parts of whole pictures.
        """
        conditions = [condition for side in guider.conds.values() for condition in side]
        if any(each.get(KEY) and ("area" in each or each.get("set_area_to_bounds")) for each in conditions):
            raise ValueError(
                "conditioning: got a layout in an area, or in a mask's bounds; expected no area; use Conditioning (Set "
                "Mask), with set_cond_area at default."
            )
        super().__init__(installed(guider.model_patcher), conditions)
        self.payloads = {condition["uuid"]: condition.get(KEY, {}) for condition in conditions}
        self._sampling = guider.model_patcher.get_model_object("model_sampling")
        self.proven: set[Any] = set()

    def call(self, given: VideoCall) -> Call:
        """Return what edits are told of a model call.

        Raises:
            HostError: another number of latent frames is sampled than a condition is laid out over.
        """
        chunks = given.options["cond_or_uncond"]
        payloads = [self.payloads.get(uuid, {}) for uuid in given.options["uuids"]]
        latents = next((payload[LATENTS] for payload in payloads if LATENTS in payload), None)
        frame_ids = given.frame_ids(latents)
        sigma = float(given.options["sigmas"].flatten()[0])
        return Call(
            frames=len(frame_ids),
            videos=len(given.noisy) // len(chunks),
            conditions=tuple(
                Condition(index, payload, key=uuid)
                for index, payload, uuid in zip(chunks, payloads, given.options["uuids"], strict=True)
            ),
            frame_ids=frame_ids,
            sigma=sigma,
            progress=progress_at(self._sampling, given.options["sigmas"]),
            size=(given.noisy.shape[-2], given.noisy.shape[-1]),
            memory=self.memory,
        )


def outer_sample(executor: Any, *args: Any, **kwargs: Any) -> Any:
    """Open a run; ComfyUI's OUTER_SAMPLE wrapper. The guider's options are this run's own copy."""
    options = executor.class_obj.model_options["transformer_options"]
    options[RUN_KEY] = VideoRun(executor.class_obj)
    try:
        return executor(*args, **kwargs)
    finally:
        options.pop(RUN_KEY, None)


def diffusion_model(executor: Any, *args: Any, **kwargs: Any) -> Any:
    """Let the network do what edits say; ComfyUI's DIFFUSION_MODEL wrapper."""
    given = VideoCall.of(executor.class_obj, args, kwargs)
    run = given.options.get(RUN_KEY)
    if run is None:
        return executor(*args, **kwargs)
    active = run.at(run.call(given))
    if not active.acts_at("cross_attention"):
        return executor(*args, **kwargs)
    return ask_biased(executor, given, active, run.proven)


WRAPPERS = ((WrappersMP.OUTER_SAMPLE, outer_sample), (WrappersMP.DIFFUSION_MODEL, diffusion_model))
