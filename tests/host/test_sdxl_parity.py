"""SDXL headless against ComfyUI itself: the same files, the same nodes and inputs, the same numbers."""

from __future__ import annotations

import itertools

import pytest
from frameloom.tests.support.parity import (
    comfyuis,
    ours,
    write_models,
    write_sdxls,
)
from frameloom.tests.support.sdxl_cases import sdxl_cases
from frameloom.tests.support.tensors import apart

pytestmark = pytest.mark.host
CASES = sdxl_cases()
CLOSE = 1e-4
# SDXL reads its encoders' last layers but one anyway, and so where an encoder has fewer than are counted back.
ALIKE = {"sdxl-plain", "sdxl-usual-layer", "sdxl-past-both"}


@pytest.fixture(scope="module")
def theirs(newest, tmp_path_factory):
    """A folder with models, and what ComfyUI makes of them."""
    folder = tmp_path_factory.mktemp("sdxl")
    write_models(folder)
    write_sdxls(folder, newest.tree / "comfy" / "sd1_tokenizer")
    return folder, comfyuis(newest, folder, CASES)


@pytest.mark.parametrize("name", list(CASES))
def test_headless_gives_comfyuis_numbers_on_sdxl(engine, sockets, expected, name, record_property):
    wanted, got = expected[name], ours(sockets, CASES[name])
    assert got.shape == wanted.shape
    error = apart(got, wanted)
    record_property("relative_error", error)
    assert error <= CLOSE


def test_the_cases_tell_rules_of_sdxl_apart(expected):
    """It would notice another layer, other sizes, a prompt for the wrong encoder, a module of another kind."""
    for pair in itertools.combinations(expected, 2):
        one, other = (expected[name] for name in pair)
        if one.shape == other.shape:
            assert (apart(one, other) <= 10 * CLOSE) == ALIKE.issuperset(pair), pair
