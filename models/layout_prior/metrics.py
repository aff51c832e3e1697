"""How well sampled layouts stand for real ones: precision, recall, density and coverage of their tracks.

With x_i of N real points, y_j of M samples, and B(x_i) the closed ball around x_i up to its k-th nearest neighbour in
its own set, as B(y_j) in its:

    precision    share of j with y_j in some B(x_i)        density     mean over j of the number of B(x_i) with y_j, / k
    recall       share of i with x_i in some B(y_j)        coverage    share of i with some y_j in B(x_i)

Sources: Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models",
https://arxiv.org/abs/2002.09797, equations 2 to 5; precision and recall as there, after Kynkäänniemi et al. 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..storyboard.scenes import Scene

MOMENTS = 5  # of a scene, at which tracks are compared
NEIGHBOURS = 5  # k of Naeem et al.


@dataclass(frozen=True, slots=True)
class Fidelity:
    """What samples share with real ones, as above: each is 0..1, but density is about 1 where both are drawn alike."""

    precision: float
    recall: float
    density: float
    coverage: float


def compare(real: Tensor, samples: Tensor, k: int = NEIGHBOURS) -> Fidelity:
    """Compare two sets of points, [N, D] and [M, D]."""
    return Fidelity(**{name: float(each.mean()) for name, each in compare_points(real, samples, k).items()})


def compare_points(real: Tensor, samples: Tensor, k: int = NEIGHBOURS) -> dict[str, Tensor]:
    """Return what the figures of ``Fidelity`` are means of, by their names.

    Args:
        real: [N, D] float.
        samples: [M, D] float.
        k: number of the neighbour that a ball reaches to, smaller than N and M.

    Returns:
        [M] float64 of each sample for precision and density, [N] of each real point for recall and coverage.

    Raises:
        ValueError: a set has no more than k points.
    """
    if k < 1 or min(len(real), len(samples)) <= k:
        raise ValueError(
            f"k={k}: got {len(real)} real points and {len(samples)} samples; expected more than k, 1 at least; "
            "lower k or measure more."
        )
    distances = _distances(real, samples)
    in_real = distances <= _radii(real, k)[:, None]
    in_samples = distances <= _radii(samples, k)[None, :]
    return {
        "precision": in_real.any(0).double(),
        "recall": in_samples.any(1).double(),
        "density": in_real.sum(0).double() / k,
        "coverage": in_real.any(1).double(),
    }


def _distances(one: Tensor, other: Tensor) -> Tensor:
    # By differences, not by products: a copy must be at distance 0.
    return torch.cdist(one.double(), other.double(), compute_mode="donot_use_mm_for_euclid_dist")


def _radii(points: Tensor, k: int) -> Tensor:
    """Return each point's distance to its k-th nearest neighbour; the nearest of all is itself."""
    return _distances(points, points).kthvalue(k + 1, dim=1).values


def track_features(scenes: Sequence[Scene]) -> Tensor:
    """Return a point for every track: where its box is over the scene, how big, and how both change.

    Scenes may have any length; what has no box somewhere in its scene is left out.

    Returns:
        [N, 8 * MOMENTS - 4] float32: center, width and height at ``MOMENTS`` moments from first to last frame, and
        their change from one to the next as it would be over the whole scene. All in sides of the picture.
    """
    points: list[Tensor] = []
    for scene in scenes:
        frames = [round(i * (scene.frames - 1) / (MOMENTS - 1)) for i in range(MOMENTS)]
        for entity in scene.entities:
            boxes, present = entity.boxes_at(frames)
            if present.all():
                sides = boxes[:, 2:] - boxes[:, :2]
                shapes = torch.cat([boxes[:, :2] + sides / 2, sides], 1)
                change = (shapes[1:] - shapes[:-1]) * (MOMENTS - 1)
                points.append(torch.cat([shapes.flatten(), change.flatten()]))
    return torch.stack(points) if points else torch.zeros(0, 8 * MOMENTS - 4)
