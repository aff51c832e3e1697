"""Weight files damaged at random, from a seed: what downloads, trainings, converters and disks do to them."""

from __future__ import annotations

import io
import random

import torch
from safetensors.torch import load, save
from torch import Tensor

DTYPES = (torch.int64, torch.uint8, torch.int8, torch.bool, torch.float64, torch.float8_e4m3fn)
WAYS = (
    "cut",
    "bits of the header",
    "bits",
    "zeros",
    "key",
    "dtype",
    "shape",
    "number",
    "missing",
    "extra",
    "pickle",
)


def damage(data: bytes, metadata: dict[str, str] | None, way: str, generator: random.Random) -> bytes:
    """Return a safetensors file's bytes after one kind of damage; some of it leaves a file that is still right."""
    if way in ("cut", "bits of the header", "bits", "zeros"):
        return _damage_bytes(bytearray(data), way, generator)
    state = dict(sorted(load(data).items()))  # which come in another order in each process
    key = generator.choice(list(state))
    if way == "key":
        place = generator.randrange(len(key))
        state[key[:place] + generator.choice("abc019._") + key[place + 1 :]] = state.pop(key)
    elif way == "dtype":
        state[key] = state[key].to(generator.choice(DTYPES))
    elif way == "shape":
        state[key] = generator.choice(_shapes_of(state[key]))
    elif way == "number":
        state[key] = state[key].float()
        state[key].view(-1)[generator.randrange(state[key].numel())] = generator.choice(
            [torch.nan, torch.inf]
        )
    elif way == "missing":
        del state[key]
    elif way == "extra":
        state[f"{key}.{generator.choice('abc')}"] = state[key].clone()
    else:
        return _pickled(state, generator)
    return save(state, metadata)


def _damage_bytes(data: bytearray, way: str, generator: random.Random) -> bytes:
    end = 8 + int.from_bytes(data[:8], "little") if way == "bits of the header" else len(data)
    place = generator.randrange(end)
    if way == "cut":
        return bytes(data[:place])
    if way == "zeros":
        data[place : place + 5000] = bytes(len(data[place : place + 5000]))
    else:
        for _ in range(generator.randint(1, 4)):
            data[generator.randrange(end)] ^= 1 << generator.randrange(8)
    return bytes(data)


def _shapes_of(tensor: Tensor) -> list[Tensor]:
    flat = tensor.reshape(-1)
    return [
        flat.clone(),
        flat[:1].clone(),
        flat[:0].clone(),
        tensor[None].clone(),
        torch.zeros(()),
        torch.zeros(3, 5, 7),
    ]


def _pickled(state: dict[str, Tensor], generator: random.Random) -> bytes:
    """Return the same as a pickle, cut or with other bits."""
    buffer = io.BytesIO()
    content = {"state_dict": state} if generator.random() < 0.5 else state
    torch.save(content, buffer, _use_new_zipfile_serialization=generator.random() < 0.6)
    data = bytearray(buffer.getvalue())
    if generator.random() < 0.5:
        return bytes(data[: generator.randrange(len(data))])
    for _ in range(generator.randint(1, 6)):
        data[generator.randrange(min(len(data), 3000))] ^= 1 << generator.randrange(8)
    return bytes(data)
