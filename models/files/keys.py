"""Keys: what stands for a question, so that its finished work is found again and no other's is taken for it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from typing import Any, cast

from torch import Tensor

FORMAT = "frameloom-key/1"


def hash_settings(**settings: Any) -> str:
    """Return what stands for settings: numbers, texts, and lists, dicts and tensors of them; else TypeError."""

    def hashed(value: Any) -> Any:
        if isinstance(value, Tensor):
            data = value.detach().float().cpu().contiguous().view(-1).numpy().data  # a buffer; no second copy
            return [list(value.shape), hashlib.sha256(data).hexdigest()]
        raise TypeError(f"{type(value).__name__} can't stand for a setting.")

    text = json.dumps({"format": FORMAT, **settings}, sort_keys=True, default=hashed)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """Return a value as ``hash_settings`` takes it: data classes as dicts, sets in order, what else there is by type.

    Names that stand in keys are for good, so that finished work is found again whatever Python calls things later. A
    class that was renamed, or whose field was, says its first names in ``KEY``: entries that take the place of its
    own. One that is no longer what it was has a method ``for_key``. Fields that equality leaves out are left out.

    Examples:
        >>> plain({"levels": frozenset({2, 1}), "network": object()})
        {'levels': [1, 2], 'network': 'object'}
    """
    if value is None or isinstance(value, bool | int | float | str | Tensor):
        return value
    if hasattr(value, "for_key"):
        return plain(value.for_key())
    told = {"type": type(value).__name__, **getattr(value, "KEY", {})}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.compare]
        return {name: plain(getattr(value, name)) for name in names if name not in told} | told
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in cast("Sequence[Any]", value)]
    if isinstance(value, frozenset | set):
        return sorted(cast("Set[Any]", value))
    return told["type"]
