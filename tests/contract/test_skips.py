"""What every host promises of skips: each block of the way up is asked what it takes from the way down."""

from __future__ import annotations

import torch
from frameloom.models.edits.edit import Edit


class Noted:
    """Changes nothing, and notes what it saw."""

    def __init__(self):
        self.seen = []

    def join(self, hidden, skip, call, factor):
        self.seen.append((hidden.shape[1], skip.shape[1], factor))
        return hidden, skip


def test_every_block_of_the_way_up_is_asked_and_equal_features_are_bit_identical(port, demo, scene):
    part = Noted()
    drawn = scene.run(port.install(demo[0], Edit("skips", skips=part)))
    assert torch.equal(drawn, scene.drawn(demo[0]))
    # Of 32 channels, and twice as many below.
    assert part.seen == 3 * ([(64, 64, 2)] * 8 + [(64, 32, 2)] * 2 + [(32, 32, 1)] * 2)
