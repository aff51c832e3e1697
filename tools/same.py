"""Compare what two revisions of this repository compute, bit for bit, on one machine.

    python tools/same.py against REVISION [--tree DIR]    run both, name every difference
    python tools/same.py write OUT.json [--tree DIR]      run one, and write the hashes of all that it made
    python tools/same.py compare OLD.json NEW.json        name every difference of two such files

``--host`` chooses headless, comfyui (the newest that ``tools/host.py`` finds) and training (``frameloom train``);
without it all run. ``--only 'slots/*'`` chooses cases; ``--expect 'comfyui training/gligen*'`` names a difference that
is meant, by host and case. The graphs stand in ``same_cases.py``; a revision is asked through ``frameloom run``,
``frameloom train`` and ComfyUI's HTTP API alone, so that its code may change in any way. The exit code is 1 where a
case failed, or differs and was not expected to. Cases that the old file lacks are new, and no difference.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from frameloom.tools.host import find_hosts, serving
from frameloom.tools.same_cases import Graph, scene_graphs, workflow_graphs
from frameloom.tools.same_weights import write_weights
from PIL import Image, ImageSequence
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[1]
HOSTS = ("headless", "comfyui", "training")
# Host -> case -> file -> hash; a case that failed holds {"failed": why}.
Hashes = dict[str, dict[str, dict[str, str]]]
FAILED = "failed"
START_SECONDS = 300

# Runs commands by `python -m frameloom.headless`, each in a fork of one process, which has imported what takes longer
# than most graphs: other people's packages.
HEADLESS = """
import contextlib, io, json, os, runpy, sys, traceback
import diffusers.models, einops, PIL.Image, scipy.integrate, torch, torchsde, transformers
from diffusers import ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextModel
for case, arguments in json.load(open("commands.json")).items():
    child = os.fork()
    if child:
        _, state = os.waitpid(child, 0)
        if state:
            print(json.dumps([case, f"its process ended by {state}"]), flush=True)
        continue
    sys.argv, said = ["frameloom", *arguments], io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            runpy.run_module("frameloom.headless", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        code = traceback.format_exception_only(error)[-1].strip()
    why = said.getvalue().strip().rpartition(chr(10))[2] if code in (1, 2) else str(code)
    print(json.dumps([case, why if code else ""]), flush=True)
    os._exit(0)
"""

# ComfyUI knows ControlNets of the published sizes alone.
CONTROL_NODE = """
import comfy.cldm.cldm, comfy.controlnet, comfy.model_management, comfy.utils, folder_paths, torch

class SameControlNetLoader:
    INPUT_TYPES = classmethod(lambda cls: {"required": {"control_net_name": ("STRING", {})}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("CONTROL_NET",), "load", "same"

    def load(self, control_net_name):
        state = comfy.utils.load_torch_file(folder_paths.get_full_path("controlnet", control_net_name), safe_load=True)
        width = state["input_blocks.0.0.weight"].shape[0]
        text = state["middle_block.1.transformer_blocks.0.attn2.to_k.weight"]
        network = comfy.cldm.cldm.ControlNet(
            image_size=32, in_channels=4, hint_channels=3, num_heads=8, model_channels=width, context_dim=text.shape[1],
            num_res_blocks=[2] * 4, channel_mult=[state[f"input_blocks.{block}.0.out_layers.3.weight"].shape[0] // width
            for block in (1, 4, 7, 10)], transformer_depth=[1] * 6 + [0] * 2, transformer_depth_middle=1,
            use_spatial_transformer=True, legacy=False, dtype=torch.float32,
        )
        network.load_state_dict(state)
        return (comfy.controlnet.ControlNet(network.eval(), load_device=comfy.model_management.get_torch_device()),)

NODE_CLASS_MAPPINGS = {"SameControlNetLoader": SameControlNetLoader}
"""


def write(found: Hashes, tree: Path, hosts: Sequence[str], only: str, workflows: Path) -> Hashes:
    """Run a tree's cases on hosts, and say each as it is done.

    Args:
        found: dictionary that gets the hashes of what they made, case by case.
        tree: a checkout.
        hosts: hosts, of ``HOSTS``.
        only: pattern of the cases' names.
        workflows: folder of demo workflows.

    Returns:
        ``found``.
    """
    graphs = {name: graph for name, graph in all_graphs(workflows).items() if fnmatch(name, only)}
    for host in hosts:
        with tempfile.TemporaryDirectory(prefix="same-") as folder:
            base = make_base(Path(folder), tree)
            if host == "headless":
                results = run_headless(base, tree, graph_commands(base, graphs))
            elif host == "training":
                results = run_headless(base, tree, training_commands(base, tree, only))
            else:
                results = run_comfyui(base, tree, graphs)
            found[host] = {}
            started = time.perf_counter()
            for case, why in results:
                found[host][case] = {FAILED: why} if why else hashes(base, case)
                spent, started = time.perf_counter() - started, time.perf_counter()
                print(f"{host} {case}: {spent:.1f} s{f', failed: {why}' if why else ''}", file=sys.stderr)
    return found


def all_graphs(workflows: Path) -> dict[str, Graph]:
    """Return every graph, by the case's name."""
    return scene_graphs() | workflow_graphs(workflows)


def make_base(base: Path, tree: Path) -> Path:
    """Make a folder with what both hosts read, and places for what they write."""
    for name in ("models", "input", "output", "temp", "user", "custom_nodes", "home"):
        (base / name).mkdir()
    for picture in (tree / "assets" / "inputs").iterdir():
        shutil.copy(picture, base / "input")
    write_weights(tree / "assets" / "demo", base / "models")
    return base


def case_folder(case: str) -> str:
    """Return the folder of a case's results, below the output folder."""
    return case.replace("/", "-")


def graph_commands(base: Path, graphs: Mapping[str, Graph]) -> dict[str, list[str]]:
    """Return the command line of each graph."""
    commands = {}
    for case, graph in graphs.items():
        workflow = base / f"{case_folder(case)}.json"
        workflow.write_text(json.dumps(graph))
        commands[case] = [
            "run", str(workflow), "--input", str(base / "input"), "--models", str(base / "models"), "--device", "cpu",
            "--output", str(base / "output" / case_folder(case)),
        ]  # fmt: skip
    return commands


def training_commands(base: Path, tree: Path, only: str) -> dict[str, list[str]]:
    """Return the command line of each of the tree's training files, of three steps on four clips."""
    commands = {}
    for config in sorted((tree / "configs").glob("demo_*.toml")):
        case = f"configs/{config.stem}"
        values = {
            "train.steps": 3, "dataset.clips": 2, "output.folder": json.dumps(str(base / "output" / case_folder(case))),
        }  # fmt: skip
        settings = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
        if fnmatch(case, only):
            commands[case] = [
                "train", str(config), *settings, "--models", str(base / "models"), "--device", "cpu",
            ]  # fmt: skip
    return commands


def run_headless(base: Path, tree: Path, commands: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Run commands of the headless runner in one process; yield each case's name and why it failed."""
    (base / "import").mkdir()
    (base / "import" / "frameloom").symlink_to(tree.resolve())
    (base / "commands.json").write_text(json.dumps(commands))
    with (base / "log").open("w") as log:
        environment = _environment() | {"PYTHONPATH": str(base / "import"), "HOME": str(base / "home")}
        command, out = [sys.executable, "-c", HEADLESS], subprocess.PIPE
        process = subprocess.Popen(command, cwd=base, env=environment, stdout=out, stderr=log, text=True)
        assert process.stdout is not None
        done = set()
        with process:
            for line in process.stdout:
                case, why = json.loads(line)
                done.add(case)
                yield case, why
    for case in commands:
        if case not in done:
            yield case, (base / "log").read_text()[-500:] or "the process ended before it"


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def run_comfyui(base: Path, tree: Path, graphs: Mapping[str, Graph]) -> Iterator[tuple[str, str]]:
    """Queue graphs in a ComfyUI of the newest version found; yield each case's name and why it failed."""
    found = find_hosts()
    if not found:
        sys.exit(
            "same: no ComfyUI was found; expected one of tools/host.py; choose --host headless training."
        )
    (base / "custom_nodes" / "frameloom").symlink_to(tree.resolve())
    (base / "custom_nodes" / "same_control.py").write_text(CONTROL_NODE)
    with serving(found[0], base, base / "log", environment=_environment(), seconds=START_SECONDS) as url:
        for case, graph in graphs.items():
            yield case, queue(url, with_prefix(graph, case))


def with_prefix(graph: Graph, case: str) -> Graph:
    """Return a graph for ComfyUI, whose files go to the case's folder."""
    result: Graph = {}
    for name, node in graph.items():
        kind, inputs = node["class_type"], dict(node["inputs"])
        if "filename_prefix" in inputs:
            inputs["filename_prefix"] = f"{case_folder(case)}/{inputs['filename_prefix']}"
        kind = kind.replace("ControlNetLoader", "SameControlNetLoader")
        result[name] = {"class_type": kind, "inputs": inputs}
    return result


def _get(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def queue(url: str, graph: Graph) -> str:
    """Run a graph to its end; return why it failed, or nothing."""
    try:
        prompt = _get(f"{url}/prompt", {"prompt": graph})["prompt_id"]
    except urllib.error.HTTPError as error:
        return f"refused: {error.read().decode()[:2000]}"
    while True:
        history = _get(f"{url}/history/{prompt}").get(prompt)
        if history is not None and history.get("status") is not None:
            break
        time.sleep(0.05)
    if history["status"]["status_str"] == "success":
        return ""
    errors = [what for kind, what in history["status"]["messages"] if kind == "execution_error"]
    return f"{errors[0]['node_type']}: {errors[0]['exception_message']}" if errors else "it was stopped"


def hashes(base: Path, case: str) -> dict[str, str]:
    """Return a hash of each file that a case made: of its tensors or pictures, not of the file's own bytes."""
    folder = base / "output" / case_folder(case)
    found = {
        str(path.relative_to(folder)): file_hash(path) for path in sorted(folder.rglob("*")) if _counts(path)
    }
    for path in sorted((base / "models" / "layout_priors").glob("*")):  # a training of them writes here alone
        found[path.name] = file_hash(path)
        path.unlink()
    return found or {FAILED: "it wrote nothing"}


def _counts(path: Path) -> bool:
    return path.suffix in (".latent", ".safetensors", ".png", ".webp") and "temp" not in path.parts[-2:-1]


def file_hash(path: Path) -> str:
    """Return the hash of a file's tensors or pictures, with their shapes."""
    digest = hashlib.sha256()
    shapes: list[str] = []
    for name, shape, data in _contents(path):
        shapes += [shape] if data else []
        digest.update(f"{name} {shape};".encode())
        digest.update(data)
    kinds = sorted(set(shapes))
    what = kinds[0] if len(kinds) == 1 else f"{len(shapes)} tensors"
    return f"{digest.hexdigest()[:16]} {what}"


def _contents(path: Path) -> Iterable[tuple[str, str, bytes]]:
    if path.suffix in (".latent", ".safetensors"):
        with safe_open(path, "pt") as file:
            for name in sorted(file.keys()):
                tensor = file.get_tensor(name).contiguous()
                shape = f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
                yield name, shape, tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        return
    with Image.open(path) as pictures:
        for number, picture in enumerate(ImageSequence.Iterator(pictures)):
            yield str(number), str(picture.size), picture.convert("RGBA").tobytes()


def differences(old: Hashes, new: Hashes) -> dict[str, str]:
    """Return what differs or failed, in words, by host and case."""
    found = {}
    for host, cases in new.items():
        for case, files in cases.items():
            before = old.get(host, {}).get(case)
            if FAILED in files:
                found[f"{host} {case}"] = f"failed: {files[FAILED]}"
            elif before is not None and before != files:
                names = sorted(
                    name for name in before.keys() | files.keys() if before.get(name) != files.get(name)
                )
                found[f"{host} {case}"] = "; ".join(
                    f"{name}: {before.get(name, 'not there')} before, {files.get(name, 'not there')} now"
                    for name in names
                )
        for case in old.get(host, {}).keys() - cases.keys():
            found[f"{host} {case}"] = "did not run"
    return found


def report(old: Hashes, new: Hashes, expected: Sequence[str]) -> int:
    """Print what two runs have in common and what not; return the exit code."""
    found = differences(old, new)
    meant = {name for name in found if any(fnmatch(name, pattern) for pattern in expected)}
    for name, words in sorted(found.items()):
        print(f"{'expected' if name in meant else 'DIFFERS'}: {name}: {words}")
    for pattern in expected:
        if not any(fnmatch(name, pattern) for name in found):
            print(f"expected a difference, and there is none: {pattern}")
    for host, cases in new.items():
        fresh = cases.keys() - old.get(host, {}).keys()
        same = len(cases) - len(fresh) - sum(name.startswith(f"{host} ") for name in found)
        print(f"{host}: {len(cases)} cases, {max(0, same)} the same, {len(fresh)} new")
    return int(bool(found.keys() - meant))


def chosen(found: Hashes, only: str) -> Hashes:
    """Return the cases of a pattern."""
    return {
        host: {case: files for case, files in cases.items() if fnmatch(case, only)}
        for host, cases in found.items()
    }


def against(revision: str, tree: Path, hosts: Sequence[str], only: str, expected: Sequence[str]) -> int:
    """Compare a tree with a revision of this repository; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="same-old-") as folder:
        archive = Path(folder) / "old.tar"
        command = ["git", "-C", str(tree), "archive", "--output", str(archive), revision]
        if subprocess.run(command, check=False).returncode:
            return 2
        old_tree = Path(folder) / "old"
        shutil.unpack_archive(archive, old_tree)
        saved = old_tree / "workflows" / "api"  # what people saved must go on meaning the same
        old, new = (write({}, each, hosts, only, saved) for each in (old_tree, tree))
    return report(old, new, expected)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    writes = commands.add_parser("write", help="run a tree, and write the hashes of all that it made")
    writes.add_argument("out", type=Path)
    compares = commands.add_parser("compare", help="name every difference of two files of hashes")
    compares.add_argument("old", type=Path)
    compares.add_argument("new", type=Path)
    pairs = commands.add_parser("against", help="compare a tree with a revision")
    pairs.add_argument("revision")
    for each in (writes, pairs):
        each.add_argument("--tree", type=Path, default=ROOT, help="checkout to run (this one)")
        each.add_argument("--host", nargs="+", choices=HOSTS, default=HOSTS, help="where to run (everywhere)")
    for each in (writes, compares, pairs):
        each.add_argument("--only", default="*", metavar="PATTERN", help="cases, for example 'slots/*' (all)")
    for each in (compares, pairs):
        each.add_argument(
            "--expect", nargs="+", default=[], metavar="PATTERN", help="differences that are meant"
        )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a server that was started ends, too
    if options.command == "against":
        return against(options.revision, options.tree, options.host, options.only, options.expect)
    if options.command == "write":
        found: Hashes = {}
        try:
            write(found, options.tree, options.host, options.only, options.tree / "workflows" / "api")
        finally:  # a run that is stopped keeps what was done
            options.out.write_text(json.dumps(found, indent=1))
        return report(found, found, ())
    old, new = (chosen(json.loads(path.read_text()), options.only) for path in (options.old, options.new))
    return report(old, new, options.expect)


if __name__ == "__main__":
    sys.exit(main())
