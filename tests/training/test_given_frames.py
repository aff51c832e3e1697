import pytest
import torch
from frameloom.training.motion.given_frames import draw_given


def draw(clips=20_000, frames=16):
    return draw_given(clips, frames, torch.Generator().manual_seed(0))


def test_what_is_given_has_the_stated_shares():
    """Within four standard deviations of a binomial share. A random choice may also fall on an end, or both."""
    given = draw()
    first, last, count = given[:, 0], given[:, -1], given.sum(1)
    is_prefix = (given.long().diff(dim=1) <= 0).all(1) & first
    shares = {
        "none": (count == 0, 0.20),
        "ends": (first & last & (count == 2), 0.45 + 0.10 / 3 / 120),
        "first": (first & (count == 1), 0.10 + 0.10 / 8 + 0.10 / 3 / 16),
        "first ones": (is_prefix & (count > 3), 0.10 * 5 / 8),
        "last": (last & (count == 1), 0.05 + 0.10 / 3 / 16),
    }
    for name, (hit, share) in shares.items():
        assert abs(hit.float().mean().item() - share) < 4 * (share / len(given)) ** 0.5, name
    assert set(count[is_prefix].tolist()) == set(range(1, 9))
    anywhere = ~is_prefix & given[:, 1:-1].any(1)
    assert abs(anywhere.float().mean().item() - 0.10) < 0.012
    assert set(count[anywhere].tolist()) == {1, 2, 3}


@pytest.mark.parametrize("frames", [3, 4, 32])
def test_a_frame_is_always_left_to_draw(frames):
    given = draw(2000, frames)
    assert given.shape == (2000, frames)
    assert not given.all(1).any()
