"""What edits are told while ComfyUI samples: one ``Run`` a sampling run, one ``Call`` a model call.

ComfyUI's wrappers are the only way in. A run lives in the options of the guider that samples and nowhere else, so it is
gone when the run is, whatever ended it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import server
from comfy.samplers import CFGGuider
from comfy_execution.utils import get_executing_context
from torch import Tensor

from ...models.edits.active import Active, RunEdits, find_notes
from ...models.edits.call import Call, Condition, Held, Plan, held_by_mask
from ...models.edits.edit import Observer
from ...models.edits.lockstep import Cut
from ...models.edits.run import arrange_noise, sample_run
from ...models.errors import HostError
from ...models.layout.gligen import check_boxes
from ...models.video.frames import count_videos
from ...models.video.guards import check_prediction, check_schedule
from . import guests
from .installed import loaded
from .levels import LAST_TIMESTEP, progress_at
from .load.motion import attention_of
from .parts import ask_in_parts, find_cut, find_told
from .predict import NodeGuider, OnePass
from .seams import cfg, guide, hooks, patches, residuals, schedule
from .seams.conditions import ask_composed
from .seams.control import ControlCopies
from .seams.grid import ask_in_pictures
from .seams.live import KEY, TILES, Live
from .seams.network import size_of
from .seams.windows import find_window, publish

RUN_KEY = f"{KEY}.run"


class Run(RunEdits):
    """One sampling run of an edited model."""

    def __init__(self, guider: Any, frames: int) -> None:
        """Take what samples, and the number of frames of the clip."""
        patcher = guider.model_patcher
        if patcher.get_additional_models_with_key("multigpu"):
            raise HostError(
                "Frameloom's edits run on one GPU; got a model spread over several; remove the MultiGPU node from it."
            )
        conditions = [condition for side in guider.conds.values() for condition in side]
        for boxes in (condition["gligen"] for condition in conditions if condition.get("gligen") is not None):
            check_boxes(boxes[0])
        super().__init__(loaded(patcher), conditions)
        self.patcher, self.size = patcher, size_of(patcher.model.diffusion_model)
        self.frames = self.asked = frames
        self.controls = ControlCopies()
        self.payloads = {condition["uuid"]: condition.get(KEY, {}) for condition in conditions}
        self.shifts: list[Tensor] = []
        self.steps: list[float] = []
        self.held: Held | None = None
        self.started = False

    def start(self, guider: Any) -> None:
        """Check, once the model is loaded, that it is as the edits need it."""
        if self.started:
            return
        self.started = True
        guests.check(guider.inner_model.diffusion_model, self.edits)
        for edit in self.edits:
            if edit.cfg is not None:
                cfg.check_guider(guider, edit.name)
        wanted = self.find("schedule")
        if wanted is not None:
            given = guider.model_patcher.get_attachment(schedule.SIGMAS)
            check_schedule(guider.inner_model.model_sampling.sigmas, given, wanted.name)

    def cut(self, noisy: Tensor, frames: int) -> Cut:
        """Return how a batch of so many frames a video is cut, [N, C, H, W]."""
        if self.find("merge") is not None:  # its layers go among all of them at once
            return Cut(len(noisy) // frames, frames, frames)
        return find_cut(self.find("chunks"), self.patcher.model, noisy, frames)

    def begin(self, sigmas: Tensor) -> None:
        """Begin at the first of a sampler's noise levels, as if nothing had been sampled before."""
        self.steps = sigmas.tolist()
        self.forget()

    def step(self, sigma: float) -> int:
        """Return the sampler's step at a noise level: the nearest one of its schedule."""
        distances = [abs(value - sigma) for value in self.steps] or [0.0]
        return distances.index(min(distances))

    def progress(self, sigma: Tensor) -> float:
        """Return the share of sampling at a noise level, whose first number counts, as ``Call.progress``."""
        return progress_at(self.patcher.model.model_sampling, sigma)

    def call(self, noisy: Tensor, options: dict[str, Any]) -> Call:
        """Return what edits are told of a model call.

        Args:
            noisy: batch of the call, [N, C, H, W].
            options: ComfyUI's ``transformer_options`` of it.

        Raises:
            HostError: the batch is no clip's and no window's.
        """
        chunks = options.get("cond_or_uncond", [0])
        frames = count_videos(noisy.shape[0], len(chunks))  # a chunk is the frames of one video
        uuids = options.get("uuids", [None] * len(chunks))
        window = find_window(options, frames)
        if window is None and frames != self.asked:
            raise HostError(
                f"model: got a call with {frames} pictures for each condition; expected {self.asked}, the frames of "
                "the clip or of a context window; take the node out that cuts pictures into tiles (Tiled Diffusion, "
                "say), or clips into windows of its own (use Context Windows)."
            )
        return Call(
            frames=frames,
            videos=1,
            conditions=tuple(
                Condition(index, self.payloads.get(uuid, {}), key=uuid)
                for index, uuid in zip(chunks, uuids, strict=True)
            ),
            frame_ids=window or tuple(range(frames)),
            sigma=float(options["sigmas"].flatten()[0]),
            progress=self.progress(options["sigmas"]),
            size=(noisy.shape[-2], noisy.shape[-1]),
            is_part=window is not None,
            held=self.held,
            memory=self.memory,
        )


def outer_sample(
    executor: Any,
    noise: Tensor,
    latent_image: Tensor,
    sampler: Any,
    sigmas: Tensor,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Open a run; ComfyUI's OUTER_SAMPLE wrapper. The guider's options are this run's own copy."""
    options = executor.class_obj.model_options["transformer_options"]
    options[RUN_KEY] = run = Run(executor.class_obj, len(noise))
    if not isinstance(executor.class_obj, NodeGuider):
        for note in find_notes(run.edits, _plan(executor.class_obj, noise, sampler, sigmas)):
            _show(note)
    try:
        return executor(arrange_noise(run.edits, noise), latent_image, sampler, sigmas, *args, **kwargs)
    finally:
        options.pop(RUN_KEY, None)


def prepare_sampling(executor: Any, model: Any, noise_shape: Sequence[int], *args: Any, **kwargs: Any) -> Any:
    """Tell core for how many frames at once to make room; ComfyUI's PREPARE_SAMPLING wrapper."""
    run = (kwargs.get("model_options") or {}).get("transformer_options", {}).get(RUN_KEY)
    if run is not None and run.size is not None:
        noise_shape = [find_told(run.find("chunks"), model, noise_shape), *noise_shape[1:]]
    return executor(model, noise_shape, *args, **kwargs)


def _plan(guider: Any, noise: Tensor, sampler: Any, sigmas: Tensor) -> Plan:
    """Return what a guider is about to do with noise, [F, C, H, W]."""
    sampling = guider.model_patcher.get_model_object("model_sampling")
    name = getattr(getattr(sampler, "sampler_function", None), "__name__", None)
    return Plan(
        len(noise),
        timesteps=tuple((1 - progress_at(sampling, sigma)) * LAST_TIMESTEP for sigma in sigmas[:-1]),
        sampler=None if name is None else name.removeprefix("sample_"),
        cfg=guider.cfg if type(guider) is CFGGuider else None,
        size=(noise.shape[-2], noise.shape[-1]),
    )


def _show(text: str) -> None:
    """Show a text on the node that is running, as core's own nodes show their progress; nothing without a server."""
    running, live = get_executing_context(), getattr(server.PromptServer, "instance", None)
    if running is not None and live is not None:
        live.send_progress_text(text, running.node_id)


def sampler_sample(
    executor: Any,
    guider: Any,
    sigmas: Tensor,
    extra_args: dict[str, Any],
    callback: Callable[..., None] | None,
    noise: Tensor,
    latent_image: Tensor,
    denoise_mask: Tensor | None,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """Sample as often as the edits want; ComfyUI's SAMPLER_SAMPLE wrapper. Latents here are in the model's scale."""
    options = extra_args["model_options"]["transformer_options"]  # this run's own copy
    run = options.get(RUN_KEY)
    if run is None:
        return executor(
            guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, *args, **kwargs
        )
    run.held = held_by_mask(latent_image, denoise_mask)

    def once(start: Tensor, levels: Tensor, shown: Callable[[int], int]) -> Tensor:
        def show(step: int, *rest: Any) -> None:
            if callback is not None:
                callback(shown(step), *rest)

        run.begin(levels)
        options["sample_sigmas"] = levels
        return executor(guider, levels, extra_args, show, start, latent_image, denoise_mask, *args, **kwargs)

    highest = float(guider.inner_model.model_sampling.sigma_max)
    edits = () if isinstance(executor.class_obj, OnePass) else run.edits
    return sample_run(edits, once, noise, latent_image, sigmas, highest=highest)


def predict_noise(
    executor: Any,
    x: Tensor,
    timestep: Tensor,
    model_options: dict[str, Any] | None = None,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """Check the model before, the prediction after, and guide each frame; ComfyUI's PREDICT_NOISE wrapper."""
    guider, options = executor.class_obj, model_options or {}
    run = guider.model_options["transformer_options"].get(RUN_KEY)
    if run is None:
        return executor(x, timestep, options, *args, **kwargs)
    run.start(guider)
    sigma = float(timestep.flatten()[0])
    if run.parts("cfg") and guider.conds["negative"]:  # our own look at one prediction has none
        progress = run.progress(timestep)

        def scale(number: float) -> Tensor:
            return run.scale_cfg(number, range(len(x)), progress, x.shape[-2:]).to(x)

        options = cfg.with_scale(options, scale, cfg.number_of(guider))
    prediction = executor(x, timestep, options, *args, **kwargs)
    check_prediction(prediction, step=run.step(sigma), sigma=sigma, frames=prediction.shape[0])
    return prediction


def check_areas(sides: Any, noisy: Tensor) -> None:
    """Check that no condition which carries a payload has an area: its boxes are parts of whole pictures.

    An area of all cells won't do either: ComfyUI gives the other side a copy of it, with the payload.

    Args:
        sides: ComfyUI's lists of conditions.
        noisy: [F, C, H, W]. Latents of the clip.

    Raises:
        ValueError: one has an area.
    """
    for condition in (each for side in sides for each in side or ()):
        if condition.get(KEY) and "area" in condition:
            rows, columns, *_ = condition["area"]
            raise ValueError(
                f"conditioning: got {rows} x {columns} cells of {noisy.shape[-2]} x {noisy.shape[-1]} (an area, or a "
                "mask's bounds) with a layout; expected no area; use Conditioning (Set Mask), with set_cond_area at "
                "default."
            )


def calc_in_pictures(
    executor: Any, model: Any, conds: Any, x_in: Tensor, timestep: Tensor, model_options: dict[str, Any]
) -> Any:
    """Ask about pictures of several frames, where an edit says so; the first CALC_COND_BATCH wrapper."""
    options = model_options.get("transformer_options", {})
    run = options.get(RUN_KEY)
    tiles = run and run.tiles(find_window(options, len(x_in)) or range(len(x_in)))
    if tiles is None:
        return executor(model, conds, x_in, timestep, model_options)
    return ask_in_pictures(executor, model, conds, x_in, timestep, model_options, tiles)


def calc_cond_batch(
    executor: Any, model: Any, conds: Any, x_in: Tensor, timestep: Tensor, model_options: dict[str, Any]
) -> Any:
    """Give ControlNets a window's hints and cross-frame attention, ask several for one; the CALC_COND_BATCH wrapper."""
    options = model_options.get("transformer_options", {})
    run = options.get(RUN_KEY)
    if run is None:
        return executor(model, conds, x_in, timestep, model_options)
    check_areas(conds, x_in)
    window = find_window(options, len(x_in))
    run.asked = run.frames if window is None and TILES not in options else len(x_in)
    if window is not None:
        model_options = {**model_options, "transformer_options": publish(options, window)}

    def in_control(noisy: Tensor, told: dict[str, Any]) -> tuple[Active, Cut]:
        call = run.call(noisy, told)
        return run.at(call, in_control=True), run.cut(noisy, call.frames)

    def ask(sides: Any) -> Any:
        run.shifts.clear()
        answers = executor(model, sides, x_in, timestep, model_options)
        for shift in run.shifts:
            # Of every side, so that no guidance scales it; without channels that stand beside the latents.
            answers = [answer + shift[:, : x_in.shape[1]] for answer in answers]
        return answers

    composition = run.find("conditions")
    is_crossed = any(part.in_control for part in run.parts("self_attention"))
    is_cut = run.size is not None and len(run.cut(x_in, len(x_in)).parts) > 1
    with run.controls.exchanged(
        conds, window, in_control if is_crossed or is_cut else None, crossed=is_crossed
    ) as sides:
        if composition is None:
            return ask(sides)
        return ask_composed(
            ask,
            sides,
            composition,
            run.payloads,
            model,
            x_in,
            sigma=float(timestep.flatten()[0]),
            progress=run.progress(timestep),
            frame_ids=window or range(len(x_in)),
        )


def diffusion_model(
    executor: Any,
    x: Tensor,
    timesteps: Tensor,
    context: Tensor | None = None,
    y: Tensor | None = None,
    control: Any = None,
    transformer_options: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Tensor:
    """Let the UNet do what edits say; ComfyUI's DIFFUSION_MODEL wrapper."""
    options = transformer_options or {}
    run = options.get(RUN_KEY)
    if run is None:
        return executor(x, timesteps, context, y, control, options, **kwargs)
    unet, size = executor.class_obj, run.size
    patches.check_present(run.edits, options)
    guests.check(unet, run.edits)  # again: some come for one call
    call = run.call(x, options)
    if size is None:
        return executor(x, timesteps, context, y, control, options, **kwargs)
    cut = run.cut(x, call.frames)
    active = run.at(replace(call, parts=len(cut.parts)))
    with attention_of(options):
        control = residuals.add_to(control, active, context)
    inputs = guide.Inputs(x, timesteps, context, {"y": y, "control": control, **kwargs}, options)

    def ask(given: guide.Inputs, live: Live) -> Tensor:
        told = patches.tell(live, given.options)
        rest = dict(given.rest)
        y, control = rest.pop("y"), rest.pop("control")
        with hooks.at_work(live), attention_of(told):
            return executor(given.noisy, given.timesteps, given.context, y, control, told, **rest)

    def ask_aside(given: guide.Inputs, call: Call, observer: Observer) -> None:
        ask(given, Live(run.at(call, {"observe": [observer]}), unet, size))

    shift = guide.find_guidance(run, active, unet, inputs, ask_aside)
    if shift is not None:
        run.shifts.append(shift)
    live = Live(active, unet, size)
    return ask(inputs, live) if len(cut.parts) == 1 else ask_in_parts(ask, inputs, live, cut)
