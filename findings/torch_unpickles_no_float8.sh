#!/usr/bin/env bash
# torch 2.13.0: pickle takes a tensor of float8 or of an unsigned integer and can't give it back.
#
# Expected: what pickle.dumps takes, pickle.loads returns; torch.save and copy.deepcopy do, and float16 and bfloat16 can
# be pickled.
# Seen: for float8_e4m3fn, float8_e5m2, uint16, uint32 and uint64 dumps succeeds, and loads ends in "'UntypedStorage' has
# no attribute 'dtype'". So weights in float8 can't be kept by pickle, or sent to another machine by what pickles them, as
# Ray does, and the error comes up where they arrive, not where they were sent.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy # the build for CPUs is enough

"$folder/venv/bin/python" - <<'PYTHON'
import io
import pickle
import sys

import torch


def through_pickle(tensor):
    data = pickle.dumps(tensor)
    try:
        return f"back as {pickle.loads(data).dtype}"
    except AttributeError as error:
        return f"loads: {error}"


def through_torch(tensor):
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True).dtype == tensor.dtype


good = (torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.uint8)
bad = (torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64)
seen = {}
for dtype in good + bad:
    tensor = torch.ones(3).to(dtype)
    seen[dtype] = through_pickle(tensor)
    print(f"{dtype}: {seen[dtype]}; by torch.save and torch.load: {through_torch(tensor)}")
as_told = all(seen[each] == f"back as {each}" for each in good)
sys.exit(not (as_told and all("'dtype'" in seen[each] for each in bad)))
PYTHON
