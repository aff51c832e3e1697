"""Between self- and cross-attention: a ``middle_patch`` changes tokens.

Core's own GLIGEN, ``gligen`` on a condition, has one set of boxes for all frames, and is left to core.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .live import KEY


def between(tokens: Tensor, extra_options: dict[str, Any]) -> Tensor:
    """Change the tokens of a transformer, [N, L, C]; ComfyUI's ``middle_patch``."""
    live = extra_options.get(KEY)
    return tokens if live is None else live.active.between(tokens, extra_options["transformer_index"])


PATCHES = {"middle_patch": between}
