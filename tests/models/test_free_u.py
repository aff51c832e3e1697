"""FreeU against diffusers' own, and its strengths."""

from __future__ import annotations

import pytest
import torch
from diffusers.utils.torch_utils import apply_freeu
from frameloom.models.edits.call import Call, Condition
from frameloom.models.motion.free_u import FreeU, scale_low

CALL = Call(2, 1, (Condition(0), Condition(1)), (0, 1), 1.0, 0.0, (8, 8))


@pytest.mark.parametrize(("factor", "stage"), [(4, 0), (2, 1)])
@pytest.mark.parametrize("side", [2, 5, 8])
def test_a_strength_of_1_is_the_papers(factor, stage, side):
    """Diffusers scales the whole half of the channels by the same figure, and filters as the authors do."""
    generator = torch.Generator().manual_seed(0)
    hidden, skip = (torch.randn(4, width, side, side, generator=generator) for width in (8, 6))
    ours = FreeU(1.4, 1.6, 0.9, 0.2).join(hidden, skip, CALL, factor)
    theirs = apply_freeu(stage, hidden.clone(), skip.clone(), s1=0.9, s2=0.2, b1=1.4, b2=1.6)
    for got, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, wanted)


def test_other_blocks_stay_as_they_are():
    both = torch.randn(4, 8, 4, 4), torch.randn(4, 8, 4, 4)
    assert all(got is given for got, given in zip(FreeU().join(*both, CALL, 1), both, strict=True))


def test_strengths_go_evenly_from_the_first_frame_to_the_last_and_stay():
    assert FreeU(first=0.0, last=1.0, frames=5).strengths([0, 1, 4, 9]) == [0.0, 0.25, 1.0, 1.0]
    assert FreeU(first=0.5, last=2.0, frames=1).strengths([0, 1]) == [0.5, 2.0]
    assert not FreeU(first=0.0, last=0.0).acts(CALL)


def test_only_the_lowest_frequencies_are_scaled_in_each_picture_by_its_own_factor():
    pictures = torch.ones(2, 1, 8, 8)
    pictures[:, :, ::2] -= 2  # the highest frequency of one axis, and no mean
    factors = torch.tensor([0.5, 1.0])[:, None, None, None]
    torch.testing.assert_close(scale_low(pictures, factors), pictures)
    torch.testing.assert_close(scale_low(pictures + 1, factors), pictures + factors)
