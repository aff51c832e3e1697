"""What edits are told and do while ComfyUI samples: one ``Run`` a sampling run, one ``LiveCall`` a model call.

ComfyUI's wrappers are the only way in. A run lives in the options of the guider that samples and nowhere else, so it is
gone when the run is, whatever ended it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from ...models.cross_frame import AnchorMemory
from ...models.edit import AttentionObserver, Call, CallBias, Composition, Condition, Edit, TemporalEdit
from ...models.energy import find_guide
from ...models.errors import HostError
from ...models.frames import count_videos
from ...models.free_init import sample_repeatedly
from ...models.free_noise import arrange_noise, find_fusion
from ...models.gligen import Change, check_boxes
from ...models.guards import check_prediction, check_schedule, find_still
from ...models.mask_adapter import given_by_mask, given_in
from ...models.network.unet import UNetSize
from . import bias, energy, guests, hooks, observe, patches
from .attention import Crossing, LiveAttention
from .compose import ask_composed
from .control import ControlCopies
from .motion import attention_of
from .network import size_of
from .predict import NodeGuider, OnePass
from .show import show_text
from .slots import KEY
from .windows import find_window, publish

RUN_KEY, SCHEDULE_KEY = f"{KEY}.run", f"{KEY}.schedule"
LAST_TIMESTEP = 999


class Acting:
    """A model's edits with what each needs to act: its network, and what it remembers between calls."""

    def __init__(self, edits: Sequence[Edit], modules: Sequence[nn.Module], network: UNetSize | None) -> None:
        """Take edits.

        Args:
            edits: in their order.
            modules: the network of each edit that has a motion module.
            network: the model's; None: one that has no such table, and no edits of its layers.
        """
        self.edits, self.modules, self.network = tuple(edits), modules, network
        self.forget()

    def forget(self) -> None:
        """Drop what edits remember of earlier calls."""
        self._memories = [AnchorMemory() for _ in self.edits]

    def crossing(self, call: Call, *, in_control: bool = False) -> Crossing | None:
        """Return the cross-frame edits that act in a call of the UNet, or of a ControlNet; None: none does."""
        parts = [
            (edit.cross_frame, memory)
            for edit, memory in zip(self.edits, self._memories, strict=True)
            if edit.cross_frame is not None
            and edit.cross_frame.strength_at(call) != 0
            and (edit.cross_frame.in_control or not in_control)
        ]
        return Crossing(call, parts) if parts else None

    def bias(self, call: Call) -> CallBias | None:
        """Return what the edits add to cross-attention in a call of the UNet; None: no edit has a bias."""
        parts = [edit.bias for edit in self.edits if edit.bias is not None]
        return CallBias(call, parts) if parts else None

    def ground(self, call: Call) -> Change | None:
        """Return what GLIGEN does in a call of the UNet, the last edit's; None: nothing."""
        last = next((edit.gligen for edit in self.edits[::-1] if edit.gligen is not None), None)
        return None if last is None else last.start(call)

    @property
    def networks(self) -> list[nn.Module]:
        """What runs beside the UNet: motion modules, and GLIGEN's layers."""
        return [*self.modules, *(edit.gligen.network for edit in self.edits if edit.gligen is not None)]

    @property
    def composition(self) -> Composition | None:
        """What makes one prediction of several; the last edit's."""
        return next((edit.compose for edit in self.edits[::-1] if edit.compose is not None), None)


class Run(Acting):
    """One sampling run of an edited model."""

    def __init__(self, guider: Any, frames: int) -> None:
        """Take what samples, and the number of frames of the clip."""
        patcher = guider.model_patcher
        if patcher.get_additional_models_with_key("multigpu"):
            raise HostError(
                "Frameloom's edits run on one GPU; got a model spread over several; remove the MultiGPU node from it."
            )
        modules = [motion.model for motion in patcher.get_additional_models_with_key(KEY)]
        super().__init__(patcher.get_attachment(KEY), modules, size_of(patcher.model.diffusion_model))
        self.frames = self.asked = frames
        self.controls = ControlCopies()
        self.payloads = {
            condition["uuid"]: condition.get(KEY, {})
            for conditions in guider.conds.values()
            for condition in conditions
        }
        has_edit = any(edit.gligen is not None for edit in self.edits)
        grounded = [
            condition["gligen"][0]
            for conditions in guider.conds.values()
            for condition in conditions
            if condition.get("gligen") is not None
        ]
        for kind in grounded:
            check_boxes(kind, has_edit=has_edit)
        self.guide = find_guide(self.edits, has_boxes=bool(grounded))
        self.shifts: list[Tensor] = []
        self.steps: list[float] = []
        self.given: Tensor | None = None
        self.started = False

    def start(self, guider: Any) -> None:
        """Check, once the model is loaded, that it is as the edits need it."""
        if self.started:
            return
        self.started = True
        guests.check(guider.inner_model.diffusion_model, self.edits)
        scheduled = [edit.schedule for edit in self.edits if edit.schedule is not None]
        if scheduled:
            wanted = guider.model_patcher.get_attachment(SCHEDULE_KEY)
            check_schedule(guider.inner_model.model_sampling.sigmas, wanted, scheduled[-1].name)

    def begin(self, sigmas: Tensor) -> None:
        """Begin at the first of a sampler's noise levels, as if nothing had been sampled before."""
        self.steps = sigmas.tolist()
        self.forget()

    def step(self, sigma: float) -> int:
        """Return the sampler's step at a noise level: the nearest one of its schedule."""
        distances = [abs(value - sigma) for value in self.steps] or [0.0]
        return distances.index(min(distances))

    def call(self, noisy: Tensor, timestep: float, options: dict[str, Any]) -> Call:
        """Return what edits are told of a model call.

        Args:
            noisy: its batch, [N, C, H, W].
            timestep: of training, 0 to 999.
            options: ComfyUI's ``transformer_options`` of it.

        Raises:
            HostError: the batch is no clip's and no window's.
        """
        chunks = options.get("cond_or_uncond", [0])
        frames = count_videos(
            noisy.shape[0], len(chunks)
        )  # ComfyUI: a batch of chunks, each the frames of one video
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
            progress=1 - timestep / LAST_TIMESTEP,
            size=(noisy.shape[-2], noisy.shape[-1]),
            is_part=window is not None,
            given=self.given,
        )


class LiveCall:
    """One model call, as the slots see it."""

    def __init__(self, call: Call, acting: Acting, transformer_options: dict[str, Any]) -> None:
        """Work out what acts.

        Args:
            call: the model call.
            acting: the model's edits.
            transformer_options: ComfyUI's, of this call.
        """
        self.call = call
        temporal = [edit.temporal for edit in acting.edits if edit.temporal is not None]
        self.active: list[tuple[TemporalEdit, Any, float]] = [
            (part, module, strength)
            for part, module in zip(temporal, acting.modules, strict=True)
            if (strength := part.strength_at(call)) != 0
        ]
        self._encoders = [
            (module.mask_encoder, strength)
            for _, module, strength in self.active
            if module.mask_encoder is not None
        ]
        self._given = given_in(call) if self._encoders else None
        self.fusion = find_fusion(acting.edits)
        crossing = acting.crossing(call)
        self.attention = (
            None if crossing is None else LiveAttention(crossing, acting.network, transformer_options)
        )
        biases = acting.bias(call)
        self.ground = acting.ground(call)
        self._bias = (
            {} if biases is None else bias.LiveBias(biases, acting.network, transformer_options).options()
        )

    def options(self, transformer_options: dict[str, Any]) -> dict[str, Any]:
        """Return the call's options with what our patches read in them."""
        return {**transformer_options, KEY: self, **self._bias}

    @property
    def norm_frames(self) -> int:
        """Frames over which the UNet's residual norms go."""
        over_clip = any(edit.motion.weights.clip_norm for edit, _, _ in self.active)
        return self.call.frames if over_clip else 1

    def run_slot(self, name: str, hidden: Tensor) -> Tensor:
        """Run a slot of every motion module that has it, in the order of their edits."""
        for _, module, strength in self.active:
            if name in module.slots:
                hidden = module(name, hidden, self.call.frames, strength, self.fusion)
        return hidden

    def run_stem(self, hidden: Tensor) -> Tensor:
        """Add what every motion module's mask encoder makes of what is given, in the order of their edits."""
        if self._given is not None:
            for encoder, strength in self._encoders:
                hidden = encoder(hidden, self._given, strength)
        return hidden


def outer_sample(executor: Any, noise: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Open a run; ComfyUI's OUTER_SAMPLE wrapper. The guider's options are this run's own copy."""
    options = executor.class_obj.model_options["transformer_options"]
    options[RUN_KEY] = run = Run(executor.class_obj, len(noise))
    if not isinstance(executor.class_obj, NodeGuider) and (still := find_still(run.edits, run.frames)):
        show_text(still)
    try:
        return executor(arrange_noise(run.edits, noise), *args, **kwargs)
    finally:
        options.pop(RUN_KEY, None)


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
    run.given = given_by_mask(latent_image, denoise_mask)

    def once(start: Tensor, levels: Tensor, shown: Callable[[int], int]) -> Tensor:
        def show(step: int, *rest: Any) -> None:
            if callback is not None:
                callback(shown(step), *rest)

        run.begin(levels)
        options["sample_sigmas"] = levels
        return executor(guider, levels, extra_args, show, start, latent_image, denoise_mask, *args, **kwargs)

    highest = float(guider.inner_model.model_sampling.sigma_max)
    edits = () if isinstance(executor.class_obj, OnePass) else run.edits
    return sample_repeatedly(edits, once, noise, latent_image, sigmas, highest=highest)


def predict_noise(executor: Any, x: Tensor, timestep: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Check the model before, the prediction after; ComfyUI's PREDICT_NOISE wrapper."""
    guider = executor.class_obj
    run = guider.model_options["transformer_options"].get(RUN_KEY)
    if run is None:
        return executor(x, timestep, *args, **kwargs)
    run.start(guider)
    prediction = executor(x, timestep, *args, **kwargs)
    sigma = float(timestep.flatten()[0])
    check_prediction(prediction, step=run.step(sigma), sigma=sigma, frames=prediction.shape[0])
    return prediction


def check_areas(sides: Any, noisy: Tensor) -> None:
    """Check that no condition which carries a payload has an area: its boxes are parts of whole pictures.

    An area of all cells won't do either: ComfyUI gives the other side a copy of it, with the payload.

    Args:
        sides: ComfyUI's lists of conditions.
        noisy: [F, C, H, W]. Their latents.

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
    run.asked = run.frames if window is None else len(window)
    if window is not None:
        model_options = {**model_options, "transformer_options": publish(options, window)}

    def time_of(sigma: Tensor) -> float:
        return float(model.model_sampling.timestep(sigma.flatten()[:1]))

    def cross(noisy: Tensor, sigma: Tensor, told: dict[str, Any]) -> Crossing | None:
        return run.crossing(run.call(noisy, time_of(sigma), told), in_control=True)

    def ask(sides: Any) -> Any:
        run.shifts.clear()
        answers = executor(model, sides, x_in, timestep, model_options)
        for shift in run.shifts:
            # Of every side, so that no guidance scales it; without channels that stand beside the latents.
            answers = [answer + shift[:, : x_in.shape[1]] for answer in answers]
        return answers

    in_control = any(edit.cross_frame and edit.cross_frame.in_control for edit in run.edits)
    with run.controls.exchanged(conds, window, cross if in_control else None) as sides:
        if run.composition is None:
            return ask(sides)
        return ask_composed(
            ask,
            sides,
            run.composition,
            run.payloads,
            sigma=float(timestep.flatten()[0]),
            progress=1 - time_of(timestep) / LAST_TIMESTEP,
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
    unet = executor.class_obj
    patches.check_present(run.edits, options)
    guests.check(unet, run.edits)  # again: some come for one call
    call = run.call(x, float(timesteps.flatten()[0]), options)
    inputs = energy.Inputs(x, timesteps, context, {"y": y, "control": control, **kwargs}, options)

    def ask(given: energy.Inputs, asked: Call, observers: Sequence[AttentionObserver]) -> Tensor:
        live = LiveCall(asked, run, given.options)
        told = {**live.options(given.options), **observe.watching(unet, run.network, asked, observers)}
        rest = dict(given.rest)
        y, control = rest.pop("y"), rest.pop("control")
        with hooks.at_work(unet, live), attention_of(told):
            return executor(given.noisy, given.timesteps, given.context, y, control, told, **rest)

    shift = energy.guide(run, [unet, *run.networks], call, inputs, ask)
    if shift is not None:
        run.shifts.append(shift)
    return ask(inputs, call, [edit.observe for edit in run.edits if edit.observe is not None])
