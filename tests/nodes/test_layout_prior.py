"""The layout prior's node: its file, its names and its cancel."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.errors import CheckpointError
from frameloom.models.layout_prior.prior import LayoutGPT, PriorSize, save_prior
from frameloom.models.layout_prior.sequence import NAME, VOCABULARY
from frameloom.models.storyboard.scenes import parse_storyboard


@pytest.fixture
def folder(host):
    folder = host.models_dir / "layout_priors"
    folder.mkdir()
    torch.manual_seed(0)
    save_prior(folder / "tiny.safetensors", LayoutGPT(PriorSize(VOCABULARY, 256, 32, 2, 4)), NAME)
    return folder


@pytest.fixture
def make(run, folder):
    settings = {
        "file": "tiny.safetensors",
        "entities": "a red ball, a dog\nthe sky",
        "frames": 12,
        "keyframes": 3,
    }
    return lambda **given: run("LayoutPrior", **(settings | given))


def test_what_is_named_is_placed(make):
    board, text = make(caption="a park", width=640, height=360, fps=12.0, seed=5)
    scene = board.only_scene()
    assert [entity.text for entity in scene.entities] == ["a red ball", "a dog", "the sky"]
    assert [len(entity.track) for entity in scene.entities] == [3, 3, 3]
    assert (scene.frames, scene.prompt, board.size, board.fps) == (12, "a park", (640, 360), 12.0)
    assert (board.provenance.model, board.provenance.seed) == ("tiny.safetensors", 5)
    assert parse_storyboard(text) == board


def test_the_bundled_prior_moves_a_shape_as_the_caption_says(make):
    """Of 6 layouts each; by chance a quarter moved so."""
    settings = {"file": "frameloom_demo_layout_prior.safetensors", "entities": "a red circle", "keyframes": 2}
    found = {}
    for place, direction in enumerate(("left", "right", "up", "down")):
        axis, sign = place // 2, place % 2 * 2 - 1
        ways = []
        for seed in range(6):
            board, _ = make(
                caption=f"a red circle moving {direction} on a navy background", seed=seed, **settings
            )
            start, end = (key.box for key in board.only_scene().entities[0].track)
            ways.append(sign * (end[axis] - start[axis]) > 0.1)
        found[direction] = sum(ways)
    assert min(found.values()) >= 4, found


def test_a_connected_file_is_read_instead_and_none_is_refused_without_one(make, nodes):
    connected, _ = make(file="none", trained="tiny.safetensors")
    assert connected == make()[0]
    assert nodes["LayoutPrior"].fingerprint_inputs(file="none") == ""
    with pytest.raises(ValueError, match="file='none'; expected a layout prior; choose one, or connect"):
        make(file="none")


def test_a_file_of_another_vocabulary_is_named(make, folder):
    save_prior(folder / "old.safetensors", LayoutGPT(PriorSize(40, 256, 16, 1, 4)), "bytes, 64 lines, 0")
    with pytest.raises(CheckpointError, match="sequence 'bytes, 64 lines, 0'; expected"):
        make(file="old.safetensors")


def test_a_cancel_stops_it(make, host, monkeypatch):
    def cancel():
        raise KeyboardInterrupt

    monkeypatch.setattr(host, "check_interrupt", cancel)
    with pytest.raises(KeyboardInterrupt):
        make()
