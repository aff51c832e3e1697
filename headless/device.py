"""Which device the headless host computes on."""

from __future__ import annotations

import torch


class NoDeviceError(RuntimeError):
    """A device of a kind that torch knows and that this machine, or this torch, does not have."""


def pick_device(device: str | torch.device | None) -> torch.device:
    """Return a device by its name; None: the first GPU of CUDA, else the CPU.

    Raises:
        RuntimeError: torch has no such device, or, as ``NoDeviceError``, there is none in this machine.
    """
    if device is not None:
        chosen = torch.device(device)
        there = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
        if (chosen.index or 0) >= there.get(chosen.type, 1):
            raise NoDeviceError(
                f"got {str(device)!r}, but torch finds {there[chosen.type]} devices of {chosen.type} here; expected "
                "one that is there, such as cpu"
            )
        return chosen
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
