"""A pickle of work for another process, in which float8 tensors keep their bits.

torch (2.13, 2.14) writes a float8 tensor into a pickle and can't read it again; as bytes it can be sent.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch
from torch import Tensor, nn


def pack(work: object) -> bytes:
    """Return an object as a pickle, which ``pickle.loads`` reads."""
    parcel = io.BytesIO()
    _Packer(parcel, pickle.HIGHEST_PROTOCOL).dump(work)
    return parcel.getvalue()


class _Packer(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        """Say how to make a float8 tensor again; ``NotImplemented`` leaves the rest to pickle."""
        if not isinstance(obj, Tensor) or not str(obj.dtype).startswith("torch.float8"):
            return NotImplemented
        data = obj.detach().cpu().contiguous().view(torch.uint8)
        return _from_bytes, (
            data,
            obj.dtype,
            str(obj.device),
            isinstance(obj, nn.Parameter),
            obj.requires_grad,
        )


def _from_bytes(
    data: Tensor, dtype: torch.dtype, device: str, is_parameter: bool, requires_grad: bool
) -> Tensor:
    tensor = data.view(dtype).to(device)
    return nn.Parameter(tensor, requires_grad) if is_parameter else tensor.requires_grad_(requires_grad)
