"""Open a language model to be tuned by LoRA (Hu et al. 2021), and save what was learned.

peft puts the LoRA on and merges it; transformers reads and writes. A GGUF file's weights are tuned as the numbers that
they stand for.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...models.errors import LanguageModelError
from .local import FORM, check_model, open_model, render
from .model import Message

ADAPTER = "adapter"  # folder of the adapter, in that of the merged model
ALPHA = 2  # what a LoRA adds is scaled by so much, whatever its rank is


@dataclass(frozen=True, eq=False)
class Tunable:
    """A model with a LoRA that learns.

    Attributes:
        network: model of transformers in peft's wrapper.
        tokenizer: tokenizer of transformers.
        label: name that the user gave it.
    """

    network: Any
    tokenizer: Any
    label: str

    def encode(self, question: Sequence[Message], answer: str) -> tuple[list[int], list[int]]:
        """Return the tokens of a question, in the model's own template, and those of an answer with its end."""
        asked = self.tokenizer(render(self.tokenizer, question, self.label), add_special_tokens=False)
        told = self.tokenizer(answer, add_special_tokens=False)
        return asked["input_ids"], [*told["input_ids"], self.tokenizer.eos_token_id]


def open_to_tune(path: Path, label: str, *, rank: int, seed: int) -> Tunable:
    """Read a model in float32 and put a LoRA on every linear layer of it.

    Args:
        path: a folder with ``config.json``, a tokenizer and safetensors, or a GGUF file.
        label: name that the user gave the model.
        rank: rank of the LoRA.
        seed: seed of its first values. torch's own random state stays as it was.

    Raises:
        LanguageModelError: a package is missing, the path holds no such model, or it has no chat template.
    """
    if importlib.util.find_spec("peft") is None:
        raise LanguageModelError(
            f"{label}: peft is missing; expected it to be installed, since it puts the LoRA on; pip install peft."
        )
    check_model(path, label)
    loaded = open_model(path, label, torch.float32)
    peft: Any = importlib.import_module("peft")
    render(loaded.tokenizer, [Message("user", "")], label)  # refuses a model without a template now
    random: Any = torch.random
    with random.fork_rng(devices=[]):
        random.manual_seed(seed)
        config = peft.LoraConfig(
            r=rank, lora_alpha=ALPHA * rank, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        network = peft.get_peft_model(loaded.network, config)
    return Tunable(network.train(), loaded.tokenizer, label)


def save_tuned(folder: Path, tuned: Tunable, form: str) -> None:
    """Write the model with its LoRA merged in as a folder that Local LLM takes, and the LoRA alone as peft's adapter.

    The folder is there whole or not at all. The merged weights are float16. The model can't be tuned on afterwards.

    Args:
        folder: new folder.
        tuned: model.
        form: form of the answers that it was tuned on, which its config says from now on.

    Raises:
        OSError: it can't be written.
    """
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        tuned.network.save_pretrained(part / ADAPTER)
        _plain(tuned.network.merge_and_unload(), form).save_pretrained(part)
        tuned.tokenizer.save_pretrained(part)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _plain(network: Any, form: str) -> Any:
    """Return a network in float16 whose config names a form, and not the GGUF file that its weights came from."""
    config = network.config.to_dict()
    config.pop("quantization_config", None)
    with torch.device("meta"):
        copy: Any = type(network)(network.config.from_dict({**config, FORM: form}))
    copy.load_state_dict({name: value.half() for name, value in network.state_dict().items()}, assign=True)
    copy.tie_weights()
    return copy
