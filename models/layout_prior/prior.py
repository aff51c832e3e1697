"""A layout prior: a GPT-2 over layout sequences. Its network, its file, and sampling within a grammar.

With E_t the embedding of the token at t, P_t of its place, and attention A that sees what came before:

    x_t = E_t + P_t;    x <- x + A(LN(x)), x <- x + MLP(LN(x)) layer by layer;    logits = E LN(x)

The network has GPT-2's keys, so that its files load into Hugging Face's GPT2LMHeadModel and the other way round. What
its tokens mean is the sequence format's; the file's header names that.

Sources: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; VisorGPT (Xie et al. 2023,
https://arxiv.org/abs/2305.13777) for layouts as its text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ..errors import CheckpointError
from ..files.json_text import as_array, read_json
from ..files.weight_file import WeightFile, open_weights, write_tensors
from ..files.weight_kind import expect

KIND, VERSION = "layout_prior", "1"
Cache = list[tuple[Tensor, Tensor]]  # of each layer, keys and values [B, heads, tokens, dim_head]
Grammar = Generator[Sequence[int], int, None]  # yields which tokens may come next, is sent the one that came


@dataclass(frozen=True, slots=True)
class PriorSize:
    """Sizes of a layout prior.

    Attributes:
        vocabulary: number of tokens, words among them.
        context: length of the longest sequence.
        width: features of a token.
        layers: number of blocks.
        heads: number of attention's heads; divides the width.
    """

    vocabulary: int
    context: int = 1024
    width: int = 768
    layers: int = 12
    heads: int = 12


class LayoutGPT(nn.Module):
    """GPT-2: layer norm first, learned positions, the output tied to the embedding.

    Args:
        size: sizes of the network.
        words: words that its last tokens are.
        device: place of its weights.

    Shape:
        tokens [B, L] -> logits [B, L, vocabulary].
    """

    def __init__(
        self, size: PriorSize, words: Sequence[str] = (), device: str | torch.device = "cpu"
    ) -> None:
        super().__init__()
        self.size, self.words = size, tuple(words)
        self.transformer = _Transformer(size, device)

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Return what may follow each token, and the cache with these tokens in it, newly allocated.

        Args:
            tokens: [B, L] int64. Tokens after those in the cache.
            cache: keys and values that the call before returned.
        """
        x, kept = self.transformer(tokens, cache)
        return self.logits(x), kept

    def logits(self, hidden: Tensor) -> Tensor:
        """Return what may follow: [..., width], what ``transformer`` returns of tokens -> [..., vocabulary]."""
        return functional.linear(hidden, self.transformer.wte.weight)


class _Transformer(nn.Module):
    def __init__(self, size: PriorSize, device: str | torch.device) -> None:
        super().__init__()
        self.wte = _embedding(size.vocabulary, size.width, device)
        self.wpe = _embedding(size.context, size.width, device)
        self.h = nn.ModuleList(_Block(size, device) for _ in range(size.layers))
        self.ln_f = nn.LayerNorm(size.width, device=device)

    def forward(self, tokens: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
        past = cache[0][0].shape[2] if cache else 0
        x = self.wte(tokens) + self.wpe(torch.arange(past, past + tokens.shape[1], device=tokens.device))
        kept: Cache = []
        for index, block in enumerate(self.h):
            x, each = block(x, cache[index] if cache else None)
            kept.append(each)
        return self.ln_f(x), kept


class _Block(nn.Module):
    def __init__(self, size: PriorSize, device: str | torch.device) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = (nn.LayerNorm(size.width, device=device) for _ in range(2))
        self.attn = _Attention(size, device)
        self.mlp = nn.ModuleDict(
            {
                "c_fc": _Projection(size.width, 4 * size.width, device),
                "c_proj": _Projection(4 * size.width, size.width, device),
            }
        )

    def forward(self, x: Tensor, cache: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        out, kept = self.attn(self.ln_1(x), cache)
        x = x + out
        hidden = functional.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh")
        return x + self.mlp["c_proj"](hidden), kept


class _Attention(nn.Module):
    def __init__(self, size: PriorSize, device: str | torch.device) -> None:
        super().__init__()
        self.heads = size.heads
        self.c_attn = _Projection(size.width, 3 * size.width, device)
        self.c_proj = _Projection(size.width, size.width, device)

    def forward(self, x: Tensor, cache: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        query, key, value = rearrange(self.c_attn(x), "b l (part h d) -> part b h l d", part=3, h=self.heads)
        if cache is not None:
            key, value = torch.cat([cache[0], key], 2), torch.cat([cache[1], value], 2)
        length, total = query.shape[2], key.shape[2]
        seen = torch.ones(length, total, dtype=torch.bool, device=x.device).tril(total - length)
        out = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return self.c_proj(rearrange(out, "b h l d -> b l (h d)")), (key, value)


def _embedding(rows: int, width: int, device: str | torch.device) -> nn.Embedding:
    """Return an embedding as small as GPT-2's: the output is tied to it, and torch's own would be far too sure."""
    return nn.Embedding(rows, width, _weight=torch.empty(rows, width, device=device).normal_(std=0.02))


class _Projection(nn.Module):
    """A linear layer whose weight is [in, out], as GPT-2 stores it."""

    def __init__(self, inputs: int, outputs: int, device: str | torch.device) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs, device=device).normal_(std=0.02))
        self.bias = nn.Parameter(torch.zeros(outputs, device=device))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


def save_prior(path: str | Path, network: LayoutGPT, sequence: str) -> None:
    """Write a layout prior as safetensors, whole or not at all.

    Args:
        path: name of the new file.
        network: prior to write, in its dtype.
        sequence: name of the sequence format it was trained on, version included.
    """
    metadata = {
        "frameloom.kind": KIND,
        "frameloom.version": VERSION,
        "frameloom.sequence": sequence,
        "frameloom.heads": str(network.size.heads),
        "frameloom.words": json.dumps(network.words),
    }
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    write_tensors(Path(path), state, metadata)


def read_prior(path: str | Path, sequence: str, vocabulary: int) -> LayoutGPT:
    """Read a layout prior.

    Args:
        path: a safetensors file, as ``save_prior`` writes.
        sequence: name of the sequence format it must be trained on.
        vocabulary: tokens of that format, without words.

    Returns:
        The network in float32, on the CPU.

    Raises:
        CheckpointError: the file can't be read, is something else, is of another version or sequence format, or lacks
            or misshapes some weights.
    """
    file = open_weights(path)
    expect(file.name, file.shapes, ("gpt2",), "a layout prior")
    _check_header(file, sequence)
    words = _read_words(file)
    size = _measure(file, vocabulary + len(words))
    network = LayoutGPT(size, words, device="meta")
    _check_complete(file, {key: tuple(value.shape) for key, value in network.state_dict().items()})
    state = {key: value.float() for key, value in file.load(network.state_dict()).items()}
    network.load_state_dict(state, assign=True)
    return network.eval()


def sample_tokens(
    network: LayoutGPT,
    tokens: Sequence[int],
    grammar: Grammar,
    *,
    temperature: float = 1.0,
    top_k: int = 70,
    seed: int = 0,
    watch: Callable[[int], None] = lambda _: None,
) -> list[int]:
    """Continue a sequence, token by token, with what a grammar allows.

    Where it allows one token alone the network is not asked.

    Args:
        network: prior that says how likely each token is.
        tokens: beginning of the sequence.
        grammar: rules for what follows.
        temperature: divisor of the logits; 0 always takes the likeliest.
        top_k: number of likeliest tokens, of the allowed, to draw from; 0: all.
        seed: number that the draws depend on; torch's own random numbers stay as they are.
        watch: function that is called with the length so far at every token; raises what stops the work.

    Returns:
        The whole sequence.

    Raises:
        IndexError: it becomes longer than the network's context.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    sequence, read, cache = list(tokens), 0, None
    device = next(network.parameters()).device
    try:
        allowed = next(grammar)
        while True:
            if len(allowed) > 1:
                with torch.no_grad():
                    logits, cache = network(torch.tensor([sequence[read:]], device=device), cache)
                read = len(sequence)
                chosen = allowed[_choose(logits[0, -1].cpu()[list(allowed)], temperature, top_k, generator)]
            else:
                chosen = allowed[0]
            sequence.append(chosen)
            watch(len(sequence))
            allowed = grammar.send(chosen)
    except StopIteration:
        return sequence


def _choose(logits: Tensor, temperature: float, top_k: int, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    if 0 < top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -torch.inf)
    chances = (logits.double() / temperature).softmax(0)
    return int(torch.multinomial(chances, 1, generator=generator))


def _check_header(file: WeightFile, sequence: str) -> None:
    wanted = {"kind": KIND, "version": VERSION, "sequence": sequence}
    found = {name: file.metadata.get(f"frameloom.{name}") for name in wanted}
    if found["kind"] != KIND:
        raise CheckpointError(
            f"{file.name} is a GPT-2 model whose header doesn't say that it is a layout prior; expected one that "
            "Frameloom trained; choose another file."
        )
    if found != wanted:
        raise CheckpointError(
            f"{file.name}: its header says version {found['version']!r} and sequence {found['sequence']!r}; expected "
            f"{VERSION!r} and {sequence!r}; update Frameloom, or train the prior again."
        )


def _read_words(file: WeightFile) -> list[str]:
    """Return the words of the header; files that were written before there were any have none."""
    text = file.metadata.get("frameloom.words", "[]")
    try:
        listed = as_array(read_json(text))
    except ValueError:
        listed = None
    words = [word for word in listed or [] if isinstance(word, str) and word]
    if listed is None or len(words) < len(listed):
        raise CheckpointError(
            f"{file.name}: its header says words={text[:40]!r}; expected a list of words as JSON; train the "
            "prior again."
        )
    return words


def _measure(file: WeightFile, vocabulary: int) -> PriorSize:
    """Read the sizes off the tensors and the header."""
    rows = {name: file.shapes.get(f"transformer.{name}.weight", ()) for name in ("wte", "wpe")}
    heads = file.metadata.get("frameloom.heads", "")
    if any(len(shape) != 2 for shape in rows.values()) or rows["wte"][0] != vocabulary:
        raise CheckpointError(
            f"{file.name}: transformer.wte.weight is {rows['wte']}, transformer.wpe.weight {rows['wpe']}; expected "
            f"({vocabulary}, width) and (context, width); choose another file."
        )
    context, width = rows["wpe"]
    if not heads.isdecimal() or len(heads) > 4 or int(heads) < 1 or width % int(heads):
        raise CheckpointError(
            f"{file.name}: its header says heads={heads[:40]!r}; expected a number that divides its width {width}; "
            "train the prior again."
        )
    layers = sum(key.endswith(".attn.c_attn.weight") for key in file.shapes)
    return PriorSize(vocabulary, context, width, layers, int(heads))


def _check_complete(file: WeightFile, wanted: Mapping[str, tuple[int, ...]]) -> None:
    wrong = next((key for key, shape in wanted.items() if file.shapes.get(key) != shape), None)
    extra = next((key for key in file.shapes if key not in wanted), None)
    if wrong is not None:
        found = file.shapes.get(wrong, "missing")
        raise CheckpointError(
            f"{file.name}: {wrong} is {found}; expected {wanted[wrong]}; download it again, or choose another."
        )
    if extra is not None:
        raise CheckpointError(
            f"{file.name}: holds {extra}, which a layout prior doesn't have; expected GPT-2's keys alone; choose "
            "another file."
        )
