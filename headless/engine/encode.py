"""Encode prompts as ComfyUI does: chunks side by side, weights as a push away from the empty prompt.

SDXL has two text encoders that read one prompt, or each its own; their tokens go side by side in width.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import CLIPTextModelWithProjection

from ...models.storyboard.phrases import CHUNK, Ranges, find_phrase, join_places
from ..text.prompt import Token, weighted_parts
from ..weights.networks import TextNetwork, text_transformer

if TYPE_CHECKING:
    from ..weights.model import CLIP

Chunks = list[list[Token]]
Spans = dict[str, Ranges]
_OPEN_CLIP_PAD = 0
"""Token that OpenCLIP's text is filled up with; CLIP's is filled up with end of text."""
_SD1_LAYER, _SDXL_LAYER = -1, -2
"""Layers whose tokens models were trained with: the last, and of either of SDXL's encoders the last but one."""


def encode_prompt(clip: CLIP, prompt: str) -> tuple[Tensor, Tensor]:
    """Encode a prompt.

    A token of weight w becomes ``empty + w * (token - empty)``, where ``empty`` is the same place of the encoded
    empty prompt.

    Args:
        clip: encoder and vocabulary.
        prompt: text with weight syntax.

    Returns:
        Tokens [1, 77 * chunks, D] after the last layer norm, and the first chunk's state at its end token, [1, D]; both
        float32 on the CPU. SDXL's tokens are those of both encoders, without a norm, and the state is projected.
    """
    return encode_chunks(clip, clip.tokenizer.chunks(prompt))


def encode_two(clip: CLIP, smaller: str, larger: str) -> tuple[Tensor, Tensor]:
    """Encode a prompt for each of SDXL's text encoders; the shorter one gets chunks without words.

    Raises:
        ValueError: there is one encoder alone.
    """
    if clip.larger is None:
        raise ValueError(
            f"clip: got the text encoder of {clip.family}; expected SDXL's two; take CLIP Text Encode (Prompt), or the "
            "CLIP of an SDXL checkpoint."
        )
    sides = [clip.tokenizer.chunks(text) for text in (smaller, larger)]
    empty = clip.tokenizer.chunks("")
    length = max(map(len, sides))
    return encode_chunks(clip, *(side + empty * (length - len(side)) for side in sides))


@torch.no_grad()
def encode_chunks(clip: CLIP, chunks: Chunks, for_larger: Chunks | None = None) -> tuple[Tensor, Tensor]:
    """Encode a prompt's chunks of 77 tokens; see ``encode_prompt``. The larger encoder may have others, as many."""
    tokens, pooled = _encode(clip, clip.network, chunks)
    if clip.larger is None:
        return tokens, pooled
    more, pooled = _encode(clip, clip.larger, for_larger or chunks, _OPEN_CLIP_PAD)
    return torch.cat([tokens, more], -1), pooled


def _encode(
    clip: CLIP, network: TextNetwork, chunks: Chunks, pad: int | None = None
) -> tuple[Tensor, Tensor]:
    """Encode chunks by one encoder; ``pad`` is what it has behind end of text, None: that again."""
    weights = torch.tensor([[token.weight for token in chunk] for chunk in chunks])
    weighted = bool((weights != 1).any())
    asked = [*chunks, *(clip.tokenizer.chunks("") if weighted else [])]
    ids = torch.tensor([_ids(chunk, pad) for chunk in asked], device=network.device)
    states, pooled = (each.float().cpu() for each in _read(clip, network, ids))
    if weighted:
        empty = states[-1]
        plain = states[:-1]
        states = torch.where((weights != 1)[..., None], (plain - empty) * weights[..., None] + empty, plain)
    return states.reshape(1, -1, states.shape[-1]), pooled[:1]


def _ids(chunk: list[Token], pad: int | None) -> list[int]:
    ids = [token.id for token in chunk]
    if pad is None:
        return ids
    length = 2 + sum(token.span is not None for token in chunk)  # start and end around the words
    return ids[:length] + [pad] * (len(ids) - length)


def _read(clip: CLIP, network: TextNetwork, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the tokens of the layer that is read, [N, 77, D], and the pooled text, [N, D].

    SD1.x's tokens have the norm that is behind the last layer, SDXL's have not. Of an encoder with fewer layers than
    are counted back the usual one is read, as in ComfyUI.
    """
    is_xl, layer = clip.larger is not None, clip.last_layer
    if layer is None or -layer > network.config.num_hidden_layers:
        layer = _SDXL_LAYER if is_xl else _SD1_LAYER
    found: list[Any] = []
    with ExitStack() as after:
        if is_xl or layer != _SD1_LAYER:
            read = text_transformer(network).encoder.layers[layer]
            hook = read.register_forward_hook(lambda _layer, _inputs, out: found.append(out))
            after.callback(hook.remove)
        output: Any = network(ids)
    pooled = output.text_embeds if isinstance(network, CLIPTextModelWithProjection) else output.pooler_output
    if not found:
        return output.last_hidden_state, pooled
    [states] = found
    if isinstance(states, tuple):  # in older releases of transformers
        states = states[0]
    return states if is_xl else text_transformer(network).final_layer_norm(states), pooled


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


def without_places(clip: CLIP, prompt: str, places: Ranges) -> Chunks:
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
