"""A language model in this process."""

from __future__ import annotations

import torch

from ...host import api
from ...models.files.weight_file import fingerprint
from ..sockets import LLMType
from ..widgets import choice, found, line, number, out, schema, whole

io = api.io

MODELS = "llm"
AUTO, CPU = "auto", "cpu"


class LocalLLM(io.ComfyNode):
    """Choose a language model of yours that runs in this process, without a server and without a network.

    Its answers are held to the form that is asked for, token by token. Their content is the model's: one of
    135 million weights fails at most scripts, take one of 7 billion or more. Needs the packages transformers
    and llguidance, for GGUF also gguf and accelerate.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Local LLM", "layout",
            aliases=["LLM", "GGUF", "transformers", "llguidance", "Qwen", "SmolLM", "language model"],
            inputs=[
                found("model", api.port().list_files(MODELS),
                    "A GGUF file in ComfyUI's models/llm, or a folder there with config.json, tokenizer and "
                    "safetensors, as it is downloaded. Take an instruct or chat model; pickles are refused. "
                    "One of Train Layout Model's writes storyboards, and nothing else."),
                whole("max_tokens", 2048, 16, 131_072,
                    "Longest answer in tokens; an answer that is not finished by then is an error. Prompt "
                    "and answer must fit into the model's context."),
                number("temperature", 0.7, 0.0, 2.0, 0.05,
                    "Freedom in the choice of words; 0 always takes the likeliest, which makes small models "
                    "repeat themselves."),
                choice("device", [AUTO, CPU],
                    "Device that it runs on. auto: the one where other models run. The model is there only "
                    "while it answers; in between it lies in the CPU's memory."),
                line("trained", None,
                    "The model that Train Layout Model has just written; then model is not read.",
                    optional=True, force_input=True),
            ],
            outputs=[out(LLMType, "llm", "The language model, for Layout From LLM and Nuwa Plan.")],
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, model: str, **_: object) -> str:
        """Read again when the file changed."""
        return fingerprint(api.port().resolve(MODELS, model))

    @classmethod
    def execute(
        cls, model: str, max_tokens: int, temperature: float, device: str, trained: str | None = None
    ) -> io.NodeOutput:
        """Run the node."""
        from ...language.llm.local import LocalModel

        port = api.port()
        place = port.compute_device() if device == AUTO else torch.device(CPU)
        name = trained or model
        path = port.resolve(MODELS, name)
        llm = LocalModel(path, name, max_tokens=max_tokens, temperature=temperature, device=place)
        return io.NodeOutput(llm)


NODES: list[type] = [LocalLLM]
