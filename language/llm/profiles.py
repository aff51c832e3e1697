"""Profiles of language models: a workflow holds a profile's name, and the user's machine holds its address.

This file reads and checks the user's profiles. A profile holds the name of an environment variable and never a key. If
a key stands in the file by mistake, no error repeats it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from ...models.errors import LanguageModelError
from ...models.files.json_text import as_object, read_json

FILE = "llm_profiles.json"  # in the folder for the user's own settings
# Settings that a question carries.
Setting = Literal["temperature", "seed", "stream", "max_tokens", "response_format"]


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # an impossible port
        return False


class Profile(BaseModel):
    """A server and one of its models.

    Attributes:
        base_url: address of an OpenAI-compatible interface, up to where ``/chat/completions`` follows.
        model: name of the model on that server; None: the only one that the server has.
        api_key_env: name of the environment variable that holds the server's key; None: no key is sent.
        omit: settings of a question that are not sent, because the server refuses them.
        rename: server's name for a setting, by our name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: str
    model: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)] | None = None
    api_key_env: str | None = None
    omit: tuple[Setting, ...] = ()
    rename: dict[Setting, Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]] = {}

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        url = url.strip().rstrip("/")
        if not re.fullmatch(r"https?://[^\s/?#@\\]+(/[^\s?#@\\]*)?", url) or not _has_host(url):
            raise ValueError(
                "an address as http://127.0.0.1:8080/v1, with no user name, no password, and nothing behind ? or #"
            )
        return url

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,99}", name):
            raise ValueError(
                "the name of an environment variable, in capitals, such as MY_SERVER_KEY; the key itself belongs into "
                "that variable"
            )
        return name

    @model_validator(mode="after")
    def _has_one_name_for_each(self) -> Profile:
        names = ["model", "messages", *(self.rename.get(setting, setting) for setting in get_args(Setting))]
        twice = [name for name in names if names.count(name) > 1]
        both = [setting for setting in self.omit if setting in self.rename]
        if both:
            raise ValueError(f"{both[0]} in omit or in rename, not in both")
        if twice:
            raise ValueError(f"each setting under a name of its own in rename; {twice[0]} is another's")
        return self


BUILT_IN = {
    "ollama": Profile(base_url="http://127.0.0.1:11434/v1"),
    "llama-cpp": Profile(base_url="http://127.0.0.1:8080/v1"),
    "lm-studio": Profile(base_url="http://127.0.0.1:1234/v1"),
    "vllm": Profile(base_url="http://127.0.0.1:8000/v1"),
    "openai": Profile(
        base_url="https://api.openai.com/v1", model="gpt-4.1-mini", api_key_env="OPENAI_API_KEY"
    ),
}


def profile_names(folder: Path) -> list[str]:
    """Return the names to choose from: the built-in profiles, then the user's own.

    Args:
        folder: folder with the user's own settings.

    Raises:
        LanguageModelError: the file of profiles can't be read.
    """
    return list(BUILT_IN | _read_entries(folder))


def read_profile(folder: Path, name: str) -> Profile:
    """Read one profile; the user's own come before built-in ones of the same name.

    Args:
        folder: folder with the user's own settings.
        name: name of the profile.

    Raises:
        LanguageModelError: there is none of this name, or it or the file isn't as it should be; shows no values.
    """
    entries = _read_entries(folder)
    if name not in BUILT_IN | entries:
        raise LanguageModelError(
            f"profile {name!r}: not on this machine; expected one of {list(BUILT_IN | entries)}; choose one, or add it "
            f"to {FILE}."
        )
    if name not in entries:
        return BUILT_IN[name]
    try:
        return Profile.model_validate(entries[name])
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
    raise LanguageModelError(_explain(name, fault))


def _read_entries(folder: Path) -> dict[str, Any]:
    """Return what stands in the file, by profile; nothing if there is no file."""
    try:
        read = read_json((folder / FILE).read_bytes().decode("utf-8-sig"))
        why = f"JSON of a {type(read).__name__}"
    except FileNotFoundError:
        return {}
    except OSError as error:
        read, why = None, error.strerror
    except ValueError as error:
        read, why = None, str(error)
    entries = as_object(read)
    if entries is None:
        raise LanguageModelError(
            f"{FILE}: got no profiles ({why}); expected JSON as "
            '{"my server": {"base_url": "http://127.0.0.1:8080/v1", "model": "...", "api_key_env": "MY_SERVER_KEY"}}; '
            "correct it."
        )
    return entries


# Descriptions of the fields that are not texts, for errors.
_FORMS = {
    ("omit",): 'a list of settings, such as ["temperature", "seed"]',
    ("rename",): 'names by setting, such as {"max_tokens": "max_completion_tokens"}',
}


def _explain(name: str, fault: Any) -> str:  # pydantic's ErrorDetails, a TypedDict with optional keys
    path = ".".join(["$", name, *(str(part) for part in fault["loc"] if part != "[key]")])
    got, expected = "another value", str(fault.get("ctx", {}).get("error") or fault["msg"])
    if fault["type"] == "missing":
        got, expected = "nothing", "a value"
    elif fault["type"] == "extra_forbidden":
        got, expected = "a field that profiles don't have", ", ".join(Profile.model_fields)
    elif fault["type"] == "literal_error":
        expected = f"one of {', '.join(get_args(Setting))}"
    elif fault["loc"] in _FORMS:
        expected = _FORMS[fault["loc"]]
    elif fault["loc"][:1] == ("rename",):
        expected = "a name of letters, digits and _, as the server knows it"
    return f"{FILE} {path}: got {got}; expected {expected}; correct it there."
