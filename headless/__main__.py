"""The command ``frameloom``: run a ComfyUI workflow without ComfyUI or on many, train from a file, convert a workflow.

Exit codes: 0 all is well, 1 the run failed or was stopped, 2 bad usage or an invalid workflow (nothing ran). Of
``convert``: 1 something was not possible, which the report says; 2 nothing was written.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cluster import Cluster

OK, FAILED, INVALID = 0, 1, 2
# What the extra `headless` brings, by the names of its modules.
NEEDED = (
    "diffusers", "numpy", "PIL", "psutil", "scipy", "tokenizers", "torch", "torchsde", "tqdm", "transformers",
    *(("tomli",) if sys.version_info < (3, 11) else ()),
)  # fmt: skip
_VALUES = "NODE.INPUT=VALUE", "replace a value; NODE is an id, or a class or title that only one node has"
SEED_INPUTS = ("seed", "noise_seed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing and options.run is not _convert:
        return _fail(
            INVALID,
            f"frameloom {options.command}: got an installation without {', '.join(missing)}; expected the extra "
            'headless; pip install ".[headless]" in Frameloom\'s folder.',
        )
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # stops like Ctrl-C: files are whole or not there
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("stopped; files already printed are whole, the one being made was removed.", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="frameloom", description="Video on a frozen Stable Diffusion.")
    parser.add_argument("--version", action="version", version=f"frameloom {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run", help="run a workflow", description='Run a workflow that ComfyUI saved with "Export (API)".'
    )
    run.add_argument(
        "workflow",
        type=Path,
        metavar="WORKFLOW.json",
        help="or the body of a request, an entry of ComfyUI's history, or a PNG, WebP or video saved with its workflow",
    )
    _add_common(run, *_VALUES)
    run.add_argument("--output", type=Path, default=Path("output"), help="folder for results (output)")
    run.add_argument("--input", type=Path, default=Path("input"), help="folder of pictures to load (input)")
    run.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="share the jobs of Nuwa Interpolate: among this machine's devices, or on the Ray cluster whose head is at "
        "ADDRESS (HOST:PORT, or auto); docs/cluster.md",
    )
    run.add_argument("--workers", type=int, help="of --ray (one a GPU; one a core where --device is cpu)")
    run.set_defaults(run=_run)
    _add_farm(commands)
    _add_train(commands)
    _add_convert(commands)
    return parser


def _version() -> str:
    try:
        return version("frameloom")
    except PackageNotFoundError:  # the folder was put onto the path by hand
        return "(not installed)"


def _add_farm(commands: Any) -> None:
    farm = commands.add_parser(
        "farm",
        help="share the clips of a Keyframed Video among ComfyUI servers",
        description="Draw the clips of a workflow's Keyframed Video on several running ComfyUI servers that have this "
        "pack and the workflow's files, and write the frames and a video here. Finished clips are kept: the same "
        "command goes on where it was stopped (docs/cluster.md).",
    )
    farm.add_argument(
        "workflow", type=Path, metavar="GRAPH.json", help='saved by ComfyUI with "Export (API)"'
    )
    farm.add_argument(
        "servers", nargs="+", metavar="SERVER", help="address of a server, such as http://127.0.0.1:8188"
    )
    _add_settings(farm, *_VALUES)
    farm.add_argument(
        "--output",
        type=Path,
        default=Path("output"),
        help="folder for results, and in frameloom/farm for finished clips (output)",
    )
    farm.add_argument("--fps", type=float, default=16.0, help="frames a second of the video (16)")
    farm.add_argument(
        "--timeout",
        type=float,
        default=3600.0,
        metavar="SECONDS",
        help="longest time that a server may take for a clip, with the time in its queue (3600)",
    )
    farm.set_defaults(run=_farm)


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train a motion module from a file",
        description="Train a motion module, or a motion LoRA on one, as a config says (docs/training.md). The same "
        "command goes on with a run that was stopped.",
    )
    train.add_argument("config", type=Path, metavar="CONFIG.toml")
    _add_common(train, "KEY.PATH=VALUE", "replace a value, for example train.steps=100")
    train.set_defaults(run=_train)


def _add_convert(commands: Any) -> None:
    convert = commands.add_parser(
        "convert",
        help="convert a workflow of AnimateDiff-Evolved",
        description="Write a workflow of AnimateDiff-Evolved, and of the packs that are used with it, with Frameloom's "
        "nodes (docs/from-animatediff-evolved.md). A report of every node goes to standard output.",
    )
    convert.add_argument(
        "workflow",
        type=Path,
        metavar="GRAPH.json",
        help="as the editor saved it, or in API form; it stays as it is",
    )
    convert.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT.json", help="file to write, in the same form"
    )
    convert.set_defaults(run=_convert)


def _add_common(parser: argparse.ArgumentParser, setting: str, what: str) -> None:
    _add_settings(parser, setting, what)
    parser.add_argument(
        "--models",
        type=Path,
        default=Path(os.environ.get("FRAMELOOM_MODELS", "models")),
        help="folder of weights, laid out as ComfyUI's models folder ($FRAMELOOM_MODELS, or models)",
    )
    parser.add_argument(
        "--device", type=_device, help="cpu, cuda, cuda:1, mps (the first GPU of CUDA, else the CPU)"
    )
    parser.add_argument("--traceback", action="store_true", help="on failure, show where in the code")


def _add_settings(parser: argparse.ArgumentParser, setting: str, what: str) -> None:
    parser.add_argument("--set", action="append", default=[], metavar=setting, dest="settings", help=what)


def _device(name: str) -> str:
    """Return a device's name, if it is one of torch's; where there is no torch, ``main`` says so."""
    if find_spec("torch") is None:
        return name
    from .weights.device import NoDeviceError, check_device, pick_device

    try:
        check_device(pick_device(name))
    except NoDeviceError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"got {name!r}; expected cpu, cuda, cuda:1 or mps") from error
    return name


def _train(options: argparse.Namespace) -> int:
    from .train.command import train

    return train(options)


def _convert(options: argparse.Namespace) -> int:
    from .convert import NotConvertedError, convert_file

    try:
        report = convert_file(options.workflow, options.output).report
    except NotConvertedError as error:
        return _fail(INVALID, f"frameloom convert: {error}")
    print(str(report).encode("utf-8", "replace").decode())
    return FAILED if report.verdict == "not possible" else OK


def _fail_unread(workflow: Path, error: OSError) -> int:
    return _fail(INVALID, f"{workflow}: {error.strerror}; expected a workflow in ComfyUI's API form.")


def _run(options: argparse.Namespace) -> int:
    from .cluster import Cluster
    from .v3.folders import expected_model_file
    from .workflow.graph import InvalidWorkflowError, check_workflow, read_workflow
    from .workflow.settings import BadSettingError, with_settings
    from .workflow.workflow_file import NoWorkflowError, read_workflow_text

    started = time.perf_counter()
    if options.workers is not None and options.ray is None:
        return _fail(INVALID, "--workers is of --ray; expected both; add --ray.")
    try:
        text = read_workflow_text(options.workflow)
    except OSError as error:
        return _fail_unread(options.workflow, error)
    except NoWorkflowError as error:
        return _fail(INVALID, str(error))
    try:
        prompt = with_settings(read_workflow(text), options.settings)
        cluster = None if options.ray is None else Cluster(options.ray, options.workers, options.device)
        graph = check_workflow(prompt, _select_host(options, cluster))
    except InvalidWorkflowError as error:
        is_file_missing = any(each.expected.startswith("a file;") for each in error.errors)
        said = f"\nexpected {expected_model_file()}." if is_file_missing else ""
        return _fail(INVALID, f"{error}{said}")
    except BadSettingError as error:
        return _fail(INVALID, str(error))

    from ..models.errors import HostError
    from .progress import shown_log
    from .workflow.executor import Executor, NodeFailedError

    try:
        # Results alone go to standard output; Ray would write there, too.
        with redirect_stdout(sys.stderr), shown_log(), cluster or nullcontext():
            report = Executor(graph, _say_node).run()
    except HostError as error:  # of the cluster; those of nodes come as the next
        return _fail(INVALID, str(error))
    except NodeFailedError as error:
        if options.traceback:
            traceback.print_exception(error.__cause__)
        return _fail(FAILED, f"failed: {error}")
    for node_id, message in report.blocked.items():
        print(f"node {node_id} did not run: {message}", file=sys.stderr)
    for line in _results(report.shown) + _seeds(graph.nodes):
        print(line)
    print(f"{time.perf_counter() - started:.1f} seconds")
    return OK


def _farm(options: argparse.Namespace) -> int:
    from .farm.command import ERRORS, farm, read_servers
    from .farm.split import split_graph
    from .progress import shown_log
    from .workflow.graph import read_workflow
    from .workflow.settings import with_settings
    from .workflow.workflow_file import read_workflow_text

    started = time.perf_counter()
    if options.fps <= 0 or options.timeout <= 0:
        return _fail(INVALID, "--fps and --timeout: got 0 or less; expected more; change it.")
    try:
        prompt = with_settings(read_workflow(read_workflow_text(options.workflow)), options.settings)
        graph, servers = split_graph(prompt), read_servers(options.servers)
    except OSError as error:
        return _fail_unread(options.workflow, error)
    except ValueError as error:
        return _fail(INVALID, f"frameloom farm: {error}")
    try:
        with redirect_stdout(sys.stderr), shown_log():
            results = farm(options, graph, prompt, servers)
    except ERRORS as error:
        return _fail(FAILED, f"failed: {error}")
    for path in results:
        print(path)
    print(f"{time.perf_counter() - started:.1f} seconds")
    return OK


def _select_host(options: argparse.Namespace, cluster: Cluster | None) -> list[type[Any]]:
    """Make this process headless and return every node there is."""
    from . import select_host
    from .port import HeadlessHost

    port = HeadlessHost(
        device=options.device,
        input_dir=options.input,
        output_dir=options.output,
        models_dir=options.models,
        **({} if cluster is None else {"jobs": cluster.run_jobs}),
    )
    select_host(port)

    from ..nodes import node_classes  # only now: node files take their base classes from the selected host
    from .core_nodes import core_node_classes

    return [*core_node_classes(), *node_classes()]


def _say_node(place: int, count: int, node: Any) -> None:
    print(f"[{place}/{count}] {node.class_type}", file=sys.stderr, flush=True)


def _results(shown: dict[str, dict[str, list[Any]]]) -> list[str]:
    """Return the paths of saved files, and texts that nodes show; not what they tell our scripts in the editor."""
    from .v3.folders import folders

    lines = []
    for values in shown.values():
        for value in (
            each for name, part in values.items() if not name.startswith("frameloom_") for each in part
        ):
            if isinstance(value, dict) and "filename" in value:
                lines.append(str(folders().of(value["type"]) / value["subfolder"] / value["filename"]))
            elif isinstance(value, str):
                lines.append(value)
    return lines


def _seeds(nodes: Any) -> list[str]:
    seeds = [
        (node, node.inputs[name]) for node in nodes.values() for name in SEED_INPUTS if name in node.inputs
    ]
    return [
        f"seed {seed} ({node.class_type}, node {node.node_id})"
        for node, seed in seeds
        if isinstance(seed, int)
    ]


def _fail(code: int, message: str) -> int:
    print(message, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
