"""A question to a language model behind a server, and what to expect of it."""

from __future__ import annotations

import pytest
from frameloom.language.llm.endpoint import Endpoint
from frameloom.language.llm.model import Message
from frameloom.language.llm.profiles import Profile
from frameloom.models.errors import LanguageModelError
from frameloom.tests.support.llm_stub import PATIENCE

TALK = [Message("system", "Answer in JSON."), Message("user", "Where is the fox?")]
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}
TEXT = '{"x": "füchsin 狐 🦊", "y": 1}'


def model_of(stub, **settings):
    given = {name: settings.pop(name) for name in ("omit", "rename") if name in settings}
    profile = Profile(
        base_url=getattr(stub, "url", stub), model="m", api_key_env=settings.pop("env", None), **given
    )
    return Endpoint("mine", profile, **{"timeout": PATIENCE, **settings})


def ask(model, watch=lambda _: None):
    return model.complete(TALK, SCHEMA, seed=7, watch=watch)


def refused(model, match):
    with pytest.raises(LanguageModelError, match=match) as caught:
        ask(model)
    assert str(caught.value).startswith("mine: ")
    return caught.value
