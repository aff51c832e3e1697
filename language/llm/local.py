"""A language model in this process: a folder of safetensors or a GGUF file, held to a JSON schema while it writes.

This file loads the model, writes the prompt and samples. transformers reads and runs the model; llguidance says which
tokens the schema allows next. Nothing is downloaded, no code of a model's folder runs, and no pickle is opened.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from safetensors import SafetensorError
from torch import Tensor

from ...models.errors import CheckpointError, LanguageModelError
from ...models.files.json_text import as_object, read_json
from ...models.files.weight_file import fingerprint, open_weights, refuse_leftovers
from .model import Message, Watch

PACKAGES = ("transformers", "llguidance")
GGUF_PACKAGES = ("gguf", "accelerate")  # needed by transformers for GGUF
CONFIG, FORM = "config.json", "frameloom_form"  # file, and the name in it of what a tuned model writes
PIECE = 256  # tokens of a prompt that are read between two looks at a cancel
_SETTINGS = (CONFIG, "tokenizer.json", "tokenizer_config.json")
_POINTER = 1_000_000  # bytes; a git-lfs pointer or a web page in place of a file is smaller
# Errors of transformers for a model that it can't read.
_UNREADABLE = (
    OSError, ValueError, RuntimeError, ImportError, KeyError, IndexError, AttributeError, TypeError, SafetensorError
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A model in the CPU's memory."""

    network: Any
    tokenizer: Any
    vocabulary: Any  # llguidance's view of the tokenizer


# One copy of each file, as long as a LocalModel that has answered exists.
_loaded: WeakValueDictionary[tuple[str, str, torch.dtype], _Loaded] = WeakValueDictionary()


class LocalModel:
    """A language model of the user's, as ``language.llm.model.LanguageModel``.

    The file is read at the first answer, and shared by all models that name the same file. It lies in the CPU's memory,
    and on the device only while it answers, so that sampling has the device for itself.
    """

    def __init__(
        self, path: Path, label: str, *, max_tokens: int, temperature: float, device: torch.device
    ) -> None:
        """Check that the model can be read, without reading it.

        Args:
            path: a folder with ``config.json``, a tokenizer and safetensors, or a GGUF file.
            label: name that the user gave the model.
            max_tokens: longest answer.
            temperature: temperature of sampling; 0 always takes the likeliest token.
            device: device to answer on. The model computes in float32 on the CPU, and in bfloat16 elsewhere.

        Raises:
            LanguageModelError: a package is missing, or the path holds no such model.
        """
        check_model(path, label)
        self._path, self._label, self._device = path.absolute(), label, device
        self._max_tokens, self._temperature = max_tokens, temperature
        self._dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
        self._held: _Loaded | None = None

    @property
    def label(self) -> str:
        """The name its user gave it."""
        return self._label

    @property
    def identity(self) -> str:
        """Text that differs between models, for a store of answers."""
        content = hashlib.sha256(fingerprint(self._path).encode()).hexdigest()[:16]
        return json.dumps([self._label, content, self._max_tokens, self._temperature, str(self._dtype)])

    def complete(
        self, messages: Sequence[Message], schema: Mapping[str, Any], *, seed: int, watch: Watch
    ) -> str:
        """Return the model's answer, which follows the schema; see ``LanguageModel.complete``.

        ``watch`` is called after every token. The same seed, file and settings give the same answer on one machine.
        """
        return self._answer(messages, json_grammar(schema), seed, watch)

    @property
    def form(self) -> str:
        """The form that the config in its folder names; a GGUF file has none."""
        config = self._path / CONFIG
        return (
            str((as_object(read_json(config.read_bytes())) or {}).get(FORM, "")) if config.is_file() else ""
        )

    def write(self, messages: Sequence[Message], grammar: str, *, seed: int, watch: Watch) -> str:
        """Return the model's answer, which follows a grammar; see ``TunedModel.write``."""
        from llguidance import LLMatcher

        return self._answer(messages, LLMatcher.grammar_from_lark(grammar), seed, watch)

    def _answer(self, messages: Sequence[Message], grammar: str, seed: int, watch: Watch) -> str:
        with torch.inference_mode():
            loaded = self._load()
            tokens = self._read_prompt(loaded, messages)
            matcher = _matcher(loaded, grammar, self._label)
            generator = torch.Generator().manual_seed(seed % 2**63)
            choose = _Choice(matcher, self._temperature, generator, self._label)
            try:
                network = loaded.network.to(self._device)
                return self._write(network, loaded.tokenizer, tokens, choose, watch)
            except torch.cuda.OutOfMemoryError as error:
                raise LanguageModelError(
                    f"{self._label}: {self._device} has too little free memory for it; expected room for the model and "
                    "its answer; choose device 'cpu', or a smaller model."
                ) from error
            finally:
                loaded.network.to("cpu")

    def _write(self, network: Any, tokenizer: Any, tokens: list[int], choose: _Choice, watch: Watch) -> str:
        """Return the text that the network adds to the tokens of a prompt."""
        takes = inspect.signature(network.forward).parameters
        last_only = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        answer: list[int] = []
        text, cache, logits = "", None, torch.empty(0)
        while not choose.finished:
            if len(answer) >= self._max_tokens:
                raise LanguageModelError(
                    f"{self._label}: the answer is not finished after {len(answer)} tokens, it ends {text[-60:]!r}; "
                    f"expected at most max_tokens={self._max_tokens}; raise max_tokens, or ask for less."
                )
            for piece in torch.split(torch.tensor([tokens], device=self._device), PIECE, 1):
                output = network(input_ids=piece, past_key_values=cache, use_cache=True, **last_only)
                cache, logits = getattr(output, "past_key_values", None), output.logits[0, -1]
                if cache is None:
                    raise LanguageModelError(
                        f"{self._label}: keeps no keys and values between tokens; expected a transformer; "
                        "choose another model."
                    )
                watch(len(text))
            tokens = choose(logits)
            answer += tokens
            text = tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        watch(len(text))
        return text

    def _read_prompt(self, loaded: _Loaded, messages: Sequence[Message]) -> list[int]:
        """Return the tokens of a conversation, up to where the model is to answer."""
        text = render(loaded.tokenizer, messages, self._label)
        tokens = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        room = getattr(loaded.network.config, "max_position_embeddings", None)
        if room is not None and len(tokens) + self._max_tokens > room:
            raise LanguageModelError(
                f"{self._label}: the prompt has {len(tokens)} tokens and max_tokens is {self._max_tokens}; expected at "
                f"most {room} together, the model's context; lower max_tokens, shorten the script, or choose another "
                "model."
            )
        return tokens

    def _load(self) -> _Loaded:
        key = str(self._path), fingerprint(self._path), self._dtype
        self._held = _loaded.get(key) or open_model(self._path, self._label, self._dtype)
        _loaded[key] = self._held
        return self._held


@dataclass(frozen=True, slots=True)
class _Choice:
    """Choose the next tokens within a grammar: one is sampled, then those that the grammar forces follow."""

    matcher: Any
    temperature: float
    generator: torch.Generator
    label: str

    @property
    def finished(self) -> bool:
        """True if the answer is complete."""
        return self.matcher.is_stopped()

    def __call__(self, logits: Tensor) -> list[int]:
        """Return the next tokens, at least one.

        Args:
            logits: [vocabulary] scores of the next token, on any device.
        """
        allowed = torch.frombuffer(bytearray(self.matcher.compute_logit_bias()), dtype=torch.uint8) > 0
        size = min(len(allowed), len(logits))  # both may be padded
        scores = logits[:size].float().cpu().masked_fill(~allowed[:size], -torch.inf)
        if self.temperature == 0:
            token = int(scores.argmax())
        else:
            chances = (scores / self.temperature).softmax(0)
            token = int(torch.multinomial(chances, 1, generator=self.generator))
        self.matcher.consume_token(token)
        forced: list[int] = [] if self.finished else self.matcher.compute_ff_tokens()
        self.matcher.consume_tokens(forced)
        if self.matcher.is_error():
            raise LanguageModelError(
                f"{self.label}: llguidance stopped at the schema ({self.matcher.get_error().splitlines()[0][:200]}); "
                "expected an answer it can follow; ask for less, or use LLM Endpoint."
            )
        return [token, *forced]


def check_model(path: Path, label: str) -> None:
    """Refuse a path that holds no model that can be run here, without reading it.

    Raises:
        LanguageModelError: a package is missing; or it is no model's folder or GGUF file, a pickle, or not downloaded
            whole.
    """
    _check_packages(path, label)
    try:
        (_check_gguf if path.is_file() else _check_folder)(path)
    except CheckpointError as error:
        raise LanguageModelError(f"{label}: {error}") from error


def _check_packages(path: Path, label: str) -> None:
    wanted = (*PACKAGES, *(GGUF_PACKAGES if path.is_file() else ()))
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise LanguageModelError(
            f"{label}: {' and '.join(missing)} not installed; expected {', '.join(wanted)}; run "
            f"`python -m pip install {' '.join(missing)}` with the Python that runs this, then start it again."
        )


def _check_gguf(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(1024)
    if not head.startswith(b"GGUF"):
        refuse_leftovers(path.name, head, path.stat().st_size)
        raise CheckpointError(
            f"its first bytes are {head[:4]!r}; expected a GGUF file; download it again, or choose another."
        )


def _check_folder(folder: Path) -> None:
    names = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    if CONFIG not in names:
        raise CheckpointError(
            "not a model's folder; expected a folder with config.json; choose one from the list."
        )
    if not any(name.endswith(".safetensors") for name in names):
        raise CheckpointError(
            f"a folder without safetensors (it holds {', '.join(names[:6])}); expected config.json, a tokenizer and "
            "safetensors, since pickles can run code; download the model as safetensors or GGUF."
        )
    for name in names:
        if name.endswith(".safetensors"):
            open_weights(folder / name)
        elif name in _SETTINGS and (folder / name).stat().st_size < _POINTER:
            try:
                read_json((folder / name).read_bytes())
            except ValueError as error:
                raise CheckpointError(
                    f"{name} is {error}; expected the file as its page has it, not a git-lfs pointer or a web page; "
                    "download it again."
                ) from error


def open_model(path: Path, label: str, dtype: torch.dtype) -> _Loaded:
    """Read a model and its tokenizer into the CPU's memory.

    Raises:
        LanguageModelError: transformers can't read it.
    """
    from llguidance.hf import from_tokenizer
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # These have no types of their own.
    networks: Any = AutoModelForCausalLM
    tokenizers: Any = AutoTokenizer
    random: Any = torch.random
    folder, options = path, {"local_files_only": True, "trust_remote_code": False}
    if path.is_file():
        folder, options = path.parent, options | {"gguf_file": path.name}
    else:
        options |= {"use_safetensors": True}
    try:
        with random.fork_rng(devices=[]):
            tokenizer = tokenizers.from_pretrained(folder, **options)
            network, report = networks.from_pretrained(
                folder, dtype=dtype, output_loading_info=True, **options
            )
        absent = sorted(report["missing_keys"])  # transformers fills them with random numbers
        if absent:
            raise ValueError(f"it lacks {absent[0]} and {len(absent) - 1} more")
        return _Loaded(network.eval(), tokenizer, from_tokenizer(tokenizer))
    except _UNREADABLE as error:
        raise LanguageModelError(
            f"{label}: transformers can't read it ({_words(error, folder)}); expected a causal language model that it "
            "knows, with a fast tokenizer; choose another, or run it in a server and use LLM Endpoint."
        ) from error


def _words(error: BaseException, folder: Path) -> str:
    """Return the first line of an error, without the place of the model's folder."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    for place, name in ((folder, folder.name), (folder.resolve(), folder.name), (Path.home(), "~")):
        text = text.replace(str(place), name)
    return text if len(text) <= 200 else text[:197] + "..."


def json_grammar(schema: Mapping[str, Any]) -> str:
    """Return the grammar of JSON that follows a schema."""
    from llguidance import LLMatcher

    return LLMatcher.grammar_from_json_schema(
        dict(schema),  # spaced as Python writes JSON, since models have mostly seen it so
        defaults={"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "},
    )


def _matcher(loaded: _Loaded, grammar: str, label: str) -> Any:
    """Return a matcher, which follows an answer token by token and says which tokens may come next."""
    from llguidance import LLMatcher

    matcher = LLMatcher(loaded.vocabulary, grammar)
    if matcher.is_error():
        raise LanguageModelError(
            f"{label}: llguidance can't enforce the schema ({matcher.get_error().splitlines()[0][:200]}); expected one "
            "that it supports; use LLM Endpoint instead, and report this."
        )
    return matcher


def render(tokenizer: Any, messages: Sequence[Message], label: str) -> str:
    """Return a conversation in the form of the model's own template, up to where the model is to answer.

    Raises:
        LanguageModelError: there is no template, or it refuses the conversation.
    """
    from jinja2 import TemplateError  # comes with torch

    if not tokenizer.chat_template:
        raise LanguageModelError(
            f"{label}: has no chat template; expected a model that was trained to follow instructions; choose its "
            "instruct or chat version."
        )
    why = ""
    for turns in (messages, list(_without_system(messages))):
        try:
            return tokenizer.apply_chat_template(
                [{"role": turn.role, "content": turn.text} for turn in turns],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,
            )
        except TemplateError as error:  # some templates have no system turn
            why = str(error)
    raise LanguageModelError(
        f"{label}: its chat template refuses the conversation ({why[:200]}); expected one of user and assistant turns; "
        "choose another model."
    )


def _without_system(messages: Sequence[Message]) -> Iterator[Message]:
    """Yield a conversation in which a system turn becomes the beginning of the turn after it."""
    before = ""
    for message in messages:
        if message.role == "system":
            before += message.text + "\n\n"
        else:
            yield Message(message.role, before + message.text)
            before = ""
