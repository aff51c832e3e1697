"""How far sampling is at a noise level, whatever levels a model knows."""

from __future__ import annotations

from typing import Any

from comfy.model_sampling import ModelSamplingDiscrete
from torch import Tensor

from ...models.errors import HostError

LAST_TIMESTEP = 999
_HALVINGS = 40


def progress_at(sampling: Any, sigma: Tensor) -> float:
    """Return the share of sampling at a noise level, whose first number counts: what ``percent_to_sigma`` undoes.

    Of a thousand discrete timesteps it is 1 - t / 999; of models with continuous levels (EDM, flow), which have no
    such t, it is found by halving.
    """
    if type(sampling).percent_to_sigma is ModelSamplingDiscrete.percent_to_sigma:
        return 1 - float(sampling.timestep(sigma.flatten()[:1])) / LAST_TIMESTEP
    wanted, low, high = float(sigma.flatten()[0]), 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if float(sampling.percent_to_sigma(middle)) <= wanted else (middle, high)
    return high


def check_discrete(sampling: Any, name: str) -> None:
    """Check that a model has a thousand timesteps of training, by which levels are named.

    Raises:
        HostError: its noise levels are continuous.
    """
    if not isinstance(sampling, ModelSamplingDiscrete):
        raise HostError(
            f"model: got {name} with continuous noise levels (EDM, as CosXL and Playground v2.5 have them); expected "
            "the 1000 timesteps of training that SD1.5 and SDXL have; load such a checkpoint, or take the node out "
            "that changed the model's sampling."
        )
