"""Several processes that train together, over gloo on the CPU: what they do is what one does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from frameloom.tests.support.processes import run_together
from frameloom.tests.training.test_loop import SETTINGS, problem
from frameloom.training.loop import train
from frameloom.training.team import ALONE, gather

# Gradients as they are: clipping and AdamW's division would hide that they are of another size.
SHARED = replace(SETTINGS, accumulation=4, clip_norm=1e9)
SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from frameloom.tests.training.test_loop import problem
from frameloom.tests.training.test_team import SHARED, StoppedError, grad
from frameloom.training.loop import train
from frameloom.training.team import Accelerated, gather
folder, stop_at, key = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
team = Accelerated(on_cpu=True)
model, parameters, loss = problem()
def on_step(step, number):
    asked = team.rank == 1 and step == stop_at  # one process alone is asked to stop
    if any(flag for flag, in gather(team, asked)):
        raise StoppedError
saved = []
try:
    averages = train(
        parameters, loss, SHARED, checkpoint=folder / "run.pt", checkpoint_every=5, key=key.format(team.rank),
        on_step=on_step, on_checkpoint=lambda *told: saved.append(told), team=team,
    )
    values, gradients = ({name: part(value) for name, value in parameters.items()} for part in (torch.detach, grad))
    torch.save([averages, values, gradients], folder / f"{team.rank}.pt")
except StoppedError:
    print("stopped")
print(len(saved))
"""


class StoppedError(RuntimeError):
    pass


def grad(value):
    """The last step's gradient."""
    return value.grad


def train_together(folder, stop_at=-1, key="same"):
    return run_together(SCRIPT, 2, str(folder), str(stop_at), key)


@pytest.fixture(scope="module")
def alone():
    """Averages, weights and the last step's gradients of one process."""
    _, parameters, loss = problem()
    averages = train(parameters, loss, SHARED)
    return averages, *(
        {name: part(value) for name, value in parameters.items()} for part in (torch.detach, grad)
    )


def check_equal(folder, expected):
    for rank in range(2):
        for got, wanted in zip(torch.load(folder / f"{rank}.pt"), expected, strict=True):
            for name, value in wanted.items():
                torch.testing.assert_close(got[name], value, rtol=1e-6, atol=1e-6)
    first, second = (torch.load(folder / f"{rank}.pt") for rank in range(2))
    assert all(torch.equal(first[1][name], value) for name, value in second[1].items())


def test_two_processes_learn_what_one_does(tmp_path, alone):
    ended = train_together(tmp_path)
    assert [each.returncode for each in ended] == [0, 0], ended[1].stderr
    check_equal(tmp_path, alone)
    assert [each.stdout.split() for each in ended] == [["3"], ["0"]]  # after 5, 10 and 12 steps, by one alone


def test_a_stop_of_one_process_stops_all_and_they_go_on_to_the_same_weights(tmp_path, alone):
    ended = train_together(tmp_path, stop_at=6)
    assert [each.stdout.split() for each in ended] == [["stopped", "2"], ["stopped", "0"]], ended[1].stderr
    assert torch.load(tmp_path / "run.pt")["step"] == 7
    assert [each.returncode for each in train_together(tmp_path)] == [0, 0]
    check_equal(tmp_path, alone)


def test_processes_of_different_runs_are_refused_by_all(tmp_path):
    ended = train_together(tmp_path, key="of machine {}")
    for each in ended:
        assert each.returncode == 1
        assert "ValueError: processes: got 2 that are not in the same run (at steps 0, 0)" in each.stderr
    assert not (tmp_path / "run.pt").exists()


def test_micro_batches_that_cannot_be_dealt_out_evenly_are_refused():
    class Three:
        count, rank = 3, 0

        def sum(self, values):
            pass

    _, parameters, loss = problem()
    with pytest.raises(
        ValueError,
        match="accumulation=4 can't be shared evenly among 3 processes; expected a multiple of 3; set it to 6",
    ):
        train(parameters, loss, SHARED, team=Three())


def test_one_process_gathers_its_own_numbers():
    assert gather(ALONE, 2**53, 0.5) == [[2**53, 0.5]]
