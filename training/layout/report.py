"""Figures of a trained layout prior on held-out scenes, beside controls.

The captions and names of held-out scenes ask for layouts, which are sampled with Layout Prior's defaults. Two controls
keep to the same grammar and know nothing: random boxes, and a prior with random weights. Scenes that were trained on
stand for a perfect prior.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from ...models.layout_prior.metrics import NEIGHBOURS, Fidelity, compare, track_features
from ...models.layout_prior.prior import Grammar, LayoutGPT, sample_tokens
from ...models.layout_prior.sequence import (
    BYTES,
    END,
    Words,
    decode_scene,
    encode_names,
    encode_scene,
    tracks_of,
)
from ...models.storyboard.scenes import Scene
from ..loop import step_generator
from .scenes import names_of
from .training import Corpus, LayoutSettings, make_corpus, new_prior, score, show, train_prior

MEASURED = 64  # held-out scenes whose layouts are sampled
TOP_K = 70  # Layout Prior's default
UNIFORM = 1e9  # temperature at which all allowed tokens are equally likely
TOGETHER = 32  # scenes that are scored at once
PRIOR, FREELY = "prior", "prior, freely"
WEIGHTS, BOXES, TRAINED_ON = "random weights", "random boxes", "scenes trained on"


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of a prior.

    Attributes:
        scenes: numbers of scenes that are trained on, held out, and left out.
        measured: number of held-out scenes whose layouts were sampled.
        loss: error on all held-out scenes, in nats a token, of the prior and of random weights.
        valid: share of layouts that are valid, sampled freely (``FREELY``) and within the grammar (``PRIOR``).
        fidelity: fidelity of each arm; empty if there are too few tracks to tell.
    """

    scenes: tuple[int, int, int]
    measured: int
    loss: dict[str, float]
    valid: dict[str, float]
    fidelity: dict[str, Fidelity]


def train_and_measure(
    scenes: Sequence[Scene],
    settings: LayoutSettings,
    device: torch.device | str = "cpu",
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    on_layout: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[LayoutGPT, Report]:
    """Train a prior on scenes, some of them held out, and measure it on those.

    Args:
        scenes: all scenes.
        settings: settings of the training.
        device: device to train on.
        on_step: callback after each step that gets the 0-based step and its loss; it may raise to stop.
        on_layout: callback of ``measure_prior``, as ``watch``.

    Raises:
        ValueError: there are too few scenes, or the sizes don't fit each other.
    """
    with torch.inference_mode(False), torch.enable_grad():
        corpus = make_corpus(scenes, settings)
        network = train_prior(corpus, settings, device, on_step)
        return network, measure_prior(network, corpus, settings, on_layout)


def measure_prior(
    network: LayoutGPT,
    corpus: Corpus,
    settings: LayoutSettings,
    watch: Callable[[int, int], None],
) -> Report:
    """Measure a prior and its controls.

    Args:
        network: the prior, trained on the corpus by the settings.
        corpus: scenes; the held-out ones ask for layouts.
        settings: settings of the prior's training.
        watch: callback before each layout that gets how many of how many are sampled; it raises to stop the
            work.
    """
    untrained = new_prior(settings, corpus.words).to(next(network.parameters()).device).eval()
    generator = step_generator(settings.seed, settings.steps)  # number of a step after the last one
    held_out = [show(scene, settings, generator) for scene in corpus.held_out]
    others = torch.randperm(len(corpus.training), generator=generator)[:MEASURED].tolist()
    asked = held_out[:MEASURED]

    words = Words(corpus.words)
    samplers = {
        PRIOR: partial(_sample_within, network, 1.0, TOP_K),
        FREELY: partial(sample_freely, network),
        WEIGHTS: partial(_sample_within, untrained, 1.0, TOP_K),
        BOXES: partial(_sample_within, untrained, UNIFORM, 0),
    }
    layouts: dict[str, list[list[int]]] = {arm: [] for arm in samplers}
    for number, scene in enumerate(asked):
        for place, (arm, sample) in enumerate(samplers.items()):
            watch(number * len(layouts) + place, len(layouts) * len(asked))
            layouts[arm].append(sample(scene, number))
    scenes = {
        arm: [decode_scene(tokens, scene.frames, words) for tokens, scene in zip(each, asked, strict=True)]
        for arm, each in layouts.items()
        if arm != FREELY
    }
    scenes[TRAINED_ON] = [show(corpus.training[other], settings, generator) for other in others]
    return Report(
        scenes=(len(corpus.training), len(corpus.held_out), corpus.left_out),
        measured=len(asked),
        loss={PRIOR: held_out_loss(network, held_out), WEIGHTS: held_out_loss(untrained, held_out)},
        valid={arm: _share(layouts[arm], asked, words) for arm in (FREELY, PRIOR)},
        fidelity=_compare(asked, scenes),
    )


def held_out_loss(network: LayoutGPT, scenes: Sequence[Scene]) -> float:
    """Return the error in nats a token of everything behind captions and names; see ``training.score``."""
    total, count = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(scenes), TOGETHER):
            nats, tokens = score(network, scenes[start : start + TOGETHER])
            total, count = total + float(nats), count + tokens
    return total / count


def is_valid(tokens: Sequence[int], scene: Scene, words: Words = BYTES) -> bool:
    """Tell whether tokens are a layout with exactly the names of a scene, and a box for each.

    Args:
        tokens: tokens of a whole sequence.
        scene: scene that was asked for.
        words: words that are tokens.
    """
    try:
        found = decode_scene(tokens, scene.frames, words)
    except ValueError:
        return False
    return names_of(found) == names_of(scene) and all(
        any(key.box for key in entity.track) for entity in found.entities
    )


def sample_freely(network: LayoutGPT, scene: Scene, seed: int) -> list[int]:
    """Sample a sequence for a scene's caption and names without a grammar, up to twice as long as the scene's own.

    Args:
        network: the prior.
        scene: scene to ask for.
        seed: seed of the sampling.
    """
    words = Words(network.words)
    given = _given(scene, words)
    room = min(2 * len(encode_scene(scene, words)), network.size.context) - len(given)
    return sample_tokens(network, given, _anything(room, network.size.vocabulary), top_k=TOP_K, seed=seed)


def describe(report: Report) -> str:
    """Return the figures as text."""
    trained, held_out, left_out = report.scenes
    freely, within = (f"{100 * report.valid[arm]:.1f} %" for arm in (FREELY, PRIOR))
    lines = [
        f"scenes: {trained:,} to train on, {held_out:,} held out, {left_out:,} left out (without boxes, or too long)",
        "loss on held-out scenes, nats a token: "
        + ", ".join(f"{arm} {loss:.3f}" for arm, loss in report.loss.items()),
        f"valid layouts of {report.measured}: {freely} sampled freely, {within} within the grammar",
        "",
        f"{'tracks, against held-out ones':32}" + "".join(f"{name:>11}" for name in Fidelity.__slots__),
    ]
    for arm, fidelity in report.fidelity.items():
        values = "".join(f"{getattr(fidelity, name):>11.3f}" for name in Fidelity.__slots__)
        lines.append(f"{arm:32}{values}")
    return "\n".join(lines)


def _given(scene: Scene, words: Words) -> list[int]:
    return encode_names(scene.prompt, names_of(scene), words)


def _share(layouts: Sequence[Sequence[int]], scenes: Sequence[Scene], words: Words) -> float:
    valid = [is_valid(tokens, scene, words) for tokens, scene in zip(layouts, scenes, strict=True)]
    return sum(valid) / len(valid)


def _sample_within(prior: LayoutGPT, temperature: float, top_k: int, scene: Scene, seed: int) -> list[int]:
    """Sample a layout for a scene's caption and names within the grammar."""
    words = Words(prior.words)
    keyframes = max(len(each.track) for each in scene.entities)
    grammar = tracks_of(names_of(scene), scene.frames, keyframes, words)
    return sample_tokens(
        prior, _given(scene, words), grammar, temperature=temperature, top_k=top_k, seed=seed
    )


def _anything(room: int, vocabulary: int) -> Grammar:
    """Allow every token, until the sequence ends or has no more room."""
    for _ in range(room):
        if (yield range(vocabulary)) == END:
            return


def _compare(real: Sequence[Scene], scenes: dict[str, list[Scene]]) -> dict[str, Fidelity]:
    points = track_features(real)
    tracks = {arm: track_features(each) for arm, each in scenes.items()}
    k = min(NEIGHBOURS, len(points) - 1, *(len(each) - 1 for each in tracks.values()))
    return {arm: compare(points, each, k) for arm, each in tracks.items()} if k > 0 else {}
