"""Files of equal tensors are equal, whatever order the library gives their metadata."""

import pytest
import torch
from frameloom.models.files.header_order import save_ordered
from frameloom.models.files.weight_file import open_weights, write_tensors
from safetensors.torch import load, save

METADATA = {name: f"ä \\ \n \x01 {name}" for name in ("zebra", "format", "key", "apple", "é")}
TENSORS = {"b": torch.arange(6.0).view(2, 3), "a": torch.zeros(0, 3, dtype=torch.int8)}


def test_files_of_equal_tensors_are_equal_and_hold_what_was_given(tmp_path):
    """The library itself writes some other file of the same length nearly every time."""
    theirs = {save(TENSORS, METADATA) for _ in range(20)}
    assert len(theirs) > 1
    ours = {save_ordered(TENSORS, METADATA) for _ in range(20)}
    for number in range(5):
        write_tensors(tmp_path / f"{number}.safetensors", TENSORS, METADATA)
        ours.add((tmp_path / f"{number}.safetensors").read_bytes())
    [data] = ours
    assert {len(each) for each in theirs} == {len(data)}
    assert all(torch.equal(load(data)[name], value) for name, value in TENSORS.items())
    assert open_weights(tmp_path / "0.safetensors").metadata == METADATA


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}])
def test_with_one_key_or_none_nothing_changes(metadata):
    assert save_ordered(TENSORS, metadata) == save(TENSORS, metadata)
