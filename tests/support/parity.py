"""Run small workflows in ComfyUI and headless, on the same weights."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from frameloom.headless import select_host
from frameloom.headless.core_nodes import core_node_classes
from frameloom.headless.engine.gligen import load_gligen
from frameloom.headless.engine.motion import LoadedMotion
from frameloom.headless.port import HeadlessHost
from frameloom.headless.text.prompt import Tokenizer
from frameloom.headless.text.vocabulary import clip_tokenizer
from frameloom.headless.weights.control_loading import load_controlnet
from frameloom.headless.weights.loading import load_checkpoint
from frameloom.host import api
from frameloom.host.bundled import BUNDLED, DEMO_MODEL, DEMO_TOKENIZER
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.mask_adapter import MASK_KEY
from frameloom.models.network.sizes import DEMO
from frameloom.tests.contract.test_mask_adapter import encoder
from frameloom.tests.support.gligen import WideText, write_gligen
from frameloom.tests.support.motion import save, tiny_state
from frameloom.tests.support.random_demo import write_control, write_lora, write_model
from frameloom.tests.support.sdxl_cases import NARROW_SDXL, with_vocabulary
from frameloom.tests.support.sdxl_file import write_sdxl, write_sdxl_lora, write_sdxl_motion
from frameloom.tests.support.workflow_steps import run
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("sampling_in_comfyui.py")
NODES = {node.__name__: node for node in core_node_classes()}
EDIT = replace(DEMO, unet=replace(DEMO.unet, in_channels=8), prediction_type="eps")
CPU = torch.device("cpu")


def write_models(folder: Path) -> None:
    """Write the random models that cases sample with."""
    write_model(folder / "model.safetensors")
    write_model(folder / "edit.safetensors", EDIT, seed=7)
    write_control(folder / "net.safetensors")
    write_control(folder / "other.safetensors", seed=4, prefix="")
    write_control(folder / "net_shuffle.safetensors")
    write_gligen(folder / "gligen.safetensors", gate=0.3)
    save(folder / "motion.safetensors", tiny_state())
    save(folder / "told.safetensors", tiny_state() | {MASK_KEY: encoder()})
    (folder / "models" / "loras").mkdir(parents=True)
    (folder / "custom_nodes").mkdir()
    write_lora(folder / "models" / "loras" / "small.safetensors")


def comfyuis(host: Any, folder: Path, cases: dict[str, dict]) -> dict[str, torch.Tensor]:
    """Return what a ComfyUI makes of cases with the models of a folder."""
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [host.python, SCRIPT, folder, "--cpu", "--disable-api-nodes", "--base-directory", folder]
    done = subprocess.run([str(each) for each in command], cwd=host.tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(folder / "results.safetensors")


def load_sockets(folder: Path) -> dict[str, tuple]:
    """Return the models of a folder, and the pack's own, as headless nodes return them."""
    tokenizer = Tokenizer.from_folder(DEMO_TOKENIZER)
    demo = load_checkpoint(folder / "model.safetensors", tokenizer, CPU, DEMO)
    motions = {name: folder / f"{name}.safetensors" for name in ("motion", "told")}
    motions["moves"] = BUNDLED["animatediff_models"]["frameloom_demo_motion.safetensors"]
    return {
        "demo": demo,
        "trained": load_checkpoint(DEMO_MODEL, tokenizer, CPU, DEMO),
        "wide": (replace(demo[1], network=WideText(demo[1].network)),),
        "gligen": (load_gligen(folder / "gligen.safetensors", CPU),),
        "edit": load_checkpoint(folder / "edit.safetensors", tokenizer, CPU, EDIT),
        "net": (load_controlnet(folder / "net.safetensors", CPU),),
        "pooled": (load_controlnet(folder / "net_shuffle.safetensors", CPU),),
        "other": (load_controlnet(folder / "other.safetensors", CPU),),
        **{
            name: (LoadedMotion(read_motion_weights(path), CPU, torch.float32),)
            for name, path in motions.items()
        },
        **load_sdxls(folder),
    }


def load_sdxls(folder: Path) -> dict[str, tuple]:
    """Return the SDXLs of a folder, and the motion modules for them, as headless nodes return them."""
    paths = [*folder.glob("sdxl*.safetensors"), *folder.glob("moves_*_sdxl.safetensors")]
    return {
        path.stem: (LoadedMotion(read_motion_weights(path), CPU, torch.float32),)
        if path.stem.startswith("moves")
        else load_checkpoint(path, clip_tokenizer(folder / "models"), CPU)
        for path in paths
    }


def write_sdxls(folder: Path, tokenizer: Path) -> None:
    """Write random SDXLs with CLIP's own vocabulary, which is copied, and motion modules for them."""
    shutil.copytree(tokenizer, folder / "models" / "clip_tokenizer")
    size = with_vocabulary(NARROW_SDXL, 49408)
    write_sdxl(folder / "sdxl.safetensors", size)
    write_sdxl(folder / "sdxl_v.safetensors", size, seed=1, marks=("v_pred", "ztsnr"))
    write_sdxl_lora(folder / "models" / "loras" / "sdxl.safetensors")
    write_sdxl_motion(folder / "moves_animatediff_sdxl.safetensors")
    write_sdxl_motion(folder / "moves_hotshotxl_sdxl.safetensors", hotshot=True)


def select_headless(folder: Path) -> None:
    """Choose the headless host, with the models of a folder."""
    host = HeadlessHost("cpu", folder, folder, folder / "models")
    select_host(host)


def ours(sockets: dict[str, tuple], case: dict) -> torch.Tensor:
    """Return what the headless host makes of a case."""
    model, clip, vae = sockets["demo"]
    model = replace(model, base_sampling=replace(model.base_sampling, prediction=case["prediction"]))
    nodes: dict[str, Callable] = {name: node.execute for name, node in NODES.items()}
    with torch.inference_mode():
        return run(
            case,
            sockets | {"demo": (model, clip, vae)},
            lambda name, inputs: nodes[name](**inputs).args,
            api.port().install,
        )
