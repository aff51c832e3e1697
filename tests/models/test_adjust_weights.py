"""Weights of a motion module that are added to and multiplied, by kind."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.motion.adjust import KINDS, adjust_weights
from frameloom.tests.support.motion import tiny_weights

WEIGHTS = tiny_weights()
# The ends of keys, written out by hand.
NAMED = {
    "positions": ["pos_encoder.pe"],
    "queries": ["to_q.weight"],
    "keys": ["to_k.weight"],
    "values": ["to_v.weight"],
    "output weights": ["to_out.0.weight"],
    "output biases": ["to_out.0.bias"],
    "other": ["norms.0.weight", "norms.0.bias", "norms.1.weight", "norms.1.bias", "ff.net.0.proj.weight",
              "ff.net.0.proj.bias", "ff.net.2.weight", "ff.net.2.bias", "ff_norm.weight", "ff_norm.bias",
              "proj_in.weight", "proj_in.bias", "proj_out.weight", "proj_out.bias", "transformer.norm.weight",
              "transformer.norm.bias"],
}  # fmt: skip
NAMED["attention"] = [
    name for kind in ("queries", "keys", "values", "output weights", "output biases") for name in NAMED[kind]
]
NAMED["all"] = NAMED["attention"] + NAMED["positions"] + NAMED["other"]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_a_kind_change_and_no_others(kind):
    changed = adjust_weights(WEIGHTS, kind, 0.5, 2.0).state
    for key, value in WEIGHTS.state.items():
        wanted = 2 * value + 1 if key.endswith(tuple(NAMED[kind])) else value
        torch.testing.assert_close(changed[key], wanted)


def test_weights_keep_their_dtype_and_the_module_stays_as_it_is():
    half = {key: value.half() for key, value in WEIGHTS.state.items()}
    before = {key: value.clone() for key, value in half.items()}
    weights = adjust_weights(type(WEIGHTS)("mm", "v2", WEIGHTS.size, half, None), "all", 0.0, 1.01)
    assert {value.dtype for value in weights.state.values()} == {torch.float16}
    assert all(torch.equal(half[key], before[key]) for key in half)
