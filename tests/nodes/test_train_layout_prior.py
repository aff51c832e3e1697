"""Train Layout Prior: what it learns from, the file it writes, what it shows, and that a cancel leaves nothing."""

from __future__ import annotations

import pytest
import torch
from frameloom.language.planning.layout_prior import read_layout_prior
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene, Storyboard
from frameloom.tests.support.layouts import sample
from frameloom.training.layout import report as layout_report
from frameloom.training.layout import scenes as layout_scenes
from safetensors import safe_open

WIDGETS = {"name": "mine/shapes", "steps": 12, "batch_size": 4, "width": 16, "layers": 1}


def boards(count=18):
    """A storyboard of so many scenes that say different things."""
    scenes = []
    for number in range(count):
        x = number / (2 * count)
        track = tuple(BoxKey(f=f, box=(x, y, x + 0.4, y + 0.4)) for f, y in ((0, 0.1), (7, 0.5)))
        dog = Entity(id="dog", text=f"dog {number}", track=track)
        scenes.append(Scene(id=number, prompt=f"walk {number}", frames=8, entities=(dog,)))
    return Storyboard(scenes=tuple(scenes)).to_json()


@pytest.fixture
def make(run, monkeypatch):
    monkeypatch.setattr(layout_scenes, "SCENES", 60)
    return lambda **given: run("TrainLayoutPrior", **(WIDGETS | given))


def priors(host):
    folder = host.models_dir / "layout_priors"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_it_writes_a_file_that_layout_prior_lists_and_runs(make, run, nodes, host):
    name, report, plot = make()
    assert name == "mine/shapes_00001_.safetensors"
    assert priors(host) == [name]
    assert name in nodes["LayoutPrior"].define_schema().inputs[0].options
    chosen, _ = run("LayoutPrior", file=name, entities="a red circle")
    connected, _ = run("LayoutPrior", file="none", trained=name, entities="a red circle")
    assert chosen == connected
    assert chosen.provenance.model == name
    assert "100.0 % within the grammar" in report
    assert plot.shape == (1, 200, 640, 3)


def test_the_file_is_the_trained_network_in_half_precision_and_the_seeds_own(make, host):
    folder = host.models_dir / "layout_priors"
    one, other = (folder / make(seed=seed, steps=2)[0] for seed in (5, 6))
    with safe_open(one, "pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
    states = [read_layout_prior(path).state_dict() for path in (one, other)]
    assert not all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_it_learns_from_text_and_from_files_and_notices_a_change_of_them(make, nodes, host):
    assert "scenes: 10 to train on, 8 held out" in make(source="text", text=boards(), steps=2)[1]
    fingerprint, folder = nodes["TrainLayoutPrior"].fingerprint_inputs, host.user_dir() / "layouts"
    assert fingerprint(source="files") == ""
    folder.mkdir()
    (folder / "own.json").write_text(boards())
    before = fingerprint(source="files")
    (folder / "theirs.txt").write_text(sample("storyboard20k.txt"), "utf-8")
    assert fingerprint(source="files") != before
    assert fingerprint(source="shapes") == ""
    (line,) = [line for line in make(source="files", steps=2)[1].splitlines() if line.startswith("scenes:")]
    trained, held_out, left_out = (int(word) for word in line.split() if word.isdecimal())
    assert (trained, held_out, left_out) == (12, 8, 0)


def test_what_is_wrong_is_said_before_anything_is_trained(make, host):
    with pytest.raises(ValueError, match=r"got no \.json or \.txt file in layouts"):
        make(source="files")
    with pytest.raises(ValueError, match="layouts: got 3 scenes whose caption and names differ"):
        make(source="text", text=boards(3))
    with pytest.raises(ValueError, match=r"name='\.\./mine' leads out of the folder layout_priors"):
        make(name="../mine", steps=10**6)
    assert priors(host) == []


@pytest.mark.parametrize("after", [7, 12])
def test_a_cancel_leaves_no_file(make, host, monkeypatch, after):
    """In a step, and when the first layout is sampled."""
    calls = []

    def cancel():
        calls.append(0)
        if len(calls) > after:
            raise KeyboardInterrupt

    monkeypatch.setattr(host, "check_interrupt", cancel)
    with pytest.raises(KeyboardInterrupt):
        make()
    assert len(calls) == after + 1
    assert priors(host) == []


def test_a_name_that_another_process_takes_meanwhile_is_left_to_it(make, host, monkeypatch):
    named = []

    def measure(*arguments):
        path = host.new_model("layout_priors", "mine/shapes", "safetensors")[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"theirs")
        named.append(path)
        return train_and_measure(*arguments)

    train_and_measure = layout_report.train_and_measure
    monkeypatch.setattr(layout_report, "train_and_measure", measure)
    assert make(steps=2)[0] == "mine/shapes_00002_.safetensors"
    assert named[0].read_bytes() == b"theirs"


def test_progress_reaches_its_end_and_shows_the_loss(make, host, monkeypatch):
    shown = []

    class Bar:
        def update(self, done, preview=None):
            shown.append((done, preview))

    def progress(_self, total):
        shown.append((total, None))
        return Bar()

    monkeypatch.setattr(type(host), "progress", progress)
    make(steps=26)
    (total, _), *steps = shown
    done = [number for number, _ in steps]
    assert done == sorted(done)
    assert total - 4 < done[-1] <= total
    pictures = [picture for _, picture in steps if picture is not None]
    assert len(pictures) == 2
    assert pictures[0].shape == (200, 640, 3)
    assert not torch.equal(*pictures)
