"""Foreground masks from the model's own reading of a phrase."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ...host import api
from ...models.edits.edit import Edit
from ...models.network.family import check_channels, check_offered, check_tokens
from ...models.network.unet import SD1
from ...models.video.latents import number_frames
from ...models.video.noise import draw_noise
from ...models.video.schedules import TRAIN_TIMESTEPS
from ...models.zero_shot.foreground import (
    PhraseAttention,
    check_cleaning,
    check_clip,
    clean_masks,
    contrast,
    normalise,
)
from ...models.zero_shot.latents import add_noise
from ..early import UNLINKED, check_early
from ..widgets import choice, line, lines, out, percent, schema, seed, share, socket, whole
from .latents import read_levels

io = api.io

Method = Literal["contrast", "attention"]
Noisy = list[tuple[dict[str, Any], float]]  # latents with noise, and its level, for each pass


class ForegroundMask(io.ComfyNode):
    """Find what a phrase of the prompt names in the latents of a video, without a segmenter.

    The node adds noise, asks the model once more, and sees where the phrase counts. Made for Background
    Smooth. With a mask connected, the model is not asked and that mask is cleaned instead.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Foreground Mask", "zero-shot",
            aliases=["Text2Video-Zero", "DiffEdit", "DAAM", "attention mask", "segment by prompt"],
            inputs=[
                socket(io.Model, "model", "The model that made the video, or another of its kind."),
                socket(io.Clip, "clip", "The model's text encoder."),
                lines("prompt", None, "The prompt that made the video: what is in it."),
                line("phrase", None,
                    "Words of the prompt that name the foreground, side by side, such as `red circle`. "
                    "Weights may stand in the prompt."),
                socket(io.Latent, "latent", "The video, sampled to the end: a frame each."),
                choice("method", get_args(Method),
                    "Method by which the phrase is found. contrast: where the phrase changes the prediction "
                    "for the better (DiffEdit); two forward passes each time. attention: where "
                    "cross-attention reads the phrase more than other words (Prompt-to-Prompt, DAAM); one "
                    "forward pass. In the demo model attention does not tell where a shape is."),
                seed(
                    "Seed of the noise that is added. A frame's noise depends on the seed and the frame's "
                    "number alone."),
                whole("passes", 2, 1, 3,
                    "Number of times to ask, each time with other noise; the answers are averaged."),
                percent("at_percent", 0.6,
                    "Point of sampling whose noise is added: 0 is pure noise, 1 nearly none. With much noise "
                    "the model no longer sees where things are; with little it no longer asks the prompt."),
                line("levels", ", ".join(map(str, SD1.levels)),
                    "Levels of the UNet in which attention looks: 0 is the finest, 2 the coarsest, 3 the "
                    "middle block. SDXL has attention at 1 and 2, and its middle block is of 2."),
                share("threshold", 0.4,
                    "Least value of the foreground, as a share of the way from the clip's lowest to its "
                    "highest value; of a connected mask, the value itself."),
                whole("dilation", 5, 1, 63,
                    "Side of the square by which the foreground grows, in cells of the latents (8 pixels "
                    "each); odd, 1 grows nothing. 5 is the paper's, for pictures of 512 pixels; the demo's "
                    "128 pixels want 3.", step=2),
                whole("hold", 0, 0, 100,
                    "Number of frames before and after, whose foreground a frame takes over. This steadies a "
                    "mask that flickers."),
                socket(io.Mask, "mask",
                    "A mask for each frame, of any segmenter and size, to be cleaned by threshold, dilation "
                    "and hold. Model, prompt and phrase are not read then.", optional=True),
            ],
            outputs=[
                out(io.Mask, "mask",
                    "A mask for each frame, 1 = foreground, with one value for each cell of the latents: an "
                    "eighth of the picture's size."),
            ],
            has_intermediate_output=True,
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, phrase: str | None, levels: str | None, mask: Any = UNLINKED) -> bool | str:
        """Refuse a phrase and levels that name nothing, where they are read."""
        if mask is not UNLINKED:
            return True
        said = check_early(_check_phrase, phrase)
        return said if said is not True else check_early(read_levels, levels)

    @classmethod
    def execute(
        cls,
        model: Any,
        clip: Any,
        prompt: str,
        phrase: str,
        latent: dict[str, Any],
        method: Method,
        seed: int,
        passes: int,
        at_percent: float,
        levels: str,
        threshold: float,
        dilation: int,
        hold: int,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        """Run the node."""
        samples, port = check_clip(latent), api.port()
        if mask is None:
            _check_family(model, clip, samples)
            noisy = _noisy_latents(model, latent, seed, passes, at_percent)
            find = _by_contrast if method == "contrast" else _by_attention
            maps = find(model, clip, prompt, _check_phrase(phrase), samples, noisy, read_levels(levels))
            mask = normalise(maps.to(samples.device))
        check_cleaning(mask, len(samples), dilation)
        size = samples.shape[-2], samples.shape[-1]
        masks = clean_masks(mask, size, threshold=threshold, dilation=dilation, hold=hold)
        return io.NodeOutput(masks, ui=port.show_clips({"mask": masks}))


def _check_phrase(phrase: str) -> str:
    if not phrase.strip():
        raise ValueError(
            "phrase is empty; expected words of the prompt that name the foreground, such as 'red circle'; write them, "
            "or connect a mask."
        )
    return phrase


def _check_family(model: Any, clip: Any, samples: Tensor) -> None:
    port = api.port()
    family = port.family(model)
    check_offered(family, ["observe"], "Foreground Mask")
    check_channels(family, samples)
    check_tokens(family, port.encode_text(clip, "")[0], "clip")


def _noisy_latents(model: Any, latent: dict[str, Any], seed: int, passes: int, at_percent: float) -> Noisy:
    """Return for each pass the clip with noise of its own added, and the noise level."""
    port, samples = api.port(), latent["samples"]
    sigma = port.timestep_to_sigma(model, (1 - at_percent) * (TRAIN_TIMESTEPS - 1))
    drawn = [draw_noise(seed + number, number_frames(latent), samples.shape[1:]) for number in range(passes)]
    unit = port.noise_unit(model)
    return [({"samples": add_noise(samples, noise, 0.0, sigma, unit)}, sigma) for noise in drawn]


def _by_contrast(
    model: Any, clip: Any, prompt: str, phrase: str, samples: Tensor, noisy: Noisy, levels: frozenset[int]
) -> Tensor:
    """Return where the phrase changes predictions for the better, [F, H, W]; ``levels`` is not read."""
    port = api.port()
    whole, spans = port.encode_text(clip, prompt, [phrase])
    conditions = [whole, port.encode_without(clip, prompt, spans[phrase])]
    bar = port.progress(2 * len(noisy))
    predicted: list[Tensor] = []
    for latent, sigma in noisy:
        for conditioning in conditions:
            predicted.append(port.predict(model, conditioning, latent, sigma).to(samples))
            bar.update(len(predicted))
    return contrast(torch.stack(predicted[::2]), torch.stack(predicted[1::2]), samples)


def _by_attention(
    model: Any, clip: Any, prompt: str, phrase: str, samples: Tensor, noisy: Noisy, levels: frozenset[int]
) -> Tensor:
    """Return where cross-attention reads the phrase, [F, H, W]."""
    port = api.port()
    conditioning, spans = port.encode_text(clip, prompt, [phrase])
    words = [span for ranges in spans.values() for span in ranges]
    size = samples.shape[-2], samples.shape[-1]
    observer = PhraseAttention(spans[phrase], words, len(samples), size, levels)
    observed = port.install(model, Edit("foreground mask", observe=observer))
    bar = port.progress(len(noisy))
    for number, (latent, sigma) in enumerate(noisy):
        port.predict(observed, conditioning, latent, sigma)
        bar.update(number + 1)
    return observer.maps()


NODES: list[type] = [ForegroundMask]
