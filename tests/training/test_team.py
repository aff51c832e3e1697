"""Several processes that train together, over gloo on the CPU: what they do is what one does."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
import torch
from frameloom.tests.support.processes import run_together
from frameloom.tests.training.test_loop import SETTINGS, problem
from frameloom.training.loop import train
from frameloom.training.team import ALONE, Accelerated, gather

# Gradients as they are: clipping and AdamW's division would hide that they are of another size.
SHARED = replace(SETTINGS, accumulation=4, clip_norm=1e9)
SCRIPT = """
import atexit, sys
from pathlib import Path
from frameloom.tests.training.test_team import count_threads, work
folder = Path(sys.argv[1])
atexit.register(count_threads, folder)  # before the team registers its own end, so after it
work(folder)
"""


class StoppedError(RuntimeError):
    pass


def learn(**more):
    """Averages, weights and the last step's gradients."""
    _, parameters, loss = problem()
    averages = train(parameters, loss, SHARED, **more)
    values = {name: value.detach() for name, value in parameters.items()}
    return averages, values, {name: value.grad for name, value in parameters.items()}


def count_threads(folder):
    (folder / f"threads {os.getpid()}").write_text(str(psutil.Process().num_threads()))


def work(folder):
    """What each process does: a run that is refused, one that is stopped, and the rest of it."""
    team, ended = Accelerated(on_cpu=True), []
    for name, key, stop in (("other", f"machine {team.rank}", -1), ("run", "", 6), ("run", "", -1)):

        def on_step(step, number, stop=stop):
            asked = team.rank == 1 and step == stop  # one process alone is asked to stop
            if any(flag for (flag,) in gather(team, asked)):
                raise StoppedError("stopped")

        told = []
        try:
            result = learn(
                checkpoint=folder / f"{name}.pt",
                checkpoint_every=5,
                key=key,
                on_step=on_step,
                on_checkpoint=lambda steps, _, told=told: told.append(steps),
                team=team,
            )
        except (StoppedError, ValueError) as error:
            result = str(error)
        ended.append((result, told))
        gather(team, 0)  # wait until the main one has written its checkpoint
    torch.save(ended, folder / f"ended {team.rank}.pt")


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The folder of two processes, and how the runs of each ended."""
    folder = tmp_path_factory.mktemp("together")
    for process in run_together(SCRIPT, 2, str(folder)):
        assert process.returncode == 0, process.stderr
    return folder, [torch.load(folder / f"ended {rank}.pt") for rank in range(2)]


def test_micro_batches_that_cannot_be_dealt_out_evenly_are_refused():
    said = "accumulation=4 can't be shared evenly among 3 processes; expected a multiple of 3; set it to 6"
    with pytest.raises(ValueError, match=said):
        learn(team=SimpleNamespace(count=3, rank=0))


def test_one_process_gathers_its_own_numbers():
    assert gather(ALONE, 2**53, 0.5) == [[2**53, 0.5]]


def test_a_stop_of_one_process_stops_all_and_they_go_on_to_the_weights_of_one(together):
    _, (first, second) = together
    assert first[1] == ("stopped", [5, 7])
    assert second[1] == ("stopped", [])
    assert (first[2][1], second[2][1]) == ([10, 12], [])  # one alone writes
    for results, _ in (first[2], second[2]):
        for got, wanted in zip(results, learn(), strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6)
    assert all(torch.equal(second[2][0][1][name], value) for name, value in first[2][0][1].items())


def test_processes_of_different_runs_are_refused_by_all(together):
    folder, ended = together
    for (said, _), *_ in ended:
        assert said.startswith("processes: got 2 that are not in the same run (at steps 0, 0)")
    assert not (folder / "other.pt").exists()


def test_no_thread_of_the_team_outlives_it(together):
    """Else one that lets go of a tensor while Python ends would abort the process."""
    folder, _ = together
    assert [file.read_text() for file in folder.glob("threads *")] == ["1", "1"]
