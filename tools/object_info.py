"""Store what a running ComfyUI says about its nodes and ours, for the headless runner and its tests.

    python tools/object_info.py http://127.0.0.1:8188

Core nodes go to ``headless/nodes_core/object_info.json`` (their schemas, at run time), our own to
``tests/golden/object_info.json`` (what the stand-in must say, in a test). The server must be ComfyUI 0.33 with this
pack installed and none of your weights or pictures: a new ``--base-directory``. The pack's folder is left out.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CORE_FILE = ROOT / "headless" / "nodes_core" / "object_info.json"
OWN_FILE = ROOT / "tests" / "golden" / "object_info.json"
OWN_PREFIX = "Frameloom_"
VERSION = "0.33.0"
CORE_NODES = """
    CheckpointLoaderSimple LoraLoaderModelOnly CLIPTextEncode
    ControlNetLoader ControlNetApplyAdvanced InstructPixToPixConditioning
    GLIGENLoader GLIGENTextBoxApply ConditioningCombine ConditioningSetMask
    EmptyLatentImage RepeatLatentBatch LatentFromBatch LatentCompositeMasked SetLatentNoiseMask SaveLatent LoadLatent
    KSampler KSamplerAdvanced SamplerCustomAdvanced RandomNoise DisableNoise CFGGuider DualCFGGuider KSamplerSelect
    BasicScheduler SplitSigmas VAEDecode VAEEncode
    EmptyImage ImageBatch ImageToMask
    LoadImage ImageScale ImageFromBatch Canny SaveImage PreviewImage SaveAnimatedWEBP
    LoadVideo GetVideoComponents CreateVideo SaveVideo PreviewAny
""".split()
FILE_LISTS = {
    ("CheckpointLoaderSimple", "ckpt_name"),
    ("LoraLoaderModelOnly", "lora_name"),
    ("ControlNetLoader", "control_net_name"),
    ("GLIGENLoader", "gligen_name"),
    ("LoadLatent", "latent"),
    ("LoadImage", "image"),
    ("LoadVideo", "file"),
}


def fetch(url: str, path: str) -> dict[str, Any]:
    """Return the JSON at a path of the server."""
    with urllib.request.urlopen(url.rstrip("/") + path) as reply:
        return json.load(reply)


def without_files(node_id: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return the entry with core nodes' lists of files emptied, and the name of the pack's folder left out."""
    entry = json.loads(json.dumps(entry))
    for name, spec in entry["input"].get("required", {}).items():
        if (node_id, name) not in FILE_LISTS:
            continue
        if isinstance(spec[0], list):
            spec[0] = []
        else:
            spec[1]["options"] = []
    if node_id.startswith(OWN_PREFIX):
        entry["python_module"] = None
    return entry


def write(path: Path, entries: dict[str, Any]) -> None:
    """Write one node a line, so that a change is readable as a diff."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(node_id)}: {json.dumps(entry)}" for node_id, entry in entries.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    print(f"{path.relative_to(ROOT)}: {len(entries)} nodes")


def main() -> None:
    """Fetch, select and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="address of the ComfyUI server")
    url = parser.parse_args().url
    found = fetch(url, "/system_stats")["system"]["comfyui_version"]
    if found != VERSION:
        raise SystemExit(f"ComfyUI {found} at {url}; the extract is made from {VERSION}: start that one.")
    entries = fetch(url, "/object_info")
    write(CORE_FILE, {node_id: without_files(node_id, entries[node_id]) for node_id in CORE_NODES})
    own = sorted(node_id for node_id in entries if node_id.startswith(OWN_PREFIX))
    if own:
        write(OWN_FILE, {node_id: without_files(node_id, entries[node_id]) for node_id in own})


if __name__ == "__main__":
    main()
