"""Ways in which a file is spoiled: its bytes, whatever it is, or the tensors of a weight file."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable, Mapping

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

HTML = b"<!DOCTYPE html><html><head><title>401</title></head><body>Sign in to download this file.</body></html>\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 8586470\n"
HEADER = 8  # bytes of the length of a safetensors header
Tensors = dict[str, Tensor]


def spoil(rng: random.Random, data: bytes, others: Mapping[str, bytes]) -> tuple[bytes, str]:
    """Return spoiled bytes, and what was done.

    Args:
        rng: chooses it.
        data: bytes of a good file.
        others: name -> bytes of other good files.
    """
    tensors = _tensors(data)
    if tensors and rng.random() < 0.6:
        change = rng.choice(CHANGES)
        return safetensors.torch.save(change(rng, tensors)), change.__name__.strip("_").replace("_", " ")
    if rng.random() < 0.1:
        name = rng.choice(sorted(others))
        return others[name], f"it is {name}"
    ways: list[Callable[[random.Random, bytes], bytes]] = [*BYTES, *[_spoil_header] * (4 if tensors else 0)]
    change_bytes = rng.choice(ways)
    return change_bytes(rng, data), change_bytes.__name__.strip("_").replace("_", " ")


def _tensors(data: bytes) -> Tensors:
    try:
        return safetensors.torch.load(data)
    except SafetensorError:
        return {}


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.choice([0, 1, 7, 8, 9, 100, len(data) // 2, len(data) - 1, rng.randrange(len(data))])]


def _flip(rng: random.Random, data: bytes) -> bytes:
    spoiled = bytearray(data)
    for _ in range(rng.choice([1, 1, 4, 64])):
        spoiled[rng.randrange(rng.choice([min(200, len(data)), len(data)]))] ^= 1 << rng.randrange(8)
    return bytes(spoiled)


def _insert(rng: random.Random, data: bytes) -> bytes:
    place = rng.choice([0, len(data), rng.randrange(len(data))])
    return (
        data[:place]
        + rng.choice([b"\0" * 64, b"\xff\xfe", rng.randbytes(500), b"\r\n", b"\xef\xbb\xbf"])
        + data[place:]
    )


def _zero(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + b"\0" * (len(data) - place)


def _page(rng: random.Random, data: bytes) -> bytes:
    del data
    return rng.choice([HTML, POINTER, b"Not Found", b"{}", b"null", rng.randbytes(300)])


def _pickle(rng: random.Random, data: bytes) -> bytes:
    del data
    return rng.choice([pickle.dumps({"state_dict": {}}), pickle.dumps([1, 2]), b"PK\x03\x04" + b"\0" * 60])


BYTES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _cut, _cut, _flip, _flip, _flip, _insert, _zero, _page, _pickle,
)  # fmt: skip


def _spoil_header(rng: random.Random, data: bytes) -> bytes:
    """Change the table of a weight file, and leave its tensors as they are."""
    size = int.from_bytes(data[:HEADER], "little")
    table = json.loads(data[HEADER : HEADER + size])
    name = rng.choice([key for key in table if key != "__metadata__"])
    entry = table[name]
    kind = rng.randrange(8)
    if kind == 0:
        entry["dtype"] = rng.choice(["F64", "I8", "F8_E4M3", "X", None, 3])
    elif kind == 1:
        entry["shape"] = rng.choice([[], [0], [-1], [2**40], entry["shape"][::-1], None])
    elif kind == 2:
        entry["data_offsets"] = rng.choice([[0, 0], [5, 1], [0, 2**62], [-1, 4], None])
    elif kind == 3:
        table["__metadata__"] = rng.choice([None, {"a": 1}, {"format": "np"}, {"frameloom": "[" * 3000}, []])
    elif kind == 4:
        table[rng.choice(["", "a" * 3000, "\u202e", "é"])] = table.pop(name)
    elif kind == 5:
        table = rng.choice([{}, [], None, 7, {"__metadata__": {}}])
    header = b"[" * 50_000 if kind == 6 else json.dumps(table).encode()
    length = rng.choice([0, 2**63, size + 1]) if kind == 7 else len(header)
    return length.to_bytes(HEADER, "little") + header + data[HEADER + size :]


def _one(rng: random.Random, tensors: Tensors, change: Callable[[Tensor], Tensor]) -> Tensors:
    name = rng.choice(sorted(tensors))
    return tensors | {name: change(tensors[name]).contiguous()}


def _not_a_number(rng: random.Random, tensors: Tensors) -> Tensors:
    def change(tensor: Tensor) -> Tensor:
        changed = tensor.clone().flatten()
        if changed.is_floating_point() and changed.numel():
            changed[rng.randrange(changed.numel())] = rng.choice([float("nan"), float("inf"), 1e38])
        return changed.view(tensor.shape)

    return _one(rng, tensors, change)


def _all_of_another_type(rng: random.Random, tensors: Tensors) -> Tensors:
    floats = [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn]
    kind = rng.choice([*floats, torch.int8, torch.int64, torch.uint8, torch.bool, torch.complex64])
    return {name: tensor.to(kind) for name, tensor in tensors.items()}


def _one_of_another_type(rng: random.Random, tensors: Tensors) -> Tensors:
    kind = rng.choice([torch.float16, torch.float64, torch.float8_e5m2, torch.int32, torch.uint8, torch.bool])
    return _one(rng, tensors, lambda tensor: tensor.to(kind))


def _a_letter_of_a_key(rng: random.Random, tensors: Tensors) -> Tensors:
    name = rng.choice(sorted(tensors))
    place = rng.randrange(len(name))
    renamed = name[:place] + rng.choice("x0._") + name[place + 1 :]
    return {renamed if each == name else each: tensor for each, tensor in tensors.items()}


def _a_key_less(rng: random.Random, tensors: Tensors) -> Tensors:
    name = rng.choice(sorted(tensors))
    return {each: tensor for each, tensor in tensors.items() if each != name}


def _half_of_the_keys(rng: random.Random, tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if rng.random() < 0.5}


def _a_key_more(rng: random.Random, tensors: Tensors) -> Tensors:
    name = rng.choice(sorted(tensors))
    more = rng.choice(
        [f"{name}.1", "x", name + ".weight", f"model.{name}", "lora_down.weight", name.replace("1", "7", 1)]
    )
    return tensors | {more: tensors[name].clone()}


def _a_prefix(rng: random.Random, tensors: Tensors) -> Tensors:
    prefix = rng.choice(["module.", "model.diffusion_model.", "unet.", "x"])
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _another_shape(rng: random.Random, tensors: Tensors) -> Tensors:
    def change(tensor: Tensor) -> Tensor:
        kind = rng.randrange(5)
        if kind == 0:
            return tensor[:0] if tensor.ndim else tensor[None][:0]
        if kind == 1:
            return tensor.reshape(-1)
        if kind == 2:
            return tensor[None]
        return tensor.repeat(2, *[1] * (tensor.ndim - 1)) if kind == 3 and tensor.ndim else tensor.sum()

    return _one(rng, tensors, change)


def _all_zero(rng: random.Random, tensors: Tensors) -> Tensors:
    del rng
    return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}


CHANGES: tuple[Callable[[random.Random, Tensors], Tensors], ...] = (
    _not_a_number, _not_a_number, _all_of_another_type, _all_of_another_type, _one_of_another_type, _a_letter_of_a_key,
    _a_letter_of_a_key, _a_key_less, _half_of_the_keys, _a_key_more, _a_prefix, _another_shape, _another_shape,
    _all_zero,
)  # fmt: skip
