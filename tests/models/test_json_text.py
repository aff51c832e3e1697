"""JSON of others: read, or refused in words."""

from __future__ import annotations

import pytest
from frameloom.models.files.json_text import DEEPEST, BadJSONError, read_json


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, null]}', b'"\xc3\xa4"', "[" * DEEPEST + "]" * DEEPEST])
def test_what_is_json_is_read(text):
    assert read_json(text) is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"text that is not JSON \(Expecting"),
        ("", "text that is not JSON"),
        (b'"\xff"', r"text that is not JSON \(.*utf-8"),
        ("9" * 5000, "JSON with a number of thousands of digits"),
        ("[" * 100_000, "JSON with thousands of lists or objects within each other"),
        ("[" * 200 + "]" * 200, "JSON with more than 100 lists or objects within each other"),
        ('{"a":' * 200 + "1" + "}" * 200, "JSON with more than 100 lists or objects"),
    ],
)
def test_what_cannot_be_used_is_said_in_words(text, said):
    with pytest.raises(BadJSONError, match=f"^{said}"):
        read_json(text)
