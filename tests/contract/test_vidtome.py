"""What every host promises of VidToMe: layers go among merged tokens, and every token gets an answer."""

from __future__ import annotations

import pytest
import torch
from einops import rearrange
from frameloom.models.edits.edit import Edit, Source
from frameloom.models.video.windows import WindowPlan
from frameloom.models.zero_shot.vidtome import LEVELS, VidToMe, vidtome_edit
from frameloom.tests.support.tensors import apart

FRAMES = 10


def merging(port, model, chunk=4, local=0.9, carried=0.8, seed=0):
    return port.install(model, vidtome_edit(chunk, local, carried, seed))


def test_without_merging_no_bit_changes(port, scene, demo):
    from frameloom.nodes.zero_shot.vidtome import VidToMe as Node

    (same,) = Node.execute(demo[0], chunk_size=4, local_ratio=0.0, global_ratio=0.8, seed=0).args
    assert torch.equal(scene.run(same), scene.drawn(demo[0]))
    assert torch.equal(scene.run(merging(port, demo[0]), frames=1), scene.drawn(demo[0], 1))


def test_frames_that_are_alike_are_as_without_merging(port, scene, demo):
    """All tokens of a chunk are those of one frame, and so are earlier chunks'."""
    noise = scene.noise(1).expand(FRAMES, -1, -1, -1).clone()
    plain = scene.run(demo[0], noise=noise)
    assert apart(scene.run(merging(port, demo[0], local=1.0, carried=1.0), noise=noise), plain) <= 1e-4


def test_frames_come_nearer_to_each_other(port, scene, demo):
    def spread(clip):
        return float(clip.std(0).mean())

    plain = spread(scene.run(demo[0], frames=FRAMES))
    alone = spread(scene.run(merging(port, demo[0], carried=0.0), frames=FRAMES))
    carried = spread(scene.run(merging(port, demo[0]), frames=FRAMES))
    assert alone < plain
    assert carried < plain


def test_the_seed_decides_chunks_and_targets(port, scene, demo):
    runs = [scene.run(merging(port, demo[0], seed=seed), frames=FRAMES) for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert apart(runs[0], runs[2]) > 1e-3


class AllFrames:
    """Self-attention that reads the tokens of all frames: what a chunk without a merged token is."""

    levels = LEVELS
    in_control = False

    def memory(self):
        return None

    def read(self, tokens, call, memory, layer):
        return Source(rearrange(tokens, "(b f) l c -> b (f l) c", f=call.frames), is_shared=True)


def test_a_chunk_of_which_nothing_is_merged_reads_all_of_its_frames(port, scene, demo):
    chunk = next(seed for seed in range(99) if len(VidToMe(64, seed=seed).windows(4, 0)) == 1)
    joined = port.install(demo[0], Edit("joined", self_attention=AllFrames()))
    got = scene.predict(merging(port, demo[0], 64, local=1e-9, seed=chunk))
    assert apart(got, scene.predict(joined)) <= 1e-4
    assert apart(got, scene.predict(demo[0])) > 1e-3


def test_a_chunk_is_as_a_clip_of_its_frames(port, scene, demo):
    """Where nothing is carried over; a chunk of one frame is as without merging."""
    seed = next(seed for seed in range(99) if len(VidToMe(4, seed=seed).windows(FRAMES, 0)[0]) == 1)
    whole = scene.predict(merging(port, demo[0], carried=0.0, seed=seed), frames=FRAMES)
    plain = scene.predict(demo[0], frames=FRAMES)
    for chunk in map(list, VidToMe(4, seed=seed).windows(FRAMES, 0)):
        assert (apart(whole[chunk], plain[chunk]) <= 1e-4) == (len(chunk) == 1)


def test_prompts_are_asked_together_or_apart(port, scene, demo):
    """Guidance of 1 asks one prompt, with the same answer about it as beside another."""
    model, sigmas = merging(port, demo[0]), port.sigmas(demo[0], 3, "normal")
    alone = scene.run(model, frames=FRAMES, cfg=1.0, sigmas=sigmas)
    beside = scene.run(model, frames=FRAMES, cfg=1.0 + 1e-6, sigmas=sigmas)
    assert apart(alone, beside) <= 1e-3


@pytest.mark.parametrize("frames", [16, 64])
def test_the_model_sees_one_chunk_at_a_time_however_long_the_clip_is(port, scene, demo, frames):
    seen = []

    class Look:
        def join(self, hidden, skip, call, factor):
            seen.append(call.frames)
            return hidden, skip

    scene.predict(port.install(merging(port, demo[0]), Edit("look", skips=Look())), frames=frames)
    assert 1 < max(seen) <= 4


def test_what_cuts_clips_or_reads_frames_is_refused_by_name(port, scene, demo, motion):
    model = merging(port, demo[0])
    for wrong, name in (
        (scene.moving(model, motion), "test"),
        (scene.windowed(model, WindowPlan(2, 1)), "windows"),
        (scene.crossing(model), "test"),
        (merging(port, model), "VidToMe"),
    ):
        with pytest.raises(ValueError, match=rf"got {name} beside VidToMe; expected no .*; take {name} out"):
            scene.run(wrong)
