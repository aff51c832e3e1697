"""Which device the headless host computes on."""

from __future__ import annotations

import torch


class NoDeviceError(RuntimeError):
    """A device of a kind that torch knows and that this machine, or this torch, does not have."""


def pick_device(device: str | torch.device | None) -> torch.device:
    """Return a device by its name; None: the first GPU of CUDA, else the CPU.

    Raises:
        RuntimeError: torch knows no such device.
    """
    if device is not None:
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def weight_dtype(device: torch.device) -> torch.dtype:
    """Return the type of a denoiser's weights on a device: half precision, float32 on the CPU."""
    return torch.float32 if device.type == "cpu" else torch.float16


def check_device(device: torch.device) -> None:
    """Check that a device is there.

    Raises:
        NoDeviceError: it isn't.
    """
    there = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= there.get(device.type, 1):
        raise NoDeviceError(
            f"got '{device}', but torch finds {there[device.type]} devices of {device.type} here; expected one that is "
            "there, such as cpu"
        )
