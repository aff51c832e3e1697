"""How two edits of one seam compose on every host: as ``models.edits.active.RULES`` says, and in training too."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.active import RULES, chain, last
from frameloom.models.edits.edit import SEAMS, Edit
from frameloom.models.layout.attention import BoxGather
from frameloom.models.layout.energy import BoxEnergy
from frameloom.models.long_video.free_init import NoiseReinit
from frameloom.models.long_video.free_noise import NoiseShuffle, WindowFusion
from frameloom.models.video.schedules import ANIMATEDIFF, STABLE_DIFFUSION
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.layout import lay_out
from frameloom.tests.support.parts import Every, InTurn

FRAMES = 5
FIRST, SECOND = Every(0.9, 0.02), Every(1.1, -0.01)
BOTH = InTurn(first=FIRST, second=SECOND)
INSIDE = ("input", "slots", "self_attention", "between", "cross_attention")  # the network, and so in training
# Two parts of each seam whose last counts: the settings of one technique.
LAST = {
    "schedule": (ANIMATEDIFF, STABLE_DIFFUSION),
    "noise": (NoiseShuffle(4, 2, seed=1), NoiseShuffle(2, 2)),
    "run": (NoiseReinit(1, spatial=0.5), NoiseReinit(1, temporal=0.9)),
    "windows": (WindowPlan(4, 2), WindowPlan(3, 1, weights="flat")),
    "conditions": (BoxGather(0.2, 0.2), BoxGather(1.0, 1.0)),
    "guide": (BoxEnergy(50.0, 1.0), BoxEnergy(200.0, 1.0)),
    "time": (WindowFusion(4, 2), WindowFusion(2, 1)),
    "between": (FIRST, SECOND),
}


def draw(port, scene, model, seam, *parts, positive=None):
    for number, part in enumerate(parts):
        model = port.install(model, Edit(f"part {number}", **{seam: part}))
    return scene.run(model, frames=FRAMES, positive=positive)


@pytest.fixture(scope="module")
def laid_out(port, demo):
    return lay_out(port, demo[1], FRAMES)


def test_every_seam_is_here():
    one_rule = {seam for seam, rule in RULES.items() if rule is last}
    assert one_rule - {"chunks"} == set(LAST)  # chunks change no clip: tests/contract/test_chunks.py
    assert set(SEAMS) - one_rule <= {*INSIDE, "observe", "skips"}


@pytest.mark.parametrize("seam", LAST)
def test_the_last_part_counts(port, demo, motion, scene, laid_out, seam):
    """It alone, not both: as if the first had never been installed."""
    model = scene.moving(demo[0], motion) if seam in ("time", "windows") else demo[0]
    positive = laid_out if seam in ("conditions", "guide") else None
    first, second = LAST[seam]
    one, two, both = (
        draw(port, scene, model, seam, *parts, positive=positive)
        for parts in ((first,), (second,), (first, second))
    )
    assert torch.equal(both, two)
    assert not torch.allclose(one, two, atol=1e-3)


@pytest.mark.parametrize("seam", [seam for seam in INSIDE if RULES[seam] is not last])
def test_parts_take_turns_or_add_up(port, demo, scene, seam):
    both, combined, other = (
        draw(port, scene, demo[0], seam, *parts) for parts in ((FIRST, SECOND), (BOTH,), (SECOND, FIRST))
    )
    assert torch.equal(both, combined)
    assert not torch.allclose(both, draw(port, scene, demo[0], seam, SECOND), atol=1e-3)
    assert torch.allclose(both, other, atol=1e-4) is (RULES[seam] is not chain)


def test_everything_that_looks_sees_the_same_and_changes_no_bit(port, demo, scene):
    parts = Every(), Every(levels=frozenset({0}))
    assert torch.equal(draw(port, scene, demo[0], "observe", *parts), scene.run(demo[0], frames=FRAMES))
    every, finest = ([layer.number for *_, layer in part.seen] for part in parts)
    assert every[:16] == list(range(16))
    assert finest[:5] == [0, 1, 13, 14, 15]
    assert len(every) * 5 == len(finest) * 16


@pytest.mark.parametrize("seam", INSIDE)
def test_training_goes_through_both(port, demo, seam):
    tokens = port.encode_text(demo[1], "a red circle")[0][0][0]
    noisy = torch.randn(FRAMES, 4, 16, 16, generator=torch.Generator().manual_seed(0))

    def predict(*parts):
        model = demo[0]
        for number, part in enumerate(parts):
            model = port.install(model, Edit(f"part {number}", **{seam: part}))
        forward = port.train_forward(model, FRAMES)
        device = next(forward.unet.parameters()).device
        with torch.inference_mode(False):
            inputs = (noisy, torch.full((FRAMES,), 500), tokens)
            return forward(*(each.clone().to(device) for each in inputs)).detach()

    wanted = SECOND if RULES[seam] is last else BOTH
    assert torch.equal(predict(FIRST, SECOND), predict(wanted))
    assert not torch.allclose(predict(wanted), predict(), atol=1e-3)
