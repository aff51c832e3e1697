"""Write motion modules and motion LoRAs as files that AnimateDiff-Evolved, diffusers and this pack read.

Keys are AnimateDiff's own. What they can't tell stands in the metadata, which wins here and is passed over elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch

from ..files.weight_file import write_tensors
from .checkpoint import MotionWeights, pack_motion
from .lora import MotionLoRA, pack_motion_lora

FileDtype = Literal["fp16", "bf16", "fp32"]
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def save_motion(
    path: Path,
    motion: MotionWeights | MotionLoRA,
    dtype: FileDtype = "fp32",
    facts: Mapping[str, str] | None = None,
) -> None:
    """Write a motion module or a motion LoRA, whole or not at all.

    Args:
        path: name of the new file.
        motion: weights to write.
        dtype: type of its numbers; positional encodings too, as in AnimateDiff's files.
        facts: texts for the metadata, by names that begin with ``frameloom.``.
    """
    is_lora = isinstance(motion, MotionLoRA)
    state, metadata = pack_motion_lora(motion) if is_lora else pack_motion(motion)
    state = {key: tensor.detach().to("cpu", _DTYPES[dtype]).clone() for key, tensor in state.items()}
    write_tensors(path, state, {"format": "pt", **metadata, **(facts or {})})
