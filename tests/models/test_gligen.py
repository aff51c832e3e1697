"""GLIGEN files, boxes, and what a layout hands on."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.errors import CheckpointError
from frameloom.models.layout.attention import BoxGather, Layout, Reading, Region
from frameloom.models.layout.gligen import GROUNDING, MAX_ENTITIES, fourier_features, read_gligen
from frameloom.tests.support.gligen import BOXES, embeddings, grounding, write_gligen
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_gligen(tmp_path_factory.mktemp("gligen") / "gligen.safetensors")


def test_every_tensor_of_a_file_is_read_into_its_place(file, tmp_path):
    network, state = read_gligen(file)
    assert {name: value.shape for name, value in network.state_dict().items()} == {
        name: value.shape for name, value in state.items()
    }
    whole = load_file(file)
    assert torch.equal(state["module_list.6.linear.bias"],
                       whole["middle_block.1.transformer_blocks.0.fuser.linear.bias"])  # fmt: skip
    assert torch.equal(state["module_list.13.linear.bias"],
                       whole["output_blocks.9.1.transformer_blocks.0.fuser.linear.bias"])  # fmt: skip
    torch.save({"state_dict": whole}, tmp_path / "gligen.pth")
    assert all(
        torch.equal(value, state[name]) for name, value in read_gligen(tmp_path / "gligen.pth")[1].items()
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: {"unet.x": torch.zeros(1)}, "of no kind we know.*expected a GLIGEN file"),
        (lambda state: {**state, "position_net.linears_text.0.weight": torch.zeros(1)}, "texts and pictures"),
        (
            lambda state: {key: value for key, value in state.items() if "null_positive" not in key},
            "lacks position_net.null_positive_feature, one of 1 tensors",
        ),
    ],
)
def test_other_files_are_refused(file, tmp_path, change, words):
    save_file(change(load_file(file)), tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=words):
        read_gligen(tmp_path / "other.safetensors")


def test_features_are_sines_and_cosines_of_rising_frequencies():
    box = torch.tensor([0.1, 0.2, 0.5, 0.9])
    found = fourier_features(box)
    wanted = []
    for index in range(8):
        frequency = 100 ** (index / 8)
        wanted += [*torch.sin(frequency * box), *torch.cos(frequency * box)]
    torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-5, atol=1e-5)


def test_frames_are_picked_and_filled_up():
    clip = grounding(BOXES, frames=5)
    clip.boxes[3, 1] = 0.5
    clip.present[4, 0] = False
    boxes, masks, texts = clip.at([3, 4])
    assert boxes.shape == (2, MAX_ENTITIES, 4)
    assert boxes[0, 1].tolist() == [0.5] * 4
    assert masks.sum(1).tolist() == [2, 1]
    assert masks[1, :3].tolist() == [0, 1, 0]
    assert torch.equal(texts[1, :2], clip.embeddings)
    assert not texts[:, 2:].any()


def test_an_entity_asked_alone_has_its_own_boxes_and_none_of_others():
    tracks = [(torch.tensor(box).expand(4, -1), torch.ones(4, dtype=torch.bool)) for box in BOXES]
    texts = embeddings(2)
    regions = tuple(
        Region([(number, number + 1)], (track,), texts[[number]]) for number, track in enumerate(tracks)
    )
    tokens = torch.zeros(1, 77, 8)
    layout = Layout(
        Reading(tokens, regions), Reading(tokens), tuple(Reading(tokens, (region,)) for region in regions)
    )
    bare, *alone = (question.payload for question in BoxGather().variants(layout.payload(), 0.0))
    assert GROUNDING not in bare
    for number, payload in enumerate(alone):
        assert torch.equal(payload[GROUNDING].boxes, tracks[number][0][:, None])
        assert torch.equal(payload[GROUNDING].embeddings, texts[[number]])
    assert layout.payload()[GROUNDING].boxes.shape == (4, 2, 4)
