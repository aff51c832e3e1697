"""The denoise loop: conditions to batches, the UNet with its edits, guidance, masks; numerically ComfyUI's.

Nodes and the port end here. Latents that come in and go out are ComfyUI's: divided by the model's latent scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import repeat
from torch import Tensor
from torch.func import functional_call

from ..models.edit import Call, Condition
from ..models.guards import check_prediction
from ..models.schedules import TRAIN_TIMESTEPS
from .edits import EditedRun, edited
from .model import Model
from .samplers import OnStep, Sampler

Conditioning = list[list[Any]]
# What ComfyUI may hang on a condition and this host can't do; ignoring it would give another picture.
_NOT_BUILT = ("area", "mask", "control", "gligen", "hooks", "start_percent", "end_percent", "default")


@dataclass(frozen=True)
class _Group:
    """Conditions that go through the UNet in one batch: their tokens have one length.

    Attributes:
        conditions: one per chunk.
        strengths: of each in the average of its side.
        tokens: [chunks, L, D], or [chunks * F, L, D] where a condition has tokens for every frame.
    """

    conditions: tuple[Condition, ...]
    strengths: tuple[float, ...]
    tokens: Tensor


class Denoiser:
    """Noisy latents and a sigma to denoised latents, with edits and guidance, for one run."""

    def __init__(
        self,
        model: Model,
        run: EditedRun,
        positive: Conditioning,
        negative: Conditioning,
        cfg: float,
        frames: int,
    ) -> None:
        self._model, self._run, self._cfg, self._frames = model, run, cfg, frames
        self._guided = not math.isclose(cfg, 1.0)
        sides = [positive, negative] if self._guided else [positive]
        self._groups = _group(sides, frames, model)
        self._step = 0

    def __call__(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Return denoised latents, [F, C, H, W] float32."""
        sides = [torch.zeros_like(noisy) for _ in range(1 + self._guided)]
        totals = [0.0] * len(sides)
        for group in self._groups:
            for condition, strength, clean in zip(
                group.conditions, group.strengths, self._predict(group, noisy, sigma), strict=True
            ):
                sides[condition.index] += strength * clean
                totals[condition.index] += strength
        self._step += 1
        positive = sides[0] / totals[0]
        if not self._guided:
            return positive
        negative = sides[1] / totals[1]
        return negative + (positive - negative) * self._cfg

    def _predict(self, group: _Group, noisy: Tensor, sigma: Tensor) -> Sequence[Tensor]:
        """Run the UNet once; returns one [F, C, H, W] per chunk."""
        model, sampling = self._model, self._model.sampling
        timestep = sampling.timestep(sigma)
        self._run.call = Call(
            frames=self._frames,
            videos=1,
            conditions=group.conditions,
            frame_ids=tuple(range(self._frames)),
            sigma=float(sigma),
            progress=1 - timestep / (TRAIN_TIMESTEPS - 1),
        )
        chunks = len(group.conditions)
        seen = repeat(sampling.scale_input(noisy, sigma), "f c h w -> (n f) c h w", n=chunks)
        output = functional_call(
            model.unet,
            dict(model.weights),
            (seen.to(model.unet.dtype), torch.full((1,), timestep, device=noisy.device)),
            {"encoder_hidden_states": group.tokens, "return_dict": False},
        )[0].float()
        check_prediction(output, step=self._step, sigma=float(sigma), frames=self._frames)
        return [sampling.denoised(part, noisy, sigma) for part in output.chunk(chunks)]


def _group(sides: list[Conditioning], frames: int, model: Model) -> list[_Group]:
    """Batch conditions by the length of their tokens; negative first, as ComfyUI lays them."""
    by_length: dict[int, list[tuple[int, Tensor, Mapping[str, Any]]]] = {}
    for index, side in reversed(list(enumerate(sides))):
        if not side:
            name = ("positive", "negative")[index]
            raise ValueError(
                f"{name}: got no condition; expected at least one; connect a CLIPTextEncode to {name}."
            )
        for tokens, options in side:
            unable = [key for key in _NOT_BUILT if options.get(key) is not None]
            if unable:
                raise ValueError(
                    f"conditioning: {unable[0]!r} is not built headless; run this workflow in ComfyUI."
                )
            by_length.setdefault(tokens.shape[1], []).append((index, tokens, options))
    groups = []
    for members in by_length.values():
        per_frame = any(tokens.shape[0] > 1 for _, tokens, _ in members)
        rows = [_cycle(tokens, frames) if per_frame else tokens for _, tokens, _ in members]
        groups.append(
            _Group(
                tuple(
                    Condition(index, options.get("frameloom", {}), key=(index, number))
                    for number, (index, _, options) in enumerate(members)
                ),
                tuple(float(options.get("strength", 1.0)) for _, _, options in members),
                torch.cat([row.to(model.device, model.unet.dtype) for row in rows]),
            )
        )
    return groups


def _cycle(batch: Tensor, length: int) -> Tensor:
    """Repeat a batch from its beginning until it has ``length`` rows, or cut it."""
    return batch[torch.arange(length, device=batch.device) % batch.shape[0]]


def prepare_mask(mask: Tensor, latent: Tensor) -> Tensor:
    """Bring a noise mask, [N, H', W'] or [N, 1, H', W'], to latents: [F, C, H, W] float32, 1 = generate."""
    mask = mask.reshape(-1, 1, *mask.shape[-2:]).float()
    mask = torch.nn.functional.interpolate(mask, size=latent.shape[2:], mode="bilinear")
    return _cycle(mask, latent.shape[0]).expand(-1, latent.shape[1], -1, -1).to(latent.device)


@torch.no_grad()
def sample(
    model: Model,
    noise: Tensor,
    positive: Conditioning,
    negative: Conditioning,
    *,
    cfg: float,
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
        noise: [F, C, H, W] of unit variance, or zeros where the latents are noisy already.
        positive: what to draw.
        negative: what not to draw; not run at ``cfg`` 1.
        cfg: guidance scale.
        sampler: from ``samplers``.
        sigmas: [steps + 1] float32, descending.
        latent: [F, C, H, W]. What to start from; zeros for text-to-image.
        mask: [F or 1, 1, H', W'], 1 = generate; None = everywhere.
        seed: of the noise that ancestral samplers draw.
        on_step: called after each step with (0-based step, denoised latents as they would come out).
        check_interrupt: called before each step; raises to stop.

    Returns:
        The latents, and the last step's denoised latents, [F, C, H, W] float32 on the latent's device.

    Raises:
        ValueError: shapes don't match, or a condition holds what is not built here.
        PredictionError: a prediction is not finite.
    """
    if noise.shape != latent.shape:
        raise ValueError(
            f"noise is {tuple(noise.shape)}, latent is {tuple(latent.shape)}; expected equal shapes; make the noise "
            "from this latent."
        )
    if len(sigmas) < 2:
        return latent, latent
    home = latent.device
    noise, start = noise.to(model.device).float(), latent.to(model.device).float() * model.latent_scale
    levels = sigmas.cpu().float()
    blend = None if mask is None else prepare_mask(mask.to(model.device), start)
    mask_noise = noise
    if sampler.fresh_mask_noise and blend is not None:
        mask_noise = torch.randn(noise.shape, generator=torch.Generator().manual_seed((seed or 0) + 1)).to(
            noise
        )
    last = start

    def step_done(step: int, clean: Tensor) -> None:
        nonlocal last
        last = clean
        if on_step is not None:
            on_step(step, clean / model.latent_scale)

    with edited(model.unet, model.edits) as run:
        predict = Denoiser(model, run, positive, negative, cfg, frames=latent.shape[0])

        def denoise(noisy: Tensor, sigma: Tensor) -> Tensor:
            if check_interrupt is not None:
                check_interrupt()
            if blend is None:
                return predict(noisy, sigma)
            kept = start + mask_noise * sigma
            return predict(noisy * blend + kept * (1 - blend), sigma) * blend + start * (1 - blend)

        noisy = model.sampling.add_noise(start, noise, levels[0])
        result = sampler.run(denoise, noisy, levels, seed, step_done)
    return (result / model.latent_scale).to(home), (last / model.latent_scale).to(home)
