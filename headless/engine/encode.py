"""Encode prompts as ComfyUI does: chunks side by side, weights as a push away from the empty prompt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...models.storyboard.phrases import CHUNK, Ranges, find_phrase, join_places
from ..text.prompt import Token, weighted_parts

if TYPE_CHECKING:
    from ..weights.model import CLIP

Spans = dict[str, Ranges]


def encode_prompt(clip: CLIP, prompt: str) -> tuple[Tensor, Tensor]:
    """Encode a prompt.

    A token of weight w becomes ``empty + w * (token - empty)``, where ``empty`` is the same place of the encoded
    empty prompt.

    Args:
        clip: encoder and vocabulary.
        prompt: text with weight syntax.

    Returns:
        Tokens [1, 77 * chunks, D] after the last layer norm, and the first chunk's state at its end token, [1, D]; both
        float32 on the CPU.
    """
    return encode_chunks(clip, clip.tokenizer.chunks(prompt))


@torch.no_grad()
def encode_chunks(clip: CLIP, chunks: list[list[Token]]) -> tuple[Tensor, Tensor]:
    """Encode a prompt's chunks of 77 tokens; see ``encode_prompt``."""
    weights = torch.tensor([[token.weight for token in chunk] for chunk in chunks])
    weighted = bool((weights != 1).any())
    ids = [[token.id for token in chunk] for chunk in chunks] + ([clip.tokenizer.empty()] if weighted else [])
    output = clip.network(torch.tensor(ids, device=clip.network.device))
    states, pooled = output.last_hidden_state.float().cpu(), output.pooler_output.float().cpu()
    if weighted:
        empty = states[-1]
        plain = states[:-1]
        states = torch.where((weights != 1)[..., None], (plain - empty) * weights[..., None] + empty, plain)
    return states.reshape(1, -1, states.shape[-1]), pooled[:1]


def phrase_spans(clip: CLIP, prompt: str) -> Spans:
    """Return where each phrase of a prompt, between commas or line breaks, lies in its encoding.

    Returns:
        Phrase (without weight syntax, stripped) -> [start, stop) ranges along axis 1 of the tokens; several where a
        chunk's end cuts it or where it occurs twice.
    """
    text = "".join(part for part, _ in weighted_parts(prompt))
    words = _words(clip.tokenizer.chunks(prompt))
    spans: Spans = {}
    start = 0
    for phrase in re.split(r"[,\n]", text):
        stop = start + len(phrase)
        if phrase.strip():
            inside = [place for place, _, (first, last) in words if start <= first and last <= stop]
            spans.setdefault(phrase.strip(), []).extend(join_places(inside))
        start = stop + 1
    return spans


def find_spans(clip: CLIP, prompt: str, phrase: str) -> Ranges:
    """Return where a phrase from anywhere in a prompt lies in its encoding, as ``phrase_spans`` does."""
    words = [(place, token.id) for place, token, _ in _words(clip.tokenizer.chunks(prompt))]
    plain = "".join(part for part, _ in weighted_parts(phrase))
    return find_phrase(words, [token for token, _ in clip.tokenizer.words(plain)])


def without_places(clip: CLIP, prompt: str, places: Ranges) -> list[list[Token]]:
    """Return a prompt's chunks without some of its tokens, filled up at their ends."""
    gone = {place for span in places for place in range(*span)}
    chunks = []
    for number, chunk in enumerate(clip.tokenizer.chunks(prompt)):
        kept = [token for place, token in enumerate(chunk) if number * CHUNK + place not in gone]
        chunks.append(kept + [Token(clip.tokenizer.end)] * (CHUNK - len(kept)))
    return chunks


def _words(chunks: list[list[Token]]) -> list[tuple[int, Token, tuple[int, int]]]:
    """Return the text's own tokens, each with its place in the encoding and its [start, stop) in the text."""
    return [
        (number * CHUNK + place, token, token.span)
        for number, chunk in enumerate(chunks)
        for place, token in enumerate(chunk)
        if token.span is not None
    ]
