"""The headless engine against ComfyUI itself: the same weights, the same nodes and inputs, the same numbers."""

from __future__ import annotations

import itertools

import pytest
from frameloom.headless.samplers.sigmas import SCHEDULERS
from frameloom.headless.samplers.table import SAMPLERS
from frameloom.tests.support.control_cases import control_cases
from frameloom.tests.support.parity import (
    comfyuis,
    ours,
    write_models,
)
from frameloom.tests.support.region_cases import region_cases
from frameloom.tests.support.sampler_cases import named_cases, odd_cases
from frameloom.tests.support.sampling_cases import cases
from frameloom.tests.support.tensors import apart
from frameloom.tests.support.window_cases import window_cases

pytestmark = pytest.mark.host
NAMED = named_cases(SAMPLERS, SCHEDULERS)
CASES = NAMED | odd_cases() | cases() | control_cases() | region_cases() | window_cases()
# Six hints for one chunk of three frames are cut to three; where both scales are 1 only the first prompt is left; of
# three frames in batched windows of two the last would be alone, so its window is moved back, to where a static one is.
ALIKE = [
    ("control-positive-alone", "control-positive-alone-six-hints"),
    ("edit-first-alone", "edit-nested-at-1"),
    ("windows-static", "windows-batched"),
]
# The same without a mask; on a CPU, one that draws its path on the model's device is the same too.
OTHER_NAMES = {
    "sampler-ddim": "sampler-euler",
    "scheduler-normal": "sampler-euler",
    "sampler-ddpm": "sampler-euler_ancestral",
}
# Both compute in float32, in other orders; ten steps of a random network carry 1e-7 to about 1e-5.
TOLERANCE = 1e-3
# Of the trained demo model, which is smoother.
CLOSE = 1e-4


@pytest.fixture(scope="module")
def theirs(newest, tmp_path_factory):
    """A folder with models, and what ComfyUI makes of them."""
    folder = tmp_path_factory.mktemp("parity")
    write_models(folder)
    return folder, comfyuis(newest, folder, CASES)


@pytest.mark.parametrize("name", list(CASES))
def test_headless_gives_comfyuis_numbers(engine, sockets, expected, name, record_property):
    wanted, got = expected[name], ours(sockets, CASES[name])
    assert got.shape == wanted.shape
    error = apart(got, wanted)
    record_property("relative_error", error)
    assert error <= (CLOSE if name in NAMED else TOLERANCE)


def test_the_cases_tell_samplers_and_predictions_apart(expected):
    """The comparison would notice a sampler swapped for another."""
    plain = expected["v-euler-normal"]
    for other in (
        "eps-euler-normal",
        "v-euler_ancestral-normal",
        "v-dpmpp_2m-normal",
        "v-euler-karras",
        "lora",
    ):
        assert apart(expected[other], plain) > 10 * TOLERANCE
    assert apart(expected["v-ddim-masked"], expected["v-euler-masked"]) > 10 * TOLERANCE


def test_the_cases_tell_every_sampler_and_scheduler_from_every_other(expected):
    for one, other in itertools.combinations(NAMED, 2):
        is_same = OTHER_NAMES.get(one, one.removesuffix("_gpu")) == OTHER_NAMES.get(
            other, other.removesuffix("_gpu")
        )
        assert (apart(expected[one], expected[other]) <= 10 * CLOSE) == is_same, (one, other)


def test_the_cases_tell_rules_of_control_editing_regions_and_long_video_apart(expected):
    """The comparison would notice hints, masks, boxes, noise or windows of others, another range, a part left out."""

    for names in (
        [name for name in CASES if name.startswith(start)]
        for start in ("control-", "edit-", "region-", "free-", "init-", "told-", "windows-", "travel")
    ):
        for pair in itertools.combinations(names, 2):
            difference = apart(*(expected[name] for name in pair))
            assert (difference <= 10 * TOLERANCE) == (pair in ALIKE), pair
