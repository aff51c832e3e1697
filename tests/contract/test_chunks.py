"""What every host promises of frames in chunks: the network sees few, edits see all, and the clip is the same."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.long_video.free_noise import NoiseShuffle, WindowFusion
from frameloom.models.motion.edit import AtOnce
from frameloom.models.motion.free_u import FreeU
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.contract.test_mask_adapter import adapted, held
from frameloom.tests.support.layout import guide, lay_out, obey
from frameloom.tests.support.parts import Every
from frameloom.tests.support.tensors import apart

FRAMES = 5


@dataclass(frozen=True)
class Batches:
    """Changes nothing, and notes how many pictures a slot is given."""

    slots: tuple[str, ...] = ("down_blocks.0.motion_modules.0",)
    over_clip = False
    seen: list = field(default_factory=list)

    def run(self, slot, hidden, call, time, merges):
        self.seen.append(len(hidden) // len(call.conditions))
        return hidden


def in_chunks(port, model, frames):
    return port.install(model, Edit("chunks", chunks=AtOnce(frames)))


def first_convolution(model):
    unet = model.unet if hasattr(model, "unet") else model.model.diffusion_model
    return unet.conv_in if hasattr(unet, "conv_in") else unet.input_blocks[0][0]


def pictures_at_once(model, run):
    """The result of a run, and how many pictures its network's first convolution was given in each call."""
    seen = []
    hook = first_convolution(model).register_forward_hook(
        lambda _module, inputs, _output: seen.append(len(inputs[0]))
    )
    try:
        return run(), seen
    finally:
        hook.remove()


def close(one, other, share=1e-5):
    assert one.shape == other.shape
    assert apart(one, other) <= share


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_the_network_sees_few_frames_and_edits_see_all(port, demo, motion, scene, frames):
    moving = port.install(scene.moving(demo[0], motion), Edit("look", slots=(look := Batches())))
    wanted, whole = pictures_at_once(demo[0], lambda: scene.run(moving, frames=FRAMES))
    got, parts = pictures_at_once(demo[0], lambda: scene.run(in_chunks(port, moving, frames), frames=FRAMES))
    close(got, wanted)
    assert set(look.seen) == {FRAMES}
    assert sum(parts) == sum(whole)
    sides = max(whole) // FRAMES
    assert max(parts) == -(-FRAMES // -(-FRAMES // frames)) * sides  # chunks of about one size


@pytest.mark.parametrize("frames", [5, 6, 1000])
def test_chunks_as_long_as_the_clip_change_no_bit(port, demo, motion, scene, frames):
    moving = scene.moving(demo[0], motion)
    chunked = in_chunks(port, moving, frames)
    assert torch.equal(scene.run(chunked, frames=FRAMES), scene.run(moving, frames=FRAMES))


def test_a_still_in_chunks_is_the_still(port, demo, motion, scene):
    moving = scene.moving(demo[0], motion)
    assert torch.equal(scene.run(in_chunks(port, moving, 1), frames=1), scene.run(moving, frames=1))


@pytest.mark.parametrize(
    "seam", ["input", "residuals", "slots", "self_attention", "between", "cross_attention"]
)
def test_a_part_of_every_seam_sees_the_whole_clip(port, demo, scene, seam):
    model = port.install(demo[0], Edit("every", **{seam: Every(0.9, 0.02)}))
    close(scene.run(in_chunks(port, model, 2), frames=FRAMES), scene.run(model, frames=FRAMES))


def test_who_looks_sees_the_whole_clip(port, demo, scene):
    seen = []
    for chunks in (2, FRAMES):
        look = Every(levels=frozenset({0}))
        scene.run(in_chunks(port, port.install(demo[0], Edit("look", observe=look)), chunks), frames=FRAMES)
        seen.append(look.seen)
    assert len(seen[0]) == len(seen[1])
    for (query, key, layer), (query_, key_, layer_) in zip(*seen, strict=True):
        assert layer == layer_
        close(query, query_)
        close(key, key_.repeat_interleave(len(key) // len(key_), 0))


@pytest.mark.parametrize("anchor", ["first", "previous"])
def test_frames_read_each_other_across_chunks(port, demo, scene, anchor):
    crossing = scene.crossing(demo[0], anchor=anchor)
    close(scene.run(in_chunks(port, crossing, 2), frames=FRAMES), scene.run(crossing, frames=FRAMES))


def test_norms_go_over_the_whole_clip(port, demo, motion, scene):
    of_v1 = port.load_motion(replace(motion.weights, clip_norm=True))
    moving = scene.moving(demo[0], of_v1)
    wanted = scene.run(moving, frames=FRAMES)
    close(scene.run(in_chunks(port, moving, 2), frames=FRAMES), wanted)
    assert not torch.allclose(scene.run(scene.moving(demo[0], motion), frames=FRAMES), wanted, atol=1e-3)


def test_free_noise_windows_and_skips_are_the_same(port, demo, motion, scene):
    moving = scene.moving(demo[0], motion)
    for parts in (
        {"noise": NoiseShuffle(4, 2), "time": WindowFusion(4, 2)},
        {"windows": WindowPlan(4, 2)},
        {"skips": FreeU(last=0.2, frames=FRAMES)},
    ):
        model = port.install(moving, Edit("parts", **parts))
        close(scene.run(in_chunks(port, model, 2), frames=FRAMES), scene.run(model, frames=FRAMES))


@pytest.mark.parametrize(("follow", "share"), [(obey, 1e-5), (guide, 2e-3)], ids=["bias", "guidance"])
def test_layouts_are_the_same(port, demo, motion, scene, follow, share):
    """The gradient of an energy makes rounding a hundred times larger in each step."""
    moving, positive = scene.moving(demo[0], motion), lay_out(port, demo[1], FRAMES)
    model = follow(port, moving)
    wanted = scene.run(model, frames=FRAMES, positive=positive)
    close(scene.run(in_chunks(port, model, 2), frames=FRAMES, positive=positive), wanted, share)
    assert apart(scene.run(moving, frames=FRAMES, positive=positive), wanted) > 10 * share


def test_a_mask_adapter_is_told_of_all_frames(port, demo, motion, scene):
    moving, given = scene.moving(demo[0], adapted(motion)), held((0, 3))

    def draw(model):
        return scene.run(model, frames=FRAMES, latent=given[0], mask=given[1])

    close(draw(in_chunks(port, moving, 2)), draw(moving))


def test_a_failure_in_the_middle_leaves_the_model_as_it_was(port, demo, motion, scene):
    class FailingError(Exception):
        pass

    class Failing(Batches):
        def run(self, slot, hidden, call, time, merges):
            raise FailingError

    moving = scene.moving(demo[0], motion)
    wanted = scene.run(moving, frames=FRAMES)
    failing = port.install(moving, Edit("fails", slots=Failing(slots=("up_blocks.1.motion_modules.1",))))
    with pytest.raises(FailingError):
        scene.run(in_chunks(port, failing, 2), frames=FRAMES)
    assert torch.equal(scene.run(moving, frames=FRAMES), wanted)
