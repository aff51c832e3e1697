"""How edits compose on every host: as ``models.edits.active.RULES`` says at one seam, and in any order at several."""

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
from frameloom.tests.support.layout import guide, lay_out, obey
from frameloom.tests.support.parts import Every, InTurn
from frameloom.tests.support.training import predict_in_training

FRAMES = 5
FIRST, SECOND = Every(0.9, 0.02), Every(1.1, -0.01)
BOTH = InTurn(first=FIRST, second=SECOND)
# So in training, too.
INSIDE = (
    "input",
    "slots",
    "skips",
    "temporal_attention",
    "self_attention",
    "between",
    "cross_attention",
)
SAMPLING = (*INSIDE, "residuals")  # and this one only while a model samples
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
# What stands beside a motion module and cross-frame attention.
BESIDE = {
    "noise and time": lambda port, model: put_on(
        port, model, noise=NoiseShuffle(4, 2), time=WindowFusion(4, 2)
    ),
    "between": lambda port, model: put_on(port, model, between=FIRST),
    "cross_attention": lambda port, model: obey(port, model, end_percent=1.0),
    "conditions": lambda port, model: put_on(port, model, conditions=BoxGather(1.0, 1.0)),
    "cross_attention and guide": lambda port, model: guide(port, obey(port, model)),
}


def put_on(port, model, *parts, **seams):
    for part in parts or (seams,):
        model = port.install(model, Edit("test", **part))
    return model


def draw(port, scene, model, seam, *parts, positive=None):
    edited = put_on(port, model, *({seam: part} for part in parts))
    return scene.run(edited, frames=FRAMES, positive=positive)


@pytest.fixture(scope="module")
def laid_out(port, demo):
    return lay_out(port, demo[1], FRAMES)


def test_every_seam_is_here():
    one_rule = {seam for seam, rule in RULES.items() if rule is last}
    # Chunks change no clip (test_chunks.py); RAVE and VidToMe refuse another of their kind.
    assert one_rule - {"chunks", "grid", "merge"} == set(LAST)
    assert set(SEAMS) - one_rule <= {*SAMPLING, "observe", "cfg", "result"}
    # Of cfg: test_cfg_schedule.py; of result: test_sparse_control.py.


@pytest.mark.parametrize("seam", LAST)
def test_the_last_part_counts(port, demo, moving, scene, laid_out, seam):
    """It alone, not both: as if the first had never been installed."""
    model = moving if seam in ("time", "windows") else demo[0]
    positive = laid_out if seam in ("conditions", "guide") else None
    first, second = LAST[seam]
    one, two, both = (
        draw(port, scene, model, seam, *parts, positive=positive)
        for parts in ((first,), (second,), (first, second))
    )
    assert torch.equal(both, two)
    assert not torch.allclose(one, two, atol=1e-3)


@pytest.mark.parametrize("seam", [seam for seam in SAMPLING if RULES[seam] is not last])
def test_parts_take_turns_or_add_up(port, demo, moving, scene, seam):
    model = moving if seam == "temporal_attention" else demo[0]
    both, combined, other = (
        draw(port, scene, model, seam, *parts) for parts in ((FIRST, SECOND), (BOTH,), (SECOND, FIRST))
    )
    assert torch.equal(both, combined)
    assert not torch.allclose(both, draw(port, scene, model, seam, SECOND), atol=1e-3)
    assert torch.allclose(both, other, atol=1e-4) is (RULES[seam] is not chain)


@pytest.mark.parametrize("way", BESIDE)
def test_parts_of_several_seams_act_in_any_order(port, demo, motion, scene, laid_out, way):
    beside = BESIDE[way]

    def run(model):
        return scene.run(model, frames=FRAMES, positive=laid_out)

    crossing = scene.crossing(demo[0])
    together = run(beside(port, scene.moving(crossing, motion)))
    other_order = scene.moving(beside(port, demo[0]), motion)
    assert torch.equal(together, run(scene.crossing(other_order)))
    for lacking in (scene.moving(crossing, motion), beside(port, crossing), other_order):
        assert not torch.allclose(together, run(lacking), atol=1e-2)


def test_everything_that_looks_sees_the_same_and_changes_no_bit(port, moving, scene):
    """Beside what acts; of a sampler's two conditions each layer is seen once, and the plain model shows nothing."""
    model, parts = scene.crossing(moving), (Every(), Every(levels=frozenset({0})))
    plain = scene.run(model, frames=FRAMES)
    assert torch.equal(draw(port, scene, model, "observe", *parts), plain)
    every, finest = ([layer.number for *_, layer in part.seen] for part in parts)
    assert every == 3 * list(range(16))
    assert finest == 3 * [0, 1, 13, 14, 15]
    scene.run(model, frames=FRAMES)
    assert len(parts[0].seen) == 3 * 16


@pytest.mark.parametrize("seam", INSIDE)
def test_training_goes_through_both(port, demo, moving, scene, seam):
    def predict(*parts):
        model = put_on(
            port, moving if seam == "temporal_attention" else demo[0], *({seam: part} for part in parts)
        )
        return predict_in_training(port, model, scene.positive, scene.noise(FRAMES), 3.0)

    wanted = SECOND if RULES[seam] is last else BOTH
    assert torch.equal(predict(FIRST, SECOND), predict(wanted))
    assert not torch.allclose(predict(wanted), predict(), atol=1e-3)
