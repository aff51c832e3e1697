"""The denoise loop: the UNet with its edits and ControlNets, guidance, masks; numerically ComfyUI's.

Nodes and the port end here. Latents that come in and go out are ComfyUI's: divided by the model's latent scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from einops import repeat
from torch import Tensor
from torch.func import functional_call

from ...models.edits.active import Active, check_composed
from ...models.edits.call import Call, Held, held_by_mask
from ...models.edits.edit import Edit, Observer
from ...models.edits.guide import find_shift
from ...models.edits.lockstep import Cut
from ...models.edits.run import arrange_noise, sample_run
from ...models.video.guards import check_frames, check_prediction, check_sampled
from ...models.video.schedules import TRAIN_TIMESTEPS
from ...models.video.windows import Window
from ..samplers.table import Sampler
from ..samplers.walk import OnStep, Walk
from ..seams import residuals
from ..weights.model import Model
from .added import added_options
from .conditions import Group, RunCondition, RunConditions
from .control import ControlRun
from .edits import EditedRun, edited
from .fitting import cycle
from .guidance import Guidance, options_of
from .parts import InParts, find_cut


class Denoiser:
    """Noisy latents and a sigma to denoised latents, with edits and guidance, for one run."""

    def __init__(
        self,
        model: Model,
        run: EditedRun,
        guidance: Guidance,
        shape: torch.Size,
        levels: Tensor,
        held: Held | None = None,
    ) -> None:
        self._model, self._run, self._guidance, self._held = model, run, guidance, held
        self._levels = levels.tolist()
        self._frames, self._channels = shape[:2]
        windows = run.find("windows")
        self._windows = windows if windows is not None and windows.is_needed(self._frames) else None
        self._compose, self._guide = run.find("conditions"), run.find("guide")
        self._conditions = RunConditions(guidance.sides, model, shape)
        self._shift: Tensor | None = None
        self._control = ControlRun(model.sampling, run)
        self._step = 0
        self._answers: list[Tensor] = []

    def __call__(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Return denoised latents, [F, C, H, W] float32. A side without a condition at this sigma answers 0."""
        near = (step for step, level in enumerate(self._levels) if math.isclose(level, sigma, rel_tol=1e-4))
        self._step = next(near, self._step)  # a look between two levels is of the step before
        self._answers = self._in_windows(noisy, sigma) if self._windows else self._ask_sides(noisy, sigma)
        return self._guidance.combine(self._answers, partial(self._scale_cfg, noisy, sigma))

    def _scale_cfg(self, noisy: Tensor, sigma: Tensor, cfg: float) -> float | Tensor:
        """Return the guidance of each frame; one forward pass, whose negative is not asked, has none."""
        if not self._guidance.asks_all:
            return cfg
        progress = 1 - self._model.sampling.timestep(sigma) / (TRAIN_TIMESTEPS - 1)
        scaled = self._run.scale_cfg(cfg, range(self._frames), progress, noisy.shape[-2:])
        return scaled.to(noisy) if isinstance(scaled, Tensor) else scaled

    def unguided(self) -> Tensor:
        """Return the last answer as it was without guidance, [F, C, H, W] float32."""
        return self._guidance.unguided(self._answers)

    def _in_windows(self, noisy: Tensor, sigma: Tensor) -> list[Tensor]:
        """Return every side's answer about a clip, [F, C, H, W], the weighted mean of those about its windows."""
        assert self._windows is not None
        totals = [torch.zeros_like(noisy) for _ in self._guidance.sides]
        shares = torch.zeros(self._frames, 1, 1, 1, device=noisy.device)
        for window in self._windows.windows(self._frames, self._step):
            weights = torch.tensor(self._windows.weigh(window, self._frames), device=noisy.device)
            weights, places = weights[:, None, None, None], list(window)
            for total, answer in zip(totals, self._ask_sides(noisy[places], sigma, window), strict=True):
                total[places] += weights * answer
            shares[places] += weights
        return [total / shares for total in totals]

    def _ask_sides(self, noisy: Tensor, sigma: Tensor, window: Window | None = None) -> list[Tensor]:
        """Return every side's answer about the frames of a window; None: about the clip."""
        frame_ids = window or tuple(range(self._frames))
        active = self._conditions.at(float(sigma))
        progress = 1 - self._model.sampling.timestep(sigma) / (TRAIN_TIMESTEPS - 1)
        asked = {each.condition.key: self._variants(each, progress) for each in active}
        self._shift = None
        clean = {
            condition.key: answer
            for group in self._conditions.batches(
                [one for variants in asked.values() for one in variants], frame_ids
            )
            for condition, answer in zip(
                group.conditions, self._predict(group, noisy, sigma, frame_ids), strict=True
            )
        }
        answers: list[Tensor] = [torch.zeros_like(noisy) for _ in self._guidance.sides]
        for index in {each.condition.index for each in active}:
            side = [each for each in active if each.condition.index == index]
            answers[index] = self._answer(side, asked, clean, frame_ids, progress)
        if self._shift is not None:  # of every side, so that no guidance scales it
            answers = [answer + self._shift for answer in answers]
            check_prediction(answers[0], step=self._step, sigma=float(sigma), frames=len(frame_ids))
        return answers

    def _variants(self, each: RunCondition, progress: float) -> list[RunCondition]:
        """Return what is asked in a condition's place: itself, or what an edit makes one prediction of."""
        if self._compose is None:
            return [each]
        variants = self._compose.variants(each.condition.payload, progress)
        return [each.variant(number, question) for number, question in enumerate(variants)] or [each]

    def _answer(
        self,
        side: Sequence[RunCondition],
        asked: Mapping[Hashable, Sequence[RunCondition]],
        clean: Mapping[Hashable, Tensor],
        frame_ids: Sequence[int],
        progress: float,
    ) -> Tensor:
        """Return a side's answer: the average of its conditions by weight; where one is several, of each in turn."""
        weights = [each.weight_of(frame_ids) for each in side]
        total = sum(weights)
        total = total.clamp(min=1e-37) if isinstance(total, Tensor) else total or 1.0
        several = [each for each in side if asked[each.condition.key] != [each]]
        composed = check_composed(self._compose, several)

        def average(number: int) -> Tensor:
            parts = (asked[each.condition.key][number if each is composed else 0] for each in side)
            mixed = [weight * clean[part.condition.key] for weight, part in zip(weights, parts, strict=True)]
            return sum(mixed[1:], mixed[0]) / total

        if composed is None or self._compose is None:
            return average(0)
        payload, count = composed.condition.payload, len(asked[composed.condition.key])
        answers = [average(number) for number in range(count)]
        return self._compose.compose(payload, answers, frame_ids, progress)

    def _predict(
        self, group: Group, noisy: Tensor, sigma: Tensor, frame_ids: tuple[int, ...]
    ) -> Sequence[Tensor]:
        """Run the UNet once; returns one [F, C, H, W] per chunk."""
        sampling = self._model.sampling
        timestep = sampling.timestep(sigma)
        tiles = self._run.tiles(frame_ids)
        if tiles is not None:
            noisy, group = tiles.tile(noisy), group.tiled(tiles)
        call = Call(
            frames=len(noisy),
            videos=1,
            conditions=group.conditions,
            frame_ids=frame_ids if tiles is None else tuple(range(len(noisy))),
            sigma=float(sigma),
            progress=1 - timestep / (TRAIN_TIMESTEPS - 1),
            size=(noisy.shape[-2], noisy.shape[-1]),
            is_part=self._windows is not None,
            held=self._held,
            memory=self._run.memory,
        )
        sides = len(group.conditions)
        seen = repeat(sampling.scale_input(noisy, sigma), "f c h w -> (n f) c h w", n=sides)
        whole = self._run.find("merge") is not None  # its layers go among all frames at once
        cut = (
            Cut(sides, call.frames, call.frames)
            if whole
            else find_cut(self._run.find("chunks"), seen, call.frames)
        )
        active = self._run.begin(replace(call, parts=len(cut.parts)), group.brought)
        step = torch.full((1,), timestep, device=noisy.device)
        control = self._control.residuals(
            group.control, seen, step, group.tokens, sigma=float(sigma), call=call, cut=cut, tiles=tiles
        )
        control = residuals.add_to(control, active, group.tokens)
        if group.concat is not None:
            seen = torch.cat([seen, group.concat.to(seen)], dim=1)
        options = {"encoder_hidden_states": group.tokens, **control, **added_options(group.added, len(seen))}
        self._add_shift(active, seen, step, options)
        output = self._ask(seen, step, options, cut).float()
        check_prediction(output, step=self._step, sigma=float(sigma), frames=call.frames)
        answers = [sampling.denoised(part, noisy, sigma) for part in output.chunk(sides)]
        return answers if tiles is None else [tiles.untile(answer) for answer in answers]

    def _ask(self, seen: Tensor, step: Tensor, options: Mapping[str, Any], cut: Cut | None = None) -> Tensor:
        """Run the UNet, [N, C, H, W] to the same."""
        network, weights = self._model.unet, dict(self._model.weights)
        inputs, options = (seen.to(network.dtype), step), {"return_dict": False, **options}
        if cut is not None and len(cut.parts) > 1:
            network = InParts(network, self._run, cut)
            weights = {f"unet.{name}": weight for name, weight in weights.items()}
        return functional_call(network, weights, inputs, options)[0]

    def _add_shift(self, active: Active, seen: Tensor, step: Tensor, options: Mapping[str, Any]) -> None:
        """Add how far the guide moves the clean latents of a call."""
        if self._guide is None:
            return

        def ask(noisy: Tensor, rows: slice, part: Call, observer: Observer) -> None:
            with self._run.aside(part, observer):
                self._ask(noisy, step.clone(), _rows_of(options, rows, active.call))

        shift = find_shift(self._guide, active.call, seen, ask, apart=active.keeps_frames_apart)
        if shift is not None:
            shift = shift[:, : self._channels]
            self._shift = shift if self._shift is None else self._shift + shift


def _rows_of(value: Any, rows: slice, call: Call) -> Any:
    """Return some rows of a batch's arguments: of tensors with a row for each picture, or for each condition."""
    if isinstance(value, Mapping):
        return {name: _rows_of(each, rows, call) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rows_of(each, rows, call) for each in value]
    if len(value) == call.frames * len(call.conditions):
        return value[rows].clone()
    number = rows.start // call.frames
    return value[number : number + 1].clone()


def prepare_mask(mask: Tensor, latent: Tensor) -> Tensor:
    """Bring a noise mask, [N, H', W'] or [N, 1, H', W'], to latents: [F, C, H, W] float32, 1 = generate."""
    mask = mask.reshape(-1, 1, *mask.shape[-2:]).float()
    mask = torch.nn.functional.interpolate(mask, size=latent.shape[2:], mode="bilinear")
    return cycle(mask, latent.shape[0]).expand(-1, latent.shape[1], -1, -1).to(latent.device)


def _asks_all(guidance: Guidance, sampler: Sampler, edits: Sequence[Edit]) -> bool:
    """Tell whether a run asks every side: it or its sampler wants them, or each frame has a guidance of its own."""
    return guidance.asks_all or sampler.needs_unguided or any(edit.cfg is not None for edit in edits)


@torch.no_grad()
def sample(
    model: Model,
    noise: Tensor,
    guidance: Guidance,
    *,
    sampler: Sampler,
    sigmas: Tensor,
    latent: Tensor,
    mask: Tensor | None = None,
    seed: int | None = None,
    on_step: OnStep | None = None,
    check_interrupt: Callable[[], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Denoise a clip.

    Args:
        model: a clone with its edits.
        noise: noise of unit variance, [F, C, H, W], or zeros where the latents are noisy already.
        guidance: conditions, and the scales by which they are mixed.
        sampler: one of ``samplers``.
        sigmas: [steps + 1] float32, descending.
        latent: latents to start from, [F, C, H, W]; zeros for text-to-image.
        mask: [F or 1, 1, H', W'], 1 = generate; None = everywhere.
        seed: seed of the noise that ancestral samplers draw.
        on_step: function that is called after each step with (0-based step, denoised latents as they would come out).
        check_interrupt: function that is called before each step; it raises to stop.

    Returns:
        The latents, and the last step's denoised latents, [F, C, H, W] float32 on the latent's device.

    Raises:
        ValueError: shapes don't match, or a condition holds what is not built here or doesn't fit the model.
        PredictionError: the latent, a prediction or the result is not finite.
    """
    if noise.shape != latent.shape:
        raise ValueError(
            f"noise is {tuple(noise.shape)}, latent is {tuple(latent.shape)}; expected equal shapes; make the noise "
            "from this latent."
        )
    if len(sigmas) == 0:
        return latent, latent
    check_frames(latent, "latent")
    guidance = replace(guidance, asks_all=_asks_all(guidance, sampler, model.edits))
    home = latent.device
    noise = arrange_noise(model.edits, noise).to(model.device).float()
    start = latent.to(model.device).float() * model.latent_scale
    blend = None if mask is None else prepare_mask(mask.to(model.device), start)
    last: Tensor | None = None

    def once(drawn: Tensor, levels: Tensor, shown: Callable[[int], int]) -> Tensor:
        mask_noise = drawn
        if sampler.fresh_mask_noise and blend is not None:
            generator = torch.Generator().manual_seed((seed or 0) + 1)
            mask_noise = torch.randn(drawn.shape, generator=generator).to(drawn)

        def step_done(step: int, clean: Tensor) -> None:
            nonlocal last
            last = clean
            if on_step is not None:  # a sampler of free stride may take more steps than there are levels
                on_step(shown(min(step, len(levels) - 2)), clean / model.latent_scale)

        with edited(model.unet, model.edits, options_of(guidance)) as run:
            predict = Denoiser(model, run, guidance, latent.shape, levels, held_by_mask(start, blend))

            def denoise(noisy: Tensor, sigma: Tensor) -> Tensor:
                if check_interrupt is not None:
                    check_interrupt()
                if blend is None:
                    return predict(noisy, sigma)
                kept = start + mask_noise * sigma
                return predict(noisy * blend + kept * (1 - blend), sigma) * blend + start * (1 - blend)

            noisy = model.sampling.add_noise(start, drawn, levels[0])
            return sampler.run(Walk(denoise, levels, seed, step_done, predict.unguided), noisy)

    highest = float(model.sampling.sigmas[-1])
    result = sample_run(model.edits, once, noise, start, sigmas.cpu().float(), highest=highest)
    check_sampled(result)
    last = result if last is None else last
    return (result / model.latent_scale).to(home), (last / model.latent_scale).to(home)
