#!/usr/bin/env bash
# torch 2.13.0: two torch.func.functional_call on one module that overlap leave the module with weights of a call.
#
# Expected: functional_call is stateless: each call computes with the tensors that it was given, and the module is as
# before when all calls have ended. That is how LoRAs go on a network that several users share.
# Seen: a call puts its tensors into the module and takes out what it finds there, which is another call's where two
# overlap. If the first one in is the first one out, the module goes on with the first one's weight for good, and the
# second call computes with the module's own from then on. No error comes up. Threads do this, and generators that yield
# within a call; calls that end in reverse order are right.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy # the build for CPUs is enough

"$folder/venv/bin/python" - <<'PYTHON'
import sys
import threading

import torch
from torch.func import functional_call


class Scale(torch.nn.Module):
    """y = weight * x, twice, with a pause between."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, x, pause):
        x = self.weight * x
        pause()
        return (self.weight * x).item()


def overlapped(first_ends_first):
    """Two calls, of weights 2 and 3, on one module of weight 1: their results, and the weight that is left."""
    module, results = Scale(), {}
    steps = [threading.Event() for _ in range(2)]

    def call(name, weight, pause):
        results[name] = functional_call(module, {"weight": torch.tensor(weight)}, (torch.tensor(1.0), pause))

    def first_pauses():
        steps[0].set()
        steps[1].wait()

    def second_pauses():
        if first_ends_first:
            steps[1].set()
            first.join()

    first = threading.Thread(target=call, args=("first", 2.0, first_pauses))
    second = threading.Thread(target=call, args=("second", 3.0, second_pauses))
    first.start()
    steps[0].wait()
    second.start()
    if not first_ends_first:
        second.join()
        steps[1].set()
    first.join()
    second.join()
    return results["first"], results["second"], module.weight.item()


wanted = 2.0 * 2.0, 3.0 * 3.0, 1.0
nested, crossed = overlapped(first_ends_first=False), overlapped(first_ends_first=True)
print(f"expected {wanted}; ends in reverse order {nested}; ends in order {crossed}")
sys.exit(not (nested == wanted and crossed == (2.0 * 3.0, 3.0 * 1.0, 2.0)))
PYTHON
