"""What edits are told about each model call."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import HostError
from frameloom.models.motion.edit import TemporalEdit
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.host.inside.core import in_cores_windows


class Recorder(TemporalEdit):
    """A temporal edit that keeps the calls it is asked about."""

    __slots__ = ()
    calls: list = []

    def acts(self, call):
        Recorder.calls.append(call)
        return TemporalEdit.acts(self, call)


@pytest.fixture
def recorded(demo, motion, port):
    Recorder.calls = []
    return port.install(demo[0], Edit("test", slots=Recorder(motion)))


def test_calls_carry_frames_sigma_and_progress(recorded, scene):
    scene.run(recorded)
    first, last = Recorder.calls[0], Recorder.calls[-1]
    assert (first.frames, first.videos, first.frame_ids) == (4, 1, (0, 1, 2, 3))
    assert sorted(condition.index for condition in first.conditions) == [0, 1]
    assert first.sigma == pytest.approx(14.615, rel=1e-3)
    assert first.progress == pytest.approx(0.0, abs=1e-6)
    assert last.progress > 0.9
    assert last.sigma < 0.1


def test_payloads_reach_the_chunk_of_their_condition(recorded, scene):
    payload = {"boxes": [1]}
    scene.run(recorded, positive=[[scene.positive[0][0], {**scene.positive[0][1], "frameloom": payload}]])
    for call in Recorder.calls:
        assert {condition.index: dict(condition.payload) for condition in call.conditions} == {
            0: payload,
            1: {},
        }


def tiled(apply, given):
    """What Tiled Diffusion and its like do: ask about parts of pictures as further pictures."""
    halves = torch.cat(given["input"].chunk(2, -1))
    options = given["c"] | {"c_crossattn": given["c"]["c_crossattn"].repeat(2, 1, 1)}
    return torch.cat(apply(halves, given["timestep"].repeat(2), **options).chunk(2), -1)


def test_pictures_in_tiles_are_refused(recorded, scene):
    recorded.set_model_unet_function_wrapper(tiled)
    with pytest.raises(HostError, match=r"a call with 8 pictures for each condition; expected 4, .* \(Tiled"):
        scene.run(recorded)


def test_a_windows_pictures_in_tiles_are_refused(recorded, scene):
    """Also where there are as many tiles as the clip has frames."""
    model = scene.windowed(recorded, WindowPlan(4, 0))
    scene.run(model, frames=8)
    model.set_model_unet_function_wrapper(tiled)
    with pytest.raises(HostError, match=r"a call with 8 pictures for each condition; expected 4, "):
        scene.run(model, frames=8)


def test_windows_give_absolute_frame_ids(recorded, scene):
    out = scene.run(in_cores_windows(recorded), frames=8)
    assert torch.isfinite(out).all()
    seen = {call.frame_ids for call in Recorder.calls}
    assert all(len(call.frame_ids) == call.frames for call in Recorder.calls)
    assert (0, 1, 2, 3) in seen
    assert {frame for ids in seen for frame in ids} == set(range(8))
    assert any(ids[-4:] == (4, 5, 6, 7) for ids in seen)
