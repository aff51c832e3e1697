"""Which device the headless host computes on."""

from __future__ import annotations

import torch


def pick_device(device: str | torch.device | None) -> torch.device:
    """Return a device by its name; None: the first GPU of CUDA, else the CPU."""
    if device is not None:
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
