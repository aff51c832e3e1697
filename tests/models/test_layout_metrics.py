"""Precision, recall, density and coverage: by hand, by naive loops, and where they must be 0 or 1; tracks as points."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.layout_prior.metrics import MOMENTS, Fidelity, compare, track_features
from frameloom.models.storyboard.scenes import BoxKey, Entity, Scene
from frameloom.tests.support.tensors import draw


def line(*places):
    return torch.tensor([[float(place)] for place in places])


def values(fidelity):
    return fidelity.precision, fidelity.recall, fidelity.density, fidelity.coverage


def test_by_hand_on_a_line():
    """Every real point's ball has radius 1, both samples' 8.5: 1.5 lies in the balls of 1 and 2, 10 in none."""
    assert compare(line(0, 1, 2, 3), line(1.5, 10), k=1) == Fidelity(0.5, 1.0, 1.0, 0.5)


def test_against_naive_loops():
    generator = torch.Generator().manual_seed(0)
    real, samples = torch.randn(40, 3, generator=generator), 0.7 * torch.randn(30, 3, generator=generator)
    k = 3

    def distance(a, b):
        return float(((a.double() - b.double()) ** 2).sum().sqrt())

    def radius(point, others):
        return sorted(distance(point, other) for other in others)[k]

    real_radii, sample_radii = [radius(p, real) for p in real], [radius(p, samples) for p in samples]
    inside = [[distance(x, y) <= r for y in samples] for x, r in zip(real, real_radii, strict=True)]
    wanted = (
        sum(any(row[j] for row in inside) for j in range(30)) / 30,
        sum(any(distance(x, y) <= r for y, r in zip(samples, sample_radii, strict=True)) for x in real) / 40,
        sum(map(sum, inside)) / (k * 30),
        sum(map(any, inside)) / 40,
    )
    assert values(compare(real, samples, k)) == pytest.approx(wanted)
    assert min(wanted) > 0
    assert wanted[3] < 1


def test_a_set_against_itself_has_all_of_it_once_more_than_its_neighbours():
    points = draw(50, 4, seed=1)
    assert values(compare(points, points, 5)) == pytest.approx((1, 1, 6 / 5, 1))


@pytest.mark.parametrize(("k", "count"), [(0, 9), (5, 5)])
def test_too_few_points_are_refused(k, count):
    with pytest.raises(ValueError, match=rf"k={k}: got 9 real points and {count} samples; expected"):
        compare(torch.zeros(9, 2), torch.zeros(count, 2), k)


def scene(*keys, frames=9, hold=False):
    track = tuple(BoxKey(f=f, box=box) for f, box in keys)
    return Scene(id=1, frames=frames, entities=(Entity(id="a", text="a", track=track, hold=hold),))


def test_a_track_is_its_centers_and_sizes_and_their_change_over_the_scene():
    moving = scene((0, (0.1, 0.2, 0.3, 0.6)), (8, (0.5, 0.2, 0.7, 0.4)))
    (point,) = track_features([moving])
    boxes, change = point.split([4 * MOMENTS, 4 * (MOMENTS - 1)])
    torch.testing.assert_close(boxes.view(MOMENTS, 4)[0], torch.tensor([0.2, 0.4, 0.2, 0.4]))
    torch.testing.assert_close(boxes.view(MOMENTS, 4)[-1], torch.tensor([0.6, 0.3, 0.2, 0.2]))
    wanted = torch.tensor([0.4, -0.1, 0.0, -0.2]).expand(MOMENTS - 1, 4)
    torch.testing.assert_close(change.view(MOMENTS - 1, 4), wanted)


def test_a_track_does_not_depend_on_how_many_frames_it_is_spread_over():
    short = scene((0, (0, 0, 0.5, 0.5)), (4, (0.5, 0.5, 1, 1)), frames=5)
    long = scene((0, (0, 0, 0.5, 0.5)), (400, (0.5, 0.5, 1, 1)), frames=401)
    torch.testing.assert_close(track_features([short]), track_features([long]))


def test_what_is_not_there_all_the_time_is_left_out():
    box = (0, 0, 0.5, 0.5)
    gone = scene((0, box), (4, None), frames=9)
    held = scene((3, box), hold=True)
    assert track_features([gone]).shape == (0, 8 * MOMENTS - 4)
    assert track_features([gone, held, held]).shape == (2, 8 * MOMENTS - 4)
