"""Put ComfyUI into the cache folder, for the host tests; or say what is there.

    python tools/host.py install --from PATH_OR_URL [--revision v0.33.0]
    python tools/host.py list    each version, and whether it works
    python tools/host.py find    each version's folder alone, for scripts
    python tools/host.py front-end 1.58.1    another editor than the one ComfyUI comes with, for make test-browser

The source is a git directory (bare or not; --revision says which commit or tag), an exported tree, or a path or URL of
a zip or tar. Each version lies in its own folder beside one virtual environment that all of them share:

    ${XDG_CACHE_HOME:-~/.cache}/frameloom/comfyui/0.33.0/
    ${XDG_CACHE_HOME:-~/.cache}/frameloom/comfyui/venv/

FRAMELOOM_COMFYUI overrides all of this by the path of one checkout, whose Python is FRAMELOOM_COMFYUI_PYTHON, else the
checkout's own venv or .venv, else the shared one.

Other packs that ours has to get on with are looked for by name in the folder FRAMELOOM_PEERS, else beside these, in
frameloom/peers; they are put there by hand.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import venv
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NONE_FOUND = """\
======================================================================================
NO COMFYUI FOUND: the host tests DID NOT RUN. This run says nothing about a real host.
Looked at FRAMELOOM_COMFYUI and in {cache}
To get one:  python tools/host.py install --from PATH_OR_URL   (a ComfyUI checkout or archive)
======================================================================================"""
# What the tests need in ComfyUI's environment, over its own requirements.
TEST_REQUIREMENTS = ("pytest", "einops", "greenlet", "kornia", "av")
# utils first, as main.py has it: another module of that name comes onto the path later.
PROBE = "import comfy.options; comfy.options.enable_args_parsing(); import utils.extra_config, nodes, server"


@dataclass(frozen=True)
class Host:
    """A ComfyUI checkout and the Python that runs it."""

    version: str
    tree: Path
    python: Path


def cache_folder() -> Path:
    """Return the folder of all versions."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "frameloom" / "comfyui"


def peers_folder() -> Path:
    """Return the folder of other packs that tests run beside ours."""
    return Path(os.environ.get("FRAMELOOM_PEERS") or cache_folder().parent / "peers")


def shared_python() -> Path:
    """Return the Python of the environment that cached versions share."""
    folder = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    return cache_folder() / "venv" / folder


def tree_version(tree: Path) -> str:
    """Return a checkout's version.

    Raises:
        ValueError: it is not a ComfyUI checkout.
    """
    stamp = tree / "comfyui_version.py"
    if not (tree / "main.py").exists() or not stamp.exists():
        raise ValueError(f"{tree}: has no main.py and comfyui_version.py; expected a ComfyUI checkout.")
    found = re.search(r'__version__\s*=\s*"([^"]+)"', stamp.read_text())
    if found is None:
        raise ValueError(f'{stamp}: holds no version; expected a line __version__ = "...".')
    return found.group(1)


def find_hosts() -> list[Host]:
    """Return the checkouts to test on, newest first: the one FRAMELOOM_COMFYUI names, else all cached ones."""
    named = os.environ.get("FRAMELOOM_COMFYUI")
    trees = [Path(named)] if named else [main.parent for main in cache_folder().glob("*/main.py")]
    hosts = [Host(tree_version(tree), tree.resolve(), _python_of(tree)) for tree in trees]
    return sorted(
        hosts, key=lambda host: [int(part) for part in re.findall(r"\d+", host.version)], reverse=True
    )


def find_front_ends() -> dict[str, Path | None]:
    """Return the editors to test with, by name: the newest ComfyUI's own, which has no folder here, and cached ones."""
    cached = cache_folder().parent.glob("frontends/*/comfyui_frontend_package/static/index.html")
    others = {page.parents[2].name: page.parent for page in sorted(cached)}
    return {"own": None, **others}


def _python_of(tree: Path) -> Path:
    named = os.environ.get("FRAMELOOM_COMFYUI_PYTHON")
    own = [tree / name / shared_python().relative_to(cache_folder() / "venv") for name in ("venv", ".venv")]
    choices = [Path(named)] if named else [*own, shared_python()]
    return next((python for python in choices if python.exists()), choices[-1])


@contextmanager
def serving(
    host: Host, base: Path, log: Path, *options: str, environment: Mapping[str, str], seconds: float
) -> Iterator[str]:
    """Start a ComfyUI on the CPU, yield its URL when it answers, and end it with the context.

    Args:
        host: ComfyUI to start.
        base: base directory, which holds its models, inputs, outputs and custom nodes.
        log: file that gets what it prints.
        *options: further options of its command line.
        environment: variables of its process.
        seconds: longest time that it may take to start.

    Raises:
        RuntimeError: it does not start; says the end of its log.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        host.python, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base),
        "--database-url", "sqlite:///:memory:", "--disable-api-nodes", *options,
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with log.open("w") as printed:
        process = subprocess.Popen(
            command, cwd=host.tree, stdout=printed, stderr=subprocess.STDOUT, env=environment
        )
        try:
            deadline = time.monotonic() + seconds
            while not _answers(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"ComfyUI did not start:\n{log.read_text()[-4000:]}")
                time.sleep(0.5)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/system_stats", timeout=60):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


def install_front_end(version: str) -> int:
    """Put an editor into the cache and return 0, or what pip, which said why, returned."""
    target = cache_folder().parent / "frontends" / version
    with tempfile.TemporaryDirectory() as folder:
        wanted = f"comfyui-frontend-package=={version}"
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", folder, wanted]
        )
        for wheel in Path(folder).glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(target)
    return done.returncode


def probe(host: Host) -> str:
    """Return "works", or the last line of what went wrong when ComfyUI was imported."""
    if not host.python.exists():
        return f"no Python at {host.python}; run: python tools/host.py install --from {host.tree}"
    done = subprocess.run(
        [host.python, "-c", PROBE, "--cpu", "--disable-api-nodes"],
        cwd=host.tree,
        capture_output=True,
        text=True,
    )
    return "works" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def install(source: str, revision: str | None, torch: list[str], index: str | None) -> Host:
    """Put a version and its requirements into the cache.

    Args:
        source: git directory, tree, archive, or URL of an archive.
        revision: revision of a git directory.
        torch: requirements for torch, as pip takes them.
        index: package index for torch alone.

    Returns:
        The host.

    Raises:
        ValueError: the source holds no ComfyUI.
        subprocess.CalledProcessError: git or pip failed; its words stand above.
    """
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".partial-") as partial:
        tree = fetch(source, revision, Path(partial))
        version = tree_version(tree)
        target = cache / version
        if target.resolve() != tree.resolve():
            shutil.rmtree(target, ignore_errors=True)
            shutil.move(str(tree), target)
    python = shared_python()
    if not python.exists():
        venv.create(cache / "venv", with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *torch, *(["--index-url", index] if index else [])], check=True)
    subprocess.run([*pip, "-r", str(target / "requirements.txt")], check=True)
    subprocess.run([*pip, *TEST_REQUIREMENTS], check=True)
    return Host(version, target, python)


def fetch(source: str, revision: str | None, folder: Path) -> Path:
    """Bring a source's tree into a folder; a tree that lies in the cache already is used where it is."""
    if re.match(r"https?://", source):
        archive = folder / "archive"
        with urllib.request.urlopen(source) as response, archive.open("wb") as file:
            shutil.copyfileobj(response, file)
        return _unpack(archive, folder / "tree")
    path = Path(source).expanduser()
    if path.is_file():
        return _unpack(path, folder / "tree")
    if (path / ".git").exists() or (path / "HEAD").exists():
        archive = folder / "archive.tar"
        command = ["git", "-C", str(path), "archive", "--output", str(archive), revision or "HEAD"]
        subprocess.run(command, check=True)
        return _unpack(archive, folder / "tree")
    tree_version(path)
    if path.resolve().parent == cache_folder().resolve():
        return path
    return Path(shutil.copytree(path, folder / "tree", ignore=shutil.ignore_patterns("venv", ".venv")))


def _unpack(archive: Path, tree: Path) -> Path:
    """Unpack a zip or tar; an archive that holds one folder yields that folder."""
    if tarfile.is_tarfile(archive):
        with tarfile.open(archive) as file:
            file.extractall(tree, filter="data")
    else:
        shutil.unpack_archive(archive, tree, "zip")
    inside = list(tree.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else tree


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("install", help="put a version into the cache")
    add.add_argument(
        "--from", dest="source", required=True, help="git directory, tree, archive, or URL of one"
    )
    add.add_argument("--revision", help="commit or tag of a git directory; HEAD if not given")
    add.add_argument("--torch", nargs="+", default=["torch", "torchvision", "torchaudio"], help="torch pins")
    add.add_argument("--torch-index", help="package index for torch alone, e.g. one with CPU builds")
    editor = commands.add_parser(
        "front-end", help="put an editor, a version of comfyui-frontend-package, into the cache"
    )
    editor.add_argument("revision", metavar="VERSION")
    commands.add_parser("list", help="print what is cached and whether it works")
    commands.add_parser("find", help="print the folders alone, one a line")
    options = parser.parse_args()
    if options.command == "front-end":
        return install_front_end(options.revision)
    if options.command == "install":
        try:
            host = install(options.source, options.revision, options.torch, options.torch_index)
        except (ValueError, subprocess.CalledProcessError) as error:
            print(f"host: {error}", file=sys.stderr)
            return 1
        print(f"{host.version}  {host.tree}  {probe(host)}")
        return 0
    try:
        hosts = find_hosts()
    except ValueError as error:
        print(f"host: {error}", file=sys.stderr)
        return 1
    if not hosts:
        print(NONE_FOUND.format(cache=cache_folder()), file=sys.stderr)
    if options.command == "find":
        print(*(host.tree for host in hosts), sep="\n")
        return 0
    states = [probe(host) for host in hosts]
    for host, state in zip(hosts, states, strict=True):
        print(f"{host.version}  {host.tree}  {state}")
    return int(any(state != "works" for state in states))


if __name__ == "__main__":
    sys.exit(main())
