"""Language models behind a server."""

from __future__ import annotations

from hashlib import sha256

from ...host import api
from ...models.errors import LanguageModelError
from ..sockets import LLMType
from ..widgets import found, number, out, schema, whole

io = api.io


class LLMEndpoint(io.ComfyNode):
    """Choose a language model behind a server with OpenAI's interface.

    Such are Ollama, llama.cpp, LM Studio, vLLM and OpenAI. A workflow holds the name of a profile only. Its
    address and model stand in a file of yours, its key in an environment variable; neither is saved with a
    workflow or a picture. Nothing is asked before a node needs an answer.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "LLM Endpoint", "layout",
            aliases=["LLM", "Ollama", "llama.cpp", "LM Studio", "vLLM", "OpenAI", "language model", "GPT"],
            inputs=[
                found("profile", _profile_names(),
                    "Name of a profile. Yours stand in llm_profiles.json, in ComfyUI's user/frameloom folder "
                    '(headless: ~/.config/frameloom), as {"my server": {"base_url": '
                    '"http://127.0.0.1:8080/v1", "model": "...", "api_key_env": "MY_SERVER_KEY"}}: the last '
                    "is the name of an environment variable, never a key. One without a model takes the only "
                    "one its server has; omit and rename say which settings a server refuses or calls "
                    "otherwise. Built in are local servers at their usual ports, and openai; yours of the "
                    "same name replace them."),
                number("timeout", 120.0, 1.0, 3600.0, 1.0,
                    "Seconds that one answer may take altogether, with every attempt. You can cancel at any "
                    "time."),
                whole("attempts", 3, 1, 10,
                    "Number of attempts while the server is busy or can't be reached. A server that loads "
                    "its model is waited for as long as timeout allows."),
                whole("max_tokens", 4096, 0, 131_072,
                    "Longest answer in tokens, with what the model thinks first; an answer that is not "
                    "finished by then is an error. 0: the server's own limit."),
                number("temperature", 0.7, 0.0, 2.0, 0.05,
                    "Freedom in the choice of words; 0 always takes the likeliest. A server that refuses "
                    "this setting, as some do for models that think, is asked without it."),
            ],
            outputs=[out(LLMType, "llm", "The language model, for Layout From LLM and Nuwa Plan.")],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, profile: str | None) -> bool | str:
        """Say what is wrong with a profile; a link's, None here, is read when the node runs."""
        from ...language.llm.profiles import read_profile

        try:
            return profile is None or bool(read_profile(api.port().user_dir(), profile))
        except LanguageModelError as error:
            return str(error)

    @classmethod
    def fingerprint_inputs(cls, profile: str, **_: object) -> str:
        """Read the profile again when it changed; a hash, since workflows are saved with it."""
        from ...language.llm.profiles import read_profile

        return sha256(read_profile(api.port().user_dir(), profile).model_dump_json().encode()).hexdigest()

    @classmethod
    def execute(
        cls, profile: str, timeout: float, attempts: int, max_tokens: int, temperature: float
    ) -> io.NodeOutput:
        """Run the node."""
        from ...language.llm.endpoint import Endpoint
        from ...language.llm.profiles import read_profile

        found = read_profile(api.port().user_dir(), profile)
        return io.NodeOutput(Endpoint(profile, found, timeout, attempts, max_tokens, temperature))


def _profile_names() -> list[str]:
    """Return the profiles to choose from; the built-in ones alone while the file of the user's own can't be read."""
    from ...language.llm.profiles import BUILT_IN, profile_names

    try:
        return profile_names(api.port().user_dir())
    except LanguageModelError:  # which validate_inputs tells whoever uses it
        return list(BUILT_IN)


NODES: list[type] = [LLMEndpoint]
