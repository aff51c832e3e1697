"""Storyboards from a layout prior: it continues a sequence of names, and the sequence becomes a scene."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...models.layout_prior.prior import LayoutGPT, read_prior, sample_tokens
from ...models.layout_prior.sequence import (
    NAME,
    VOCABULARY,
    Words,
    count_tokens,
    decode_scene,
    encode_names,
    tracks_of,
)
from ...models.storyboard.scenes import Provenance, Storyboard


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample: see ``models.layout_prior.prior.sample_tokens``."""

    temperature: float = 1.0
    top_k: int = 70
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a scene.

    Attributes:
        names: names of the entities.
        caption: description of the picture; the scene's prompt.
        frames: length of the scene.
        keyframes: number of boxes of each entity.
        size: width and height of the picture, in pixels.
        fps: frames a second.
    """

    names: Sequence[str]
    caption: str
    frames: int
    keyframes: int
    size: tuple[int, int] = (512, 512)
    fps: float = 8.0

    def tokens(self, network: LayoutGPT) -> int:
        """Return the length of the whole sequence, in tokens."""
        return count_tokens(self.caption, self.names, self.keyframes, Words(network.words))


def read_layout_prior(path: Path) -> LayoutGPT:
    """Read a prior that was trained on these sequences; errors are those of ``read_prior``."""
    return read_prior(path, NAME, VOCABULARY)


def read_names(text: str) -> list[str]:
    r"""Return the names of a list, one a line or separated by commas.

    Raises:
        ValueError: there are none.

    Examples:
        >>> read_names("a red ball, a blue ball\na dog,")
        ['a red ball', 'a blue ball', 'a dog']
    """
    names = [name.strip() for name in re.split(r"[,\n]", text) if name.strip()]
    if not names:
        raise ValueError(
            f"entities: got {text!r}; expected at least one name, one a line or separated by commas; type some."
        )
    return names


def sample_storyboard(
    network: LayoutGPT,
    label: str,
    request: Request,
    sampling: Sampling = Sampling(),
    watch: Callable[[int], None] = lambda _: None,
) -> Storyboard:
    """Return a storyboard of one scene in which a layout prior has placed the named entities.

    Args:
        network: the prior.
        label: name of the prior, for the provenance.
        request: entities, caption, length and size of the scene.
        sampling: temperature, top_k and seed.
        watch: callback that gets the length of the sequence at every token; it raises to stop the work.

    Raises:
        ValueError: there are more keyframes than frames, or the sequence is longer than the prior's context.
    """
    words = Words(network.words)
    grammar = tracks_of(request.names, request.frames, request.keyframes, words)
    needed = request.tokens(network)
    if needed > network.size.context:
        raise ValueError(
            f"{label}: caption, entities and keyframes make {needed} tokens; expected at most "
            f"{network.size.context}, the prior's context; shorten the caption, or take fewer entities or keyframes."
        )
    tokens = sample_tokens(
        network,
        encode_names(request.caption, request.names, words),
        grammar,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        seed=sampling.seed,
        watch=watch,
    )
    return Storyboard(
        fps=request.fps,
        size=request.size,
        scenes=(decode_scene(tokens, request.frames, words),),
        provenance=Provenance(planner="prior", model=label, seed=sampling.seed),
    )
