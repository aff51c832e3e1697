"""The schema of every node, ours and the core nodes that our workflows use, as entries of ``/object_info``.

    python tools/schemas.py             say which of tests/golden/nodes/<NodeId>.json are out of date
    python tools/schemas.py --write     write them

Made without a server and without an engine, and the same on every machine: lists of files hold what the pack brings.
The golden files are a promise to people's saved graphs, so nothing is written where a node, an input, an output or a
choice that they hold is gone or has another place. To break the promise on purpose, delete the node's file first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from frameloom.headless import select_host
from frameloom.headless.v3 import io
from frameloom.headless.v3.core_node import stored_object_info
from frameloom.host import api
from frameloom.host.bundled import BUNDLED
from frameloom.host.contract import Host

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden" / "nodes"

Entry = Mapping[str, Any]


class BundledFilesOnly:
    """What a schema asks of a host: the names of files to choose from, and a folder of settings, here without any."""

    def list_files(self, kind: str) -> list[str]:
        """Return the names of the pack's own files of a kind."""
        return sorted(BUNDLED.get(kind, {}))

    def user_dir(self) -> Path:
        """Return a folder without a user's settings."""
        return Path(__file__).parent


def own_nodes() -> list[type[io.ComfyNode]]:
    """Return the pack's node classes; selects the stand-in host where none is selected yet."""
    try:
        api.port()
    except RuntimeError:
        select_host(cast(Host, BundledFilesOnly()))
    from frameloom.nodes import node_classes  # node files take their base classes from the selected host

    return node_classes()


def own_schemas() -> dict[str, dict[str, Any]]:
    """Return node id -> entry of ``/object_info``, of the pack's nodes."""
    entries = [json.loads(json.dumps(node.GET_NODE_INFO_V1())) for node in own_nodes()]
    return {entry["name"]: entry for entry in entries}


def schemas() -> dict[str, dict[str, Any]]:
    """Return node id -> entry of ``/object_info``, core nodes included."""
    return {**stored_object_info(), **own_schemas()}


def golden(folder: Path = GOLDEN) -> dict[str, dict[str, Any]]:
    """Return node id -> stored entry."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}


def broken_promises(stored: Entry, made: Entry | None) -> Iterator[str]:
    """Yield, in words, what a saved graph would no longer find.

    Args:
        stored: a node's golden entry.
        made: entry of the node now; None: there is no such node.
    """
    name = stored["name"]
    if made is None:
        yield f"{name}: the node is gone. Saved graphs name it; keep its id, which is its class's name."
        return
    inputs, now = _inputs(stored), _inputs(made)
    for place, (each, (kind, choices)) in enumerate(inputs.items()):
        if each not in now:
            yield f"{name}: input {each} is gone or renamed. Saved graphs hold its value; keep it."
        elif list(now)[place] != each:
            found = list(now).index(each) + 1
            yield (
                f"{name}: input {each} has place {found}, it had {place + 1}. Saved graphs hold values by place; add "
                "new inputs last, optional ones behind those that are required."
            )
        elif now[each][0] != kind:
            yield f"{name}: input {each} takes {now[each][0]}, it took {kind}. Keep its type, or add another input."
        else:
            gone = [choice for choice in choices if choice not in now[each][1]]
            yield from (f"{name}: input {each} lost the choice {choice!r}. Keep it." for choice in gone)
    for place, kind in enumerate(stored["output"]):
        if made["output"][place : place + 1] != [kind]:
            yield f"{name}: output {place} is no {kind} any more. Links hold outputs by place; add new ones last."


def _inputs(entry: Entry) -> dict[str, tuple[str, list[Any]]]:
    """Return an entry's inputs in the editor's order, each with its type and its choices."""
    found = {}
    for section in ("required", "optional"):
        for name in entry["input_order"].get(section, []):
            kind, options = (*entry["input"][section][name], {})[:2]
            found[name] = (kind, options.get("options", []))
    return found


def text_of(entry: Entry) -> str:
    """Return the text of a golden file."""
    return json.dumps(entry, indent=1) + "\n"


def main() -> int:
    """Check or write the golden files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write what is out of date")
    write = parser.parse_args().write
    made, there = own_schemas(), golden(GOLDEN)
    broken = [line for name, entry in there.items() for line in broken_promises(entry, made.get(name))]
    if broken:
        print("\n".join(["nothing is written:", *broken]))
        return 1
    stale = [name for name, entry in made.items() if entry != there.get(name)]
    if write:
        GOLDEN.mkdir(parents=True, exist_ok=True)
        for name in stale:
            (GOLDEN / f"{name}.json").write_text(text_of(made[name]), "utf-8")
    print(f"{'written' if write else 'out of date'}: {', '.join(stale) or 'none'}")
    return int(not write and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
