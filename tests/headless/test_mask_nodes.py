"""The core nodes that make masks, against what they are for: holding some frames and making others."""

from __future__ import annotations

import pytest
import torch
from frameloom.headless.core_nodes.mask import EmptyImage, ImageBatch, ImageToMask


def test_black_and_white_frames_become_a_mask_of_zeros_and_ones(port):
    held = EmptyImage.execute(8, 4, 1, 0x000000)[0]
    made = EmptyImage.execute(8, 4, 3, 0xFFFFFF)[0]
    mask = ImageToMask.execute(ImageBatch.execute(held, made)[0], "red")[0]
    assert mask.shape == (4, 4, 8)
    assert mask.flatten(1).mean(1).tolist() == [0.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(("channel", "value"), [("red", 0x33), ("green", 0x66), ("blue", 0x99)])
def test_a_colour_is_read_back_by_channel(port, channel, value):
    mask = ImageToMask.execute(EmptyImage.execute(2, 2, 1, 0x336699)[0], channel)[0]
    torch.testing.assert_close(mask, torch.full((1, 2, 2), value / 0xFF))


def test_a_batch_takes_the_size_of_its_first_picture_and_is_opaque(port):
    batch = ImageBatch.execute(torch.zeros(1, 4, 8, 4), torch.ones(2, 8, 8, 3))[0]
    assert batch.shape == (3, 4, 8, 4)
    assert batch[1:].eq(1.0).all()
