"""Store what a running ComfyUI says about its own nodes, for the headless runner and its tests.

    python tools/object_info.py http://127.0.0.1:8188

Needed for a new version of ComfyUI or another core node alone: our own schemas are made without a server, by
``tools/schemas.py``. The server must be ComfyUI 0.33 with none of your weights or pictures: a new ``--base-directory``.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CORE_FILE = ROOT / "headless" / "v3" / "object_info.json"
VERSION = "0.33.0"
CORE_NODES = """
    CheckpointLoaderSimple LoraLoaderModelOnly CLIPTextEncode CLIPTextEncodeSDXL CLIPSetLastLayer
    ControlNetLoader ControlNetApplyAdvanced InstructPixToPixConditioning
    GLIGENLoader GLIGENTextBoxApply ConditioningCombine ConditioningSetMask
    EmptyLatentImage RepeatLatentBatch LatentFromBatch LatentCompositeMasked SetLatentNoiseMask SaveLatent LoadLatent
    KSampler KSamplerAdvanced SamplerCustom SamplerCustomAdvanced RandomNoise DisableNoise CFGGuider DualCFGGuider
    KSamplerSelect BasicScheduler SplitSigmas FlipSigmas VAEDecode VAEEncode
    EmptyImage ImageBatch ImageToMask
    LoadImage ImageScale ImageFromBatch Canny SaveImage PreviewImage SaveAnimatedWEBP
    LoadVideo GetVideoComponents CreateVideo SaveVideo PreviewAny
    UNETLoader CLIPLoader VAELoader ModelSamplingSD3 EmptyHunyuanLatentVideo WanTrackToVideo
""".split()
FILE_LISTS = {
    ("CheckpointLoaderSimple", "ckpt_name"),
    ("LoraLoaderModelOnly", "lora_name"),
    ("ControlNetLoader", "control_net_name"),
    ("GLIGENLoader", "gligen_name"),
    ("LoadLatent", "latent"),
    ("UNETLoader", "unet_name"),
    ("CLIPLoader", "clip_name"),
    ("VAELoader", "vae_name"),
    ("LoadImage", "image"),
    ("LoadVideo", "file"),
}


def fetch(url: str, path: str) -> dict[str, Any]:
    """Return the JSON at a path of the server."""
    with urllib.request.urlopen(url.rstrip("/") + path) as reply:
        return json.load(reply)


def without_files(node_id: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return the entry with lists of files emptied."""
    entry = json.loads(json.dumps(entry))
    for name, spec in entry["input"].get("required", {}).items():
        if (node_id, name) not in FILE_LISTS:
            continue
        if isinstance(spec[0], list):
            spec[0] = []
        else:
            spec[1]["options"] = []
    return entry


def main() -> None:
    """Fetch, select and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="address of the ComfyUI server")
    url = parser.parse_args().url
    version = fetch(url, "/system_stats")["system"]["comfyui_version"]
    if version != VERSION:
        raise SystemExit(f"ComfyUI {version} at {url}; the extract is made from {VERSION}: start that one.")
    entries = fetch(url, "/object_info")
    found = {node_id: without_files(node_id, entries[node_id]) for node_id in CORE_NODES}
    lines = [f"{json.dumps(node_id)}: {json.dumps(entry)}" for node_id, entry in found.items()]
    # A node a line: a change reads as a diff.
    CORE_FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    print(f"{CORE_FILE.relative_to(ROOT)}: {len(found)} nodes")


if __name__ == "__main__":
    main()
