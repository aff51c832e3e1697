"""VidToMe's tokens against loops over them, and its chunks."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from frameloom.models.edits.call import Call, Condition
from frameloom.models.network.sizes import DEMO
from frameloom.models.zero_shot.vidtome import VidToMe, match
from torch.nn.functional import cosine_similarity

FRAMES, PLACES, WIDTH = 3, 5, 8
LAYER = DEMO.unet.layers[0]


def call(frame_ids=(0, 1, 2), conditions=1, sigma=1.0, progress=0.3):
    keys = tuple(Condition(index, key=index) for index in range(conditions))
    return Call(len(frame_ids), 1, keys, tuple(frame_ids), sigma, progress, (8, 8), is_part=True)


def tokens(seed, frames=FRAMES):
    return torch.randn(frames, PLACES, WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.9, 1.0])
def test_the_sources_most_like_a_target_are_found_there(ratio):
    source, target = torch.randn(10, WIDTH), torch.randn(4, WIDTH)
    kept, found = match(source, target, ratio)
    rows = torch.cat([source[kept], target])
    likeness = torch.tensor([[float(cosine_similarity(a, b, dim=0)) for b in target] for a in source])
    merged = sorted(range(10), key=lambda row: -float(likeness[row].max()))[: int(10 * ratio)]
    assert len(kept) == 10 - len(merged)
    for row in range(10):
        wanted = target[int(likeness[row].argmax())] if row in merged else source[row]
        assert torch.equal(rows[found[row]], wanted)


def test_a_chunk_and_what_earlier_ones_left_are_as_a_loop_makes_them():
    """The steps of the published code, token by token, for both tosses of the coin."""
    part, memory, earlier = VidToMe(chunk=3, seed=4), {}, None
    coins = set()
    for number in range(6):
        frame_ids = tuple(range(3 * number, 3 * number + 3))
        given = tokens(number)
        merged = part.merge(given, call(frame_ids), memory, LAYER)
        draw = part._draw("tokens", frame_ids, 300)
        target, coin = int(torch.randint(3, (1,), generator=draw)), bool(torch.rand(1, generator=draw) > 0.5)

        def fuse(names, values, source, targets, ratio):
            """Which name each source is replaced by: a target's for the most alike, else its own."""
            best = {
                s: max(targets, key=lambda t: float(cosine_similarity(values[s], values[t], dim=0)))
                for s in source
            }
            order = sorted(source, key=lambda s: -float(cosine_similarity(values[s], values[best[s]], dim=0)))
            gone = order[: int(len(source) * ratio)]
            return {name: best[name] if name in gone else name for name in names}

        values = {("own", f, p): given[f, p] for f in range(3) for p in range(PLACES)}
        own = list(values)
        source = [name for name in own if name[1] != target]
        first = fuse(own, values, source, [name for name in own if name[1] == target], 0.9)
        local = list(dict.fromkeys(first.values()))
        second = {name: name for name in local}
        if earlier is not None:
            values |= {("old", row): each for row, each in enumerate(earlier)}
            old = [name for name in values if name[0] == "old"]
            pair = (local, old) if coin else (old, local)
            second = fuse([*local, *old], values, *pair, 0.8)
            coins.add(coin)
        left = {*second.values()}
        got = {tuple(row.tolist()) for row in merged.tokens[0]}
        assert got == {tuple(values[name].tolist()) for name in left}
        answers = merged.undo(merged.tokens)
        for _, f, p in own:
            assert torch.equal(answers[f, p], values[second[first["own", f, p]]])
        kept = [values[second[name]] for name in local]
        carried = memory[LAYER.number, LAYER.depth, 0].tokens
        assert {tuple(row.tolist()) for row in carried} == {tuple(row.tolist()) for row in kept}
        earlier = carried
    assert coins == {True, False}


def test_conditions_have_matches_of_their_own():
    """Together or apart, in either order."""
    one, other = tokens(1), tokens(2)
    part = VidToMe(3)
    together, apart = {}, {}
    for step in range(2):
        ids = range(3 * step, 3 * step + 3)
        both = part.merge(torch.cat([one, other]) + step, call(ids, 2), together, LAYER)
        for index, own in enumerate((one, other)):
            asked = Call(3, 1, (Condition(index, key=index),), tuple(ids), 1.0, 0.3, (8, 8), is_part=True)
            alone = part.merge(own + step, asked, apart, LAYER)
            assert torch.equal(both.tokens[index], alone.tokens[0])
            assert torch.equal(both.found[index], alone.found[0])


@pytest.mark.parametrize("again", [{"sigma": 2.0}, {"frame_ids": (2, 1, 0)}])
def test_a_new_step_begins_anew(again):
    """Also one of the same noise level, as samplers of second order have it: its frames come again."""
    part, memory = VidToMe(3), {}
    part.merge(tokens(1), call(), memory, LAYER)
    asked = call(**again)
    got = part.merge(tokens(2), asked, memory, LAYER)
    assert torch.equal(got.tokens, part.merge(tokens(2), asked, {}, LAYER).tokens)


def test_equal_frames_leave_one_frame():
    part = VidToMe(3, local_ratio=1.0, global_ratio=1.0)
    frame = tokens(0, 1)
    memory = {}
    for ids in ((0, 1, 2), (3, 4, 5)):
        merged = part.merge(frame.expand(3, -1, -1), call(ids), memory, LAYER)
        assert torch.equal(merged.tokens, frame)
        assert torch.equal(merged.undo(merged.tokens), frame.expand(3, -1, -1))


def test_layers_and_steps_keep_few_tokens_however_long_the_clip_is():
    part, most = VidToMe(4), {}
    for frames in (16, 64):
        memory, counts = {}, []
        for window in part.windows(frames, 2):
            given = torch.randn(len(window), PLACES, WIDTH)
            counts.append(part.merge(given, call(window), memory, LAYER).tokens.shape[1])
        most[frames] = max(counts)
    assert most[64] <= 2 * 1.4 * PLACES + 2
    assert most[16] <= 2 * 1.4 * PLACES + 2


@pytest.mark.parametrize("frames", [2, 3, 8, 33])
def test_chunks_cover_a_clip_once(frames):
    part = VidToMe(4, seed=2)
    firsts = set()
    for step in range(24):
        chunks = part.windows(frames, step)
        assert chunks == part.windows(frames, step)
        assert sorted(frame for chunk in chunks for frame in chunk) == list(range(frames))
        in_time = sorted(chunks)
        assert all(len(chunk) == 4 for chunk in in_time[1:-1])
        assert 1 <= len(in_time[0]) <= 4
        assert all(list(chunk) == list(range(chunk[0], chunk[-1] + 1)) for chunk in chunks)
        rest = [chunk[0] for chunk in chunks[len(chunks) // 4 :]]
        assert rest in (sorted(rest), sorted(rest, reverse=True))
        assert all(one[-1] + 1 == other[0] for one, other in pairwise(in_time))
        firsts.add(len(in_time[0]))
    assert len(firsts) == min(4, frames)
