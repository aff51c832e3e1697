"""How many frames the headless host asks the UNet about at once."""

from __future__ import annotations

import pytest
import torch
from frameloom.headless.engine import parts
from frameloom.models.motion.edit import AtOnce

SEEN = torch.zeros(10, 4, 32, 32)  # two sides of five frames
PICTURE = 0.01 * 2**20 * 32 * 32 * 4  # bytes that one needs, as ComfyUI reckons


@pytest.mark.parametrize(
    ("bytes_each", "room", "at_once"),
    [(4, 15.1, 5), (4, 14.9, 3), (4, 8.9, 2), (4, 0, 1), (2, 7.6, 5)],  # room in pictures of float32
)
def test_as_many_frames_as_there_is_room_for(monkeypatch, bytes_each, room, at_once):
    monkeypatch.setattr(parts, "_free", lambda _device: room * PICTURE)
    seen = SEEN if bytes_each == 4 else SEEN.half()
    assert parts.find_cut(None, seen, 5).at_once == at_once
    assert parts.find_cut(AtOnce(4), seen, 5).at_once == 4


def test_what_is_free_is_no_more_than_the_machine_has():
    assert 0 < parts._free(torch.device("cpu")) <= parts.psutil.virtual_memory().total
