#!/usr/bin/env bash
# safetensors 0.8.0: save_file doesn't write to the file that it is given, it puts another one in its place.
#
# Expected, as of open(path, "wb"): a new file has the mode that the umask asks for; a file that is there keeps its mode;
# a link still leads to its file, which holds the new tensors.
# Seen: the file can be read by its owner alone (0600) whatever the umask and the old mode were, and the link is gone: the
# file that it led to keeps the old tensors. Servers that run as another user can't read what was saved, and a model that
# several folders share by links is shared no more. Writing the bytes of safetensors.numpy.save to the path by oneself does what is expected.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet safetensors==0.8.0 numpy

"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import os
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save, save_file

folder = Path(sys.argv[1])
old, new = {"a": np.zeros(2)}, {"a": np.ones(2)}
os.umask(0o022)


def mode(path):
    return oct(path.stat().st_mode & 0o777)


fresh, kept, target, link, own = (folder / name for name in ("fresh", "kept", "target", "link", "own"))
save_file(new, fresh)
kept.write_bytes(save(old))
kept.chmod(0o664)
save_file(new, kept)
target.write_bytes(save(old))
link.symlink_to(target)
save_file(new, link)
own.write_bytes(save(new))

seen = {
    "a new file, umask 022": mode(fresh),
    "a file of mode 664": mode(kept),
    "a link is a link still": link.is_symlink(),
    "what it led to holds": load_file(target)["a"].tolist(),
    "written by Path.write_bytes": mode(own),
}
for what, value in seen.items():
    print(f"{what}: {value}")
sys.exit(list(seen.values()) != ["0o600", "0o600", False, [0.0, 0.0], "0o644"])
PYTHON
