"""Make the help page of every node from its schema: ``web/docs/<NodeId>.md``, which ComfyUI shows beside the node.

    python tools/gen_docs.py            write the pages
    python tools/gen_docs.py --check    say which are out of date

Nothing is written by hand in a page; what a reader should know stands in the schema's description and tooltips.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from frameloom.tools.schemas import own_schemas
from frameloom.tools.templates import file_name

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "web" / "docs"
MOST_CHOICES = 12
# A longer list shows nobody an example; and without it, a new workflow changes no page but its own node's.
MOST_WORKFLOWS = 12
FILE_ENDINGS = (".safetensors", ".gguf")  # of the bundled files, which every machine lists
# The panel beside a node is 270 pixels wide, which is why there are no tables. A longer word would be cut off; names of
# files and kinds may be broken behind their strokes.
MOST_LETTERS = 26
LONG_NAME = re.compile(r"[\w/.-]{24,}")
# Wide limits say nothing to a reader.
ENDLESS = 1_000_000


def pages() -> dict[str, str]:
    """Return file name -> text of every page."""
    users = _users()
    return {f"{name}.md": page(entry, users.get(name, [])) for name, entry in own_schemas().items()}


def page(entry: Mapping[str, Any], workflows: list[str]) -> str:
    """Return one node's page.

    Args:
        entry: the node's entry of ``/object_info``.
        workflows: names of the workflows that use it.
    """
    lines = [f"# {entry['display_name']}", "", entry["description"], ""]
    inputs = list(_inputs(entry))
    if inputs:
        lines += ["## Inputs", "", *inputs, ""]
    outputs = zip(entry["output_name"], entry["output"], entry["output_tooltips"], strict=True)
    items = [f"- **{name}**: {_text(tooltip)} *{kind}*" for name, kind, tooltip in outputs]
    if items:
        lines += ["## Outputs", "", *items, ""]
    if len(workflows) > MOST_WORKFLOWS:
        lines += ["Used in most workflows.", ""]
    elif workflows:
        lines += [f"Used in the templates {', '.join(f'`{file_name(name)}`' for name in workflows)}.", ""]
    short = [alias for alias in entry["search_aliases"] if len(alias) <= MOST_LETTERS]
    if short:
        lines += [f"Also found as: {', '.join(short)}.", ""]
    return _with_breaks("\n".join(lines))


def _with_breaks(text: str) -> str:
    """Mark where long names may go on in the next line. The panel breaks code by itself."""
    parts = text.split("`")
    parts[::2] = [
        LONG_NAME.sub(lambda name: re.sub(r"(?<=[/_])(?=\w)", "<wbr>", name[0]), part) for part in parts[::2]
    ]
    return "`".join(parts)


def _inputs(entry: Mapping[str, Any]) -> Iterator[str]:
    for section in ("required", "optional"):
        for name in entry["input_order"].get(section, []):
            kind, options = entry["input"][section][name]
            choices = kind if isinstance(kind, list) else options.get("options", [])
            default = options.get("default", "")
            kind = "COMBO" if isinstance(kind, list) else kind
            facts = [
                kind,
                "optional" if section == "optional" else "",
                f"default `{json.dumps(default)}`" if default != "" else "",
                _choices(choices) if kind == "COMBO" else _range(options),
            ]
            yield f"- **{name}**: {_text(options.get('tooltip', ''))} *{', '.join(filter(None, facts))}*"


def _choices(choices: list[str]) -> str:
    """List the choices, unless they are files, which differ by machine. A dot alone makes no file: "mp4 (H.264)"."""
    are_files = not choices or any(Path(str(choice)).suffix in FILE_ENDINGS for choice in choices)
    if are_files or len(choices) > MOST_CHOICES:
        return "a file" if len(choices) <= MOST_CHOICES else f"{len(choices)} choices"
    return ", ".join(f"`{choice}`" for choice in choices)


def _range(options: Mapping[str, Any]) -> str:
    low, high = options.get("min"), options.get("max")
    if low is None or high is None:
        return ""
    return f"{low} or more" if abs(high) >= ENDLESS else f"{low} to {high}"


def _text(text: str) -> str:
    return text.replace("\n", " ").replace("*", "\\*")


def _users() -> dict[str, list[str]]:
    """Return node id -> names of the workflows that use it."""
    users: dict[str, list[str]] = {}
    for path in sorted((ROOT / "workflows" / "api").glob("*.json")):
        for class_type in sorted(
            {node["class_type"] for node in json.loads(path.read_text("utf-8")).values()}
        ):
            users.setdefault(class_type, []).append(path.stem)
    return users


def main() -> int:
    """Write or check every page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    made, there = pages(), {path.name: path.read_text("utf-8") for path in PAGES.glob("*.md")}
    stale = sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))
    if not check:
        PAGES.mkdir(parents=True, exist_ok=True)
        for name in stale:
            (PAGES / name).write_text(made[name], "utf-8") if name in made else (PAGES / name).unlink()
    print(f"{'out of date' if check else 'written'}: {', '.join(stale) or 'none'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
