"""Train a layout prior: the corpus, the loss, and the loop's settings.

The network, its sequences and its file are in ``models``. ``scenes`` makes scenes and chooses keyframes. ``report``
measures the prior afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from ...models.layout_prior.prior import LayoutGPT, PriorSize
from ...models.layout_prior.sequence import (
    FIRST_LINE,
    FIRST_TIME,
    LINES,
    PADDING,
    VOCABULARY,
    Words,
    count_tokens,
    count_words,
    encode_names,
    encode_scene,
)
from ...models.storyboard.scenes import Scene
from ..loop import LoopSettings, train
from .scenes import at_keyframes, draw_keyframes, names_of, split_scenes

HEADS = 4
# Amplitude (GPT-2's spread) and shortest period of the first values of positions and lines.
WAVE, SHORTEST = 0.028, 8.0
UNTITLED = 0.1  # chance that training hides a caption, since a prior is also asked without one
ALIKE = 16  # sequences of similar length in one forward pass, for less padding


@dataclass(frozen=True, slots=True)
class LayoutSettings:
    """Settings of the training of a layout prior.

    Attributes:
        steps: number of steps of the optimiser.
        batch_size: scenes a step.
        learning_rate: highest learning rate.
        width: width of a token, a multiple of ``HEADS``.
        layers: number of blocks.
        context: longest sequence, in tokens.
        keyframes: largest number of boxes of a thing that the prior is shown.
        seed: seed of weights and draws.
    """

    steps: int = 1500
    batch_size: int = 32
    learning_rate: float = 6e-3
    width: int = 44
    layers: int = 3
    context: int = 320
    keyframes: int = 3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Corpus:
    """The scenes of a training.

    Attributes:
        training: scenes to train on.
        held_out: scenes to measure on.
        left_out: number of scenes that are left out, since they have no boxes or are too long.
        words: words of all captions and names that are tokens.
    """

    training: list[Scene]
    held_out: list[Scene]
    left_out: int
    words: tuple[str, ...]


def make_corpus(scenes: Sequence[Scene], settings: LayoutSettings) -> Corpus:
    """Choose the scenes to train on.

    Args:
        scenes: all scenes.
        settings: settings of the training.

    Raises:
        ValueError: too few scenes are left; see ``split_scenes``.
    """
    texts = (text for scene in scenes for text in (scene.prompt, *names_of(scene)))
    words = count_words(texts)
    table = Words(words)
    fitting = [scene for scene in scenes if _fits(scene, settings, table)]
    return Corpus(*split_scenes(fitting), len(scenes) - len(fitting), words)


def _fits(scene: Scene, settings: LayoutSettings, words: Words) -> bool:
    tokens = count_tokens(scene.prompt, names_of(scene), min(settings.keyframes, scene.frames), words)
    return tokens <= settings.context and any(key.box for entity in scene.entities for key in entity.track)


def new_prior(settings: LayoutSettings, words: Sequence[str] = ()) -> LayoutGPT:
    """Return a prior with random weights by the settings. torch's own random state stays as it was.

    Args:
        settings: settings of the training.
        words: words that are tokens.

    Raises:
        ValueError: the width isn't a multiple of ``HEADS``.
    """
    if settings.width % HEADS:
        raise ValueError(
            f"width={settings.width}; expected a multiple of {HEADS}, the number of heads; change width."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        vocabulary = VOCABULARY + len(words)
        network = LayoutGPT(
            PriorSize(vocabulary, settings.context, settings.width, settings.layers, HEADS), words
        )
    tokens, places = network.transformer.wte.weight.data, network.transformer.wpe.weight.data
    places[:] = _waves(*places.shape)
    for first in (FIRST_LINE, FIRST_TIME):
        tokens[first : first + LINES + 1] = _waves(LINES + 1, settings.width)
    return network


def _waves(count: int, width: int) -> Tensor:
    """Return [count, width] sines and cosines, of periods from ``SHORTEST`` to twice the count.

    Positions and lines start with these values. Equal distances then look equal everywhere, so that a small prior soon
    learns to look two tokens back and to add.
    """
    periods = torch.logspace(math.log2(SHORTEST), math.log2(2 * count), width // 2, base=2)
    angles = 2 * math.pi * torch.arange(count)[:, None] / periods
    return WAVE * torch.cat([angles.sin(), angles.cos()], 1)


def train_prior(
    corpus: Corpus,
    settings: LayoutSettings,
    device: torch.device | str = "cpu",
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> LayoutGPT:
    """Train a prior on the likelihood of every token of the layouts, given captions, names, and the tokens before it.

    Each time it sees a scene with other keyframes, and sometimes without the caption. VisorGPT's loss also counts the
    given tokens; a small prior then learns captions first, and only late what they say about boxes.

    Args:
        corpus: scenes; the held-out ones are not trained on.
        settings: settings of the training.
        device: device to train on.
        on_step: callback of ``loop.train``.

    Returns:
        The averaged weights on the device, in float32, rounded to half precision, as its file stores them.
    """
    network = new_prior(settings, corpus.words).to(device)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        picks = torch.randint(len(corpus.training), (settings.batch_size,), generator=generator).tolist()
        shown = [show(corpus.training[pick], settings, generator) for pick in picks]
        total, count = score(network, [_hide(scene, generator) for scene in shown])
        return total / count

    loop = LoopSettings(
        settings.steps,
        settings.learning_rate,
        warmup=min(50, 1 + settings.steps // 10),
        ema_decay=0.99,
        seed=settings.seed,
    )
    averaged = train(dict(network.named_parameters()), loss, loop, on_step=on_step)
    network.load_state_dict(averaged)
    return network.half().float().eval()


def show(scene: Scene, settings: LayoutSettings, generator: torch.Generator) -> Scene:
    """Return a scene at some keyframes, drawn anew at every call."""
    return at_keyframes(scene, draw_keyframes(scene, settings.keyframes, generator))


def _hide(scene: Scene, generator: torch.Generator) -> Scene:
    hidden = float(torch.rand((), generator=generator)) < UNTITLED
    return scene.model_copy(update={"prompt": ""}) if hidden else scene


def score(network: LayoutGPT, scenes: Sequence[Scene]) -> tuple[Tensor, int]:
    """Return the cross-entropy of everything behind captions and names: its sum in nats, and the number of tokens.

    Args:
        network: network that gives the chances of each token.
        scenes: scenes, which are encoded with every key.
    """
    device = next(network.parameters()).device
    words = Words(network.words)
    pairs = sorted((_tokens_and_targets(scene, words) for scene in scenes), key=lambda pair: len(pair[0]))
    total, count = torch.zeros((), device=device), 0
    for start in range(0, len(pairs), ALIKE):
        tokens, targets = (
            pad_sequence(list(part), True, PADDING).to(device)
            for part in zip(*pairs[start : start + ALIKE], strict=True)
        )
        hidden, _ = network.transformer(tokens, None)
        counted = targets != PADDING
        total = total + functional.cross_entropy(
            network.logits(hidden[counted]), targets[counted], reduction="sum"
        )
        count += int(counted.sum())
    return total, count


def _tokens_and_targets(scene: Scene, words: Words) -> tuple[Tensor, Tensor]:
    """Return a scene's tokens but the last, and the token after each, [L] each; given ones are padding."""
    tokens = torch.tensor(encode_scene(scene, words))
    targets = tokens.clone()
    targets[: len(encode_names(scene.prompt, names_of(scene), words))] = PADDING
    return tokens[:-1], targets[1:]
