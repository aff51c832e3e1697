#!/usr/bin/env bash
# torch 2.13.0: after the first step of an optimizer, destroy_process_group leaves the process group and its threads alive.
#
# Expected: destroy_process_group ends the default group, and gloo's threads with it. Any training script calls it last,
# so that no thread of the group runs while Python ends.
# Seen: the first step of any optimizer imports torch.distributed.nn. Functions there have group=group.WORLD as a default
# argument, which Python evaluates once, at the import. If a group exists by then, as in every script that starts with
# init_process_group, the functions keep it for as long as the process lives: its threads go on, and where a new group is
# made, torch.distributed.nn's functions still use the old one. With the import before init_process_group the default is
# None, which stands for the group that exists, and all is well.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy psutil # the build for CPUs is enough

cat >"$folder/train.py" <<'PYTHON'
import sys

import psutil
import torch
import torch.distributed as dist


def start():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)


if sys.argv[1] == "before":
    import torch.distributed.nn
start()
first = dist.group.WORLD
weight = torch.nn.Parameter(torch.ones(1))
weight.sum().backward()
torch.optim.SGD([weight], lr=0.1).step()
threads = psutil.Process().num_threads()
kept = sys.modules["torch.distributed.nn"].functional.all_reduce.__defaults__[-1] is first
dist.destroy_process_group()
del first
ended = threads - psutil.Process().num_threads()
print(f"imported {sys.argv[1]}: the default of all_reduce is the group: {kept}; threads that ended: {ended}")
sys.exit((kept, ended > 0) != ((False, True) if sys.argv[1] == "before" else (True, False)))
PYTHON
"$folder/venv/bin/python" "$folder/train.py" before
"$folder/venv/bin/python" "$folder/train.py" "by the optimizer"
