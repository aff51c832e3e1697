"""Keys of finished work."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from frameloom.models.files.keys import hash_settings, plain
from frameloom.tests.support.tensors import draw


def keyframes(seed=0):
    return draw(2, 4, 3, 3, seed=seed)


def test_settings_that_differ_have_different_keys():
    settings = [
        {"seed": 1, "frames": keyframes()},
        {"seed": 2, "frames": keyframes()},
        {"seed": 1, "frames": keyframes(1)},
        {"seed": 1, "frames": keyframes().reshape(4, 2, 3, 3)},
    ]
    assert len({hash_settings(**each) for each in settings}) == len(settings)
    assert hash_settings(**settings[0]) == hash_settings(frames=keyframes(), seed=1)
    with pytest.raises(TypeError, match="object can't stand for a setting"):
        hash_settings(other=object())


@dataclass(frozen=True)
class Part:
    strength: float
    network: object


def test_parts_count_and_what_cant_be_told_counts_by_its_type():
    kinds = [Part(1.0, object()), Part(0.5, object()), Part(1.0, [object()]), {"strength": 1.0}]
    assert len({hash_settings(part=plain([kind])) for kind in kinds}) == len(kinds)
    assert plain(kinds[0]) == plain(Part(1.0, object()))
