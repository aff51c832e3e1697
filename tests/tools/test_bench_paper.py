"""Counts of a step on paper, against sums by hand."""

from __future__ import annotations

import pytest
import torch
from frameloom.tools.bench_paper import BESIDE, GIB, Count, Counter, most_frames
from torch._subclasses.fake_tensor import FakeTensorMode


def test_launches_bytes_and_the_peak_are_those_of_the_operations():
    with FakeTensorMode():
        x, weight = torch.empty(4, 8), torch.empty(8, 16)
        with Counter() as counter:
            hidden = x @ weight
            hidden = torch.relu(hidden).reshape(16, 4).t()  # views cost nothing
            hidden.mul_(2)
            del hidden
            x.view(32)
            torch.relu(x)
    pictures, products = 4 * 8 * 4, 4 * 16 * 4
    assert counter.launches == 4
    assert counter.moved == (pictures + 8 * 16 * 4 + products) + 2 * products + 2 * products + 2 * pictures
    assert counter.peak == 2 * products


def test_weights_and_their_views_are_no_activations():
    with FakeTensorMode():
        weight = torch.empty(8, 16)
        with Counter() as counter:
            turned = weight.t()
            turned[0].add_(1)
    assert counter.peak == 0


@pytest.mark.parametrize("card", [6, 12])
def test_frames_that_fit_are_on_the_line_through_two_clips(card):
    short, long = (Count(0, 0, peak, GIB) for peak in (2 * GIB, 5 * GIB))
    frames = most_frames(short, long, (16, 64), card)
    assert frames == int((card - BESIDE - 1 - 1) * 16)  # a GiB for none, and one for each 16
