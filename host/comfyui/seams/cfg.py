"""Guidance of each frame, around the function of guidance that another node has set, before or behind ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy.samplers import CFGGuider
from torch import Tensor

from ....models.errors import HostError

_FUNCTION, _ASKS_ALL = "sampler_cfg_function", "disable_cfg1_optimization"


def check_guider(guider: CFGGuider, user: str) -> None:
    """Check that what samples has a negative prompt, which guidance leads away from.

    Raises:
        HostError: it has none.
    """
    if "negative" not in guider.conds:
        raise HostError(
            f"{user}: got a guider without a negative prompt, {type(guider).__name__}; expected one with guidance; "
            "take core's CFG Guider, or take this node out."
        )


def number_of(guider: CFGGuider) -> float | None:
    """Return the guidance of a sampler; None: it has more than one, or works out its prediction in its own way."""
    return guider.cfg if type(guider).predict_noise is CFGGuider.predict_noise else None


def with_scale(options: dict[str, Any], scale: Callable[[float], Any], cfg: float | None) -> dict[str, Any]:
    """Return a call's model options with another guidance.

    Args:
        options: ComfyUI's ``model_options`` of the call; they stay as they are.
        scale: function of the sampler's guidance; to that of each frame, [F, 1, H or 1, W or 1].
        cfg: guidance of the sampler, by ``number_of``.
    """
    function = options.get(_FUNCTION, _plain)

    def guide(given: dict[str, Any]) -> Tensor:
        return function({**given, "cond_scale": scale(given["cond_scale"])})

    # Of a guidance of 1 ComfyUI does not ask the negative prompt; it need not where that of all frames is 1.
    asks_all = cfg is None or bool((scale(cfg) != 1).any())
    return {**options, _FUNCTION: guide, _ASKS_ALL: asks_all or options.get(_ASKS_ALL, False)}


def _plain(given: dict[str, Any]) -> Tensor:
    """Guide as ComfyUI does, in its terms: what is given is noise, not clean latents."""
    return given["uncond"] + (given["cond"] - given["uncond"]) * given["cond_scale"]
