"""Parts of a batch that go in lockstep."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar

import pytest
import torch
from frameloom.models.edits.edit import Source
from frameloom.models.edits.lockstep import Cut, Lockstep
from frameloom.models.motion.edit import AtOnce

HERE: ContextVar[str] = ContextVar("here", default="nowhere")


@pytest.mark.parametrize(
    ("frames", "at_once", "lengths"),
    [(8, 4, [4, 4]), (7, 3, [2, 2, 3]), (5, 4, [2, 3]), (3, 1, [1, 1, 1]), (4, 4, [4])],
)
def test_parts_are_of_about_one_size_and_none_is_longer_than_asked(frames, at_once, lengths):
    parts = Cut(2, frames, at_once).parts
    assert [part.stop - part.start for part in parts] == lengths
    assert [frame for part in parts for frame in range(part.start, part.stop)] == list(range(frames))


@pytest.mark.parametrize("rows", [1, 3])  # of a picture
def test_parts_of_a_batch_make_it_up(rows):
    cut = Cut(2, 5, 2)
    whole = torch.arange(2 * 5 * rows).unsqueeze(1)
    parts = [cut.take(whole, part) for part in cut.parts]
    assert torch.equal(cut.join(parts), whole)
    assert parts[0].flatten().tolist() == [*range(rows), *range(5 * rows, 6 * rows)]  # of both videos


def test_what_has_no_row_for_each_picture_belongs_to_all_parts():
    cut, scale, shared = Cut(2, 3, 1), torch.tensor(2.0), Source(torch.ones(2, 4, 1), is_shared=True)
    given = {
        "one": torch.ones(1, 4),
        "scale": scale,
        "name": "x",
        "source": shared,
        "control": [None, torch.ones(6)],
    }
    part = cut.take(given, slice(0, 1))
    assert part["one"] is given["one"]
    assert part["scale"] is scale
    assert part["name"] == "x"
    assert part["source"] is shared
    assert [each if each is None else len(each) for each in part["control"]] == [None, 2]


@pytest.mark.parametrize(
    ("room", "lengths"), [(10, [5]), (9, [2, 3]), (4, [1, 2, 2]), (2, [1] * 5), (0, [1] * 5)]
)
def test_a_batch_is_halved_until_a_part_fits(room, lengths):
    cut = Cut.of(10, 5, None, lambda pictures: pictures <= room)
    assert [part.stop - part.start for part in cut.parts] == lengths


@pytest.mark.parametrize(("asked", "most"), [(2, 2), (5, 5), (100, 5)])
def test_a_number_of_frames_that_is_asked_for_is_taken(asked, most):
    assert Cut.of(10, 5, AtOnce(asked), lambda _: False) == Cut(2, 5, most)


def test_what_a_network_returns_by_name_is_joined_by_name():
    cut, whole = Cut(2, 3, 2), torch.arange(6)
    joined = cut.join([{"input": [cut.take(whole, part), None], "middle": ()} for part in cut.parts])
    assert torch.equal(joined["input"][0], whole)
    assert (joined["input"][1], joined["middle"]) == (None, ())


def test_where_parts_meet_one_function_sees_the_whole():
    lockstep, pictures = Lockstep(Cut(1, 5, 2)), torch.arange(5.0)
    seen = []

    def add_mean(whole):
        seen.append(whole.tolist())
        return whole + whole.mean()

    result = lockstep.run(lambda part: lockstep.meet(add_mean, lockstep.meet(add_mean, part) * 2), pictures)
    assert seen == [[0, 1, 2, 3, 4], [4, 6, 8, 10, 12]]
    assert result.tolist() == [12, 14, 16, 18, 20]


def test_parts_are_where_they_were_called_and_what_they_set_stays_theirs():
    lockstep, found = Lockstep(Cut(1, 2, 1)), []

    def run(part):
        found.append(HERE.get())
        HERE.set(f"part {int(part)}")
        lockstep.meet(lambda whole: whole, part)
        found.append(HERE.get())
        assert torch.is_inference_mode_enabled()
        return part

    token = HERE.set("outside")
    with torch.inference_mode():
        lockstep.run(run, torch.arange(2))
    assert found == ["outside", "outside", "part 0", "part 1"]
    assert HERE.get() == "outside"
    HERE.reset(token)


@pytest.mark.parametrize("where", ["in the second part", "in what they do together"])
def test_a_failure_ends_every_part_and_runs_what_it_must_at_its_end(where):
    lockstep, ended = Lockstep(Cut(1, 3, 1)), []

    def fail(_whole):
        raise KeyError(where)

    @contextlib.contextmanager
    def held(number):
        try:
            yield
        finally:
            ended.append(number)

    def run(part):
        with held(int(part)):
            lockstep.meet(lambda whole: whole, part)
            if where == "in the second part" and int(part) == 1:
                fail(None)
            return lockstep.meet(fail, part)

    with pytest.raises(KeyError, match=where):
        lockstep.run(run, torch.arange(3))
    assert sorted(ended) == [0, 1, 2]


def test_parts_that_take_different_ways_are_refused():
    lockstep = Lockstep(Cut(1, 2, 1))

    def run(part):
        return part if int(part) else lockstep.meet(lambda whole: whole, part)

    with pytest.raises(
        RuntimeError, match="took different ways through the network; expected one way for all; set "
    ):
        lockstep.run(run, torch.arange(2))
