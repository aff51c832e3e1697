"""What every host promises of skips: the way up and the way down meet where, and as, an edit says."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from frameloom.models.edits.edit import Edit

FRAMES = 3


@dataclass
class Noted:
    """Scales what comes from below, and notes what it saw."""

    scale: float = 1.0
    seen: list = field(default_factory=list)

    def join(self, hidden, skip, call, factor):
        self.seen.append((hidden.shape[0] // call.frames, hidden.shape[1], skip.shape[1], factor))
        return hidden, skip * self.scale


@dataclass
class Shifted:
    """Adds to what comes from below."""

    amount: float

    def join(self, hidden, skip, call, factor):
        return hidden, skip + self.amount


def draw(port, scene, model, *parts):
    for number, part in enumerate(parts):
        model = port.install(model, Edit(f"part {number}", skips=part))
    return scene.run(model, frames=FRAMES)


def test_every_block_of_the_way_up_is_asked_and_equal_features_are_bit_identical(port, demo, scene):
    part = Noted()
    assert torch.equal(draw(port, scene, demo[0], part), scene.run(demo[0], frames=FRAMES))
    blocks = (
        [(64, 64, 2)] * 8 + [(64, 32, 2)] * 2 + [(32, 32, 1)] * 2
    )  # of 32 channels, and twice as many below
    assert [seen[1:] for seen in part.seen[: len(blocks)]] == blocks
    assert len(part.seen) % len(blocks) == 0


def test_edits_act_in_their_order(port, demo, scene):
    first = draw(port, scene, demo[0], Shifted(0.5), Noted(0.25))
    second = draw(port, scene, demo[0], Noted(0.25), Shifted(0.5))
    assert not torch.allclose(first, second, atol=1e-3)
    torch.testing.assert_close(second, draw(port, scene, demo[0], Noted(0.5), Noted(0.5), Shifted(0.5)))


@pytest.mark.parametrize("frames", [1, 4])
def test_training_sees_them(port, demo, frames):
    model = port.install(demo[0], Edit("skips", skips=(part := Noted(0.5))))
    tokens = port.encode_text(demo[1], "a red circle")[0][0][0]
    noisy, steps = torch.randn(frames, 4, 16, 16), torch.full((frames,), 500)
    changed, plain = (port.train_forward(each, frames).run(noisy, steps, tokens) for each in (model, demo[0]))
    assert part.seen
    assert not torch.allclose(changed, plain, atol=1e-3)
