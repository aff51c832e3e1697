"""Train Layout Model: what it writes is listed and taken, files are learned from, and a cancel leaves no model."""

from __future__ import annotations

import pytest
from frameloom.language.answers.compact import VERSION
from frameloom.tests.nodes.test_train_layout_prior import boards
from frameloom.tests.support.tiny_llm import write_llm

WIDGETS = {
    "model": "tiny",
    "name": "mine/words",
    "steps": 3,
    "tokens": 1024,
    "rank": 2,
    "learning_rate": 0.01,
}


@pytest.fixture
def make(run, host):
    write_llm(host.models_dir / "llm" / "tiny")
    return lambda **given: run("TrainLayoutModel", **(WIDGETS | given))


def models(host):
    folder = host.models_dir / "llm"
    return sorted(path.parent.relative_to(folder).as_posix() for path in folder.rglob("config.json"))


def test_it_writes_a_model_that_local_llm_lists_and_takes(make, run, nodes, host):
    name, report, plot = make()
    assert name == "mine/words_00001_"
    assert models(host) == [name, "tiny"]
    assert name in nodes["LocalLLM"].define_schema().inputs[0].options
    chosen = run("LocalLLM", model=name, max_tokens=100, temperature=0.0)[0]
    connected = run("LocalLLM", model="tiny", trained=name, max_tokens=100, temperature=0.0)[0]
    assert chosen.form == connected.form == VERSION
    assert chosen.label == connected.label == name
    assert report.startswith("words_00001_: loss on held-out answers")
    assert plot.shape == (1, 200, 640, 3)


def test_it_learns_from_the_captions_in_files(make, nodes, host):
    folder = host.user_dir() / "layouts"
    folder.mkdir()
    (folder / "own.json").write_text(boards())
    before = nodes["TrainLayoutModel"].fingerprint_inputs(model="tiny", source="files")
    assert make(source="files")[0] == "mine/words_00001_"
    (folder / "own.json").write_text(boards(17))
    assert nodes["TrainLayoutModel"].fingerprint_inputs(model="tiny", source="files") != before


def test_what_is_wrong_is_said_before_anything_is_trained(make, host):
    folder = host.user_dir() / "layouts"
    folder.mkdir()
    (folder / "own.json").write_text(boards(3))
    with pytest.raises(ValueError, match="source=files: got 3 scenes with a caption and boxes"):
        make(source="files")
    with pytest.raises(ValueError, match=r"name='\.\./mine' leads out of the folder llm"):
        make(name="../mine", steps=10**6)
    with pytest.raises(ValueError, match="tokens=64: got a script and its storyboard of"):
        make(tokens=64)
    assert models(host) == ["tiny"]


def test_a_cancelled_run_leaves_no_model_and_goes_on(make, host, monkeypatch):
    calls = []

    def cancel():
        calls.append(0)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(host, "check_interrupt", cancel)
    with pytest.raises(KeyboardInterrupt):
        make()
    assert models(host) == ["tiny"]
    (checkpoint,) = (host.user_dir() / "training").rglob("checkpoint.pt")
    make()
    assert len(calls) == 3  # two steps were done
    assert not checkpoint.exists()
    assert models(host) == ["mine/words_00001_", "tiny"]
