"""Make the editor's workflows from workflows in API form.

    python tools/workflow.py            write workflows/*.json from workflows/api/*.json
    python tools/workflow.py --check    say which are out of date

The API form is the source. What only the editor shows rides in ``_meta``, which hosts ignore: ``title``, and ``note``,
a text in Markdown that is placed below the node. Editor files are ComfyUI's version 0.4: widgets' values in the order
of the schema, nodes in columns from left to right, each as near to its user as it can be.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frameloom.tools.schemas import schemas

Prompt = dict[str, dict[str, Any]]
Schemas = Mapping[str, Mapping[str, Any]]

WORKFLOWS = Path(__file__).resolve().parent.parent / "workflows"
WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COMFY_DYNAMICCOMBO_V3"}
SEEDS = {"seed", "noise_seed"}
# Folder of models, and repository on Hugging Face, of the files that workflows name: the editor offers what is missing.
ANIMATEDIFF = "guoyww/animatediff"
CONTROLNETS = "comfyanonymous/ControlNet-v1-1_fp16_safetensors"
FILES = {
    "v1-5-pruned-emaonly.safetensors": ("checkpoints", "Comfy-Org/stable-diffusion-v1-5-archive"),
    "instruct-pix2pix-00-22000.safetensors": ("checkpoints", "timbrooks/instruct-pix2pix"),
    "sd_xl_base_1.0.safetensors": ("checkpoints", "stabilityai/stable-diffusion-xl-base-1.0"),
    "mm_sdxl_v10_beta.ckpt": ("animatediff_models", ANIMATEDIFF),
    "hsxl_temporal_layers.f16.safetensors": ("animatediff_models", "hotshotco/Hotshot-XL"),
    "v3_sd15_mm.ckpt": ("animatediff_models", ANIMATEDIFF),
    "mm_sd_v15_v2.ckpt": ("animatediff_models", ANIMATEDIFF),
    "animatediff_lightning_4step_comfyui.safetensors": (
        "animatediff_models",
        "ByteDance/AnimateDiff-Lightning",
    ),
    "pia.ckpt": ("animatediff_models", "Leoxing/PIA"),
    "CameraCtrl.ckpt": ("animatediff_models", "hehao13/CameraCtrl"),
    "AnimateLCM_sd15_i2v.ckpt": ("animatediff_models", "wangfuyun/AnimateLCM-I2V"),
    "AnimateLCM_sd15_i2v_lora.safetensors": ("loras", "wangfuyun/AnimateLCM-I2V"),
    "v2_lora_ZoomIn.ckpt": ("animatediff_motion_lora", ANIMATEDIFF),
    "v3_sd15_adapter.ckpt": ("loras", ANIMATEDIFF),
    "v3_sd15_sparsectrl_rgb.ckpt": ("controlnet", ANIMATEDIFF),
    "control_v11p_sd15_canny_fp16.safetensors": ("controlnet", CONTROLNETS),
    "control_v11p_sd15_scribble_fp16.safetensors": ("controlnet", CONTROLNETS),
    "gligen_sd14_textbox_pruned.safetensors": ("gligen", "comfyanonymous/GLIGEN_pruned_safetensors"),
}
NOTE = "MarkdownNote"
NOTE_OF = "note of node"

# Of the editor's drawing, in pixels.
TITLE, ROW, MARGIN = 30, 24, 12
WIDTH, WIDE, TEXT_ROWS, PICTURE = 270, 400, 5, 220
COLUMN_GAP, NODE_GAP = 60, 60


@dataclass(frozen=True)
class Slot:
    """One input of a node. ``extra``: values of widgets that the editor adds behind this one's."""

    name: str
    kind: str
    is_widget: bool
    is_text: bool = False
    default: Any = None
    extra: tuple[str, ...] = ()


def slots(entry: Mapping[str, Any], given: Mapping[str, Any]) -> list[Slot]:
    """Return a node's inputs in the schema's order, with those that its choices in lists bring along.

    Args:
        entry: entry of the node's class in ``/object_info``.
        given: inputs of the node in API form.
    """
    return list(_slots(entry["input"], entry.get("input_order", {}), given, ""))


def to_editor(prompt: Prompt, known: Schemas) -> dict[str, Any]:
    """Return the editor's form of a workflow in API form.

    Raises:
        ValueError: a widget has neither a value nor a link. The editor would show, and send, nothing there.
    """
    columns = _columns(prompt)
    nodes: dict[str, dict[str, Any]] = {}
    links: list[list[Any]] = []
    order = {
        node_id: place for place, node_id in enumerate(sorted(prompt, key=lambda n: (columns[n], int(n))))
    }
    for node_id, node in prompt.items():
        entry, inputs = known[node["class_type"]], slots(known[node["class_type"]], node["inputs"])
        # Sockets first, then the sockets of widgets, as the editor orders them.
        sockets = sorted(inputs, key=lambda slot: slot.is_widget)
        nodes[node_id] = _node(
            int(node_id),
            node["class_type"],
            _size(inputs, entry),
            order[node_id],
            node["_meta"]["title"],
            {"Node name for S&R": node["class_type"]} | _models(node["inputs"].values()),
            [
                value
                for slot in inputs
                if slot.is_widget
                for value in (_widget_value(node_id, node, slot), *slot.extra)
            ],
        )
        nodes[node_id]["inputs"] += [
            {"name": slot.name, "type": slot.kind, "link": None}
            | ({"widget": {"name": slot.name}} if slot.is_widget else {})
            for slot in sockets
        ]
        nodes[node_id]["outputs"] += [
            {"name": name, "type": kind, "links": []}
            for name, kind in zip(entry["output_name"], entry["output"], strict=True)
        ]
    for node_id, node in prompt.items():
        for place, socket in enumerate(nodes[node_id]["inputs"]):
            value = node["inputs"].get(socket["name"])
            if _is_link(value):
                output = nodes[value[0]]["outputs"][value[1]]
                socket["link"] = len(links) + 1
                output["links"].append(socket["link"])
                links.append([socket["link"], int(value[0]), value[1], int(node_id), place, output["type"]])
    notes = _notes(prompt, max(map(int, prompt)) + 1)
    _arrange(nodes, notes, columns)
    every = [*nodes.values(), *(note for _, note in notes)]
    return {
        "last_node_id": max(node["id"] for node in every),
        "last_link_id": len(links),
        "nodes": every,
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def to_prompt(graph: Mapping[str, Any], known: Schemas) -> Prompt:
    """Return the API form of an editor's workflow, as the editor exports it, with our notes in ``_meta``."""
    origins = {link[0]: [str(link[1]), link[2]] for link in graph["links"]}
    notes = {
        str(node["properties"][NOTE_OF]): node["widgets_values"][0]
        for node in graph["nodes"]
        if node["type"] == NOTE
    }
    prompt = {}
    for node in sorted(
        (node for node in graph["nodes"] if node["type"] != NOTE), key=lambda node: node["id"]
    ):
        node_id, entry = str(node["id"]), known[node["type"]]
        inputs = _values(entry, node["widgets_values"])
        linked = {socket["name"]: origins[socket["link"]] for socket in node["inputs"] if socket["link"]}
        meta = {"title": node["title"]} | ({"note": notes[node_id]} if node_id in notes else {})
        prompt[node_id] = {"class_type": node["type"], "inputs": inputs | linked, "_meta": meta}
    return prompt


def text_of(graph: Mapping[str, Any]) -> str:
    """Return a workflow as the text of its file."""
    return json.dumps(graph, indent=1, ensure_ascii=False) + "\n"


def _slots(table: Any, order: Any, given: Mapping[str, Any], prefix: str) -> Iterator[Slot]:
    for section in ("required", "optional"):
        for name in order.get(section, table.get(section, {})):
            kind, options = table[section][name][0], (*table[section][name], {})[1]
            kind = "COMBO" if isinstance(kind, list) else kind
            is_widget = kind in WIDGET_TYPES and not options.get("forceInput")
            seed = kind == "INT" and (options.get("control_after_generate") or name in SEEDS)
            extra = ("fixed",) * bool(seed) + ("image",) * bool(options.get("image_upload"))
            yield Slot(
                prefix + name, kind, is_widget, bool(options.get("multiline")), options.get("default"), extra
            )
            if kind == "COMFY_DYNAMICCOMBO_V3" and not options.get("hidden"):
                chosen = given.get(prefix + name)
                brought = next((each["inputs"] for each in options["options"] if each["key"] == chosen), {})
                yield from _slots(brought, {}, given, f"{prefix}{name}.")


def _values(entry: Mapping[str, Any], values: list[Any]) -> dict[str, Any]:
    """Name a node's values. A choice may bring further inputs, so the schema is read again as values become known."""
    named: dict[str, Any] = {}
    while True:
        widgets = [slot for slot in slots(entry, named) if slot.is_widget]
        names = [name for slot in widgets for name in (slot.name, *[None] * len(slot.extra))]
        read = {name: value for name, value in zip(names, values, strict=False) if name and value is not None}
        if read == named:
            return named
        named = read


def _models(values: Iterable[Any]) -> dict[str, list[dict[str, str]]]:
    """Return the property that tells the editor where a node's files can be fetched; empty for none."""
    models = []
    for name in values:
        if isinstance(name, str) and name in FILES:
            folder, repository = FILES[name]
            url = f"https://huggingface.co/{repository}/resolve/main/{name}"
            models.append({"name": name, "url": url, "directory": folder})
    return {"models": models} if models else {}


def _is_link(value: Any) -> bool:
    return isinstance(value, list)


def _widget_value(node_id: str, node: Mapping[str, Any], slot: Slot) -> Any:
    """Return a widget's value; of one that has a link, the default, which shows when a user cuts the link."""
    if slot.name not in node["inputs"]:
        raise ValueError(
            f"node {node_id} ({node['class_type']}): {slot.name} has no value; expected one for every widget, as the "
            f"editor exports them; write its default, {slot.default!r}."
        )
    value = node["inputs"][slot.name]
    return slot.default if _is_link(value) else value


def _columns(prompt: Prompt) -> dict[str, int]:
    """Give each node the rightmost column that still stands left of all its users."""
    users: dict[str, list[str]] = {node_id: [] for node_id in prompt}
    for node_id, node in prompt.items():
        for value in node["inputs"].values():
            if _is_link(value):
                users[value[0]].append(node_id)

    def steps_to_end(node_id: str) -> int:
        return max((steps_to_end(user) + 1 for user in users[node_id]), default=0)

    steps = {node_id: steps_to_end(node_id) for node_id in prompt}
    return {node_id: max(steps.values()) - count for node_id, count in steps.items()}


def _size(inputs: list[Slot], entry: Mapping[str, Any]) -> list[int]:
    widgets = [slot for slot in inputs if slot.is_widget]
    texts = sum(slot.is_text for slot in widgets)
    rows = max(len(inputs) - len(widgets), len(entry["output"]))
    rows += sum(len(slot.extra) + 1 for slot in widgets) + texts * TEXT_ROWS
    shows = entry["output_node"] or any("image" in slot.extra for slot in widgets)
    return [WIDE if texts else WIDTH, rows * ROW + MARGIN + PICTURE * bool(shows)]


def _notes(prompt: Prompt, first_id: int) -> list[tuple[str, dict[str, Any]]]:
    """Make the nodes that show notes, each with the id of the node it is about."""
    found = [(node_id, node["_meta"]["note"]) for node_id, node in prompt.items() if "note" in node["_meta"]]
    notes = []
    for place, (node_id, text) in enumerate(found):
        rows = sum(1 + len(line) // 50 for line in text.splitlines())
        size, properties = [WIDE, rows * ROW + 2 * MARGIN], {NOTE_OF: int(node_id)}
        notes.append((node_id, _node(first_id + place, NOTE, size, place, "Note", properties, [text])))
    return notes


def _node(
    node_id: int, kind: str, size: list[int], order: int, title: str, properties: Any, values: list[Any]
) -> dict[str, Any]:
    """Return a node of the editor, which has no sockets yet."""
    return {
        "id": node_id, "type": kind, "pos": [0, 0], "size": size, "flags": {}, "order": order, "mode": 0, "inputs": [],
        "outputs": [], "title": title, "properties": properties, "widgets_values": values,
    }  # fmt: skip


def _arrange(
    nodes: dict[str, dict[str, Any]], notes: list[tuple[str, dict[str, Any]]], columns: Mapping[str, int]
) -> None:
    """Stack each column, notes last, and set the columns side by side."""
    left = 0
    for column in range(max(columns.values()) + 1):
        stack = [nodes[node_id] for node_id in nodes if columns[node_id] == column]
        stack += [note for node_id, note in notes if columns[node_id] == column]
        top = 0
        for node in stack:
            node["pos"] = [left, top]
            top += node["size"][1] + NODE_GAP
        left += max(node["size"][0] for node in stack) + COLUMN_GAP


def main() -> int:
    """Write or check every editor file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    known, stale = schemas(), []
    for source in sorted((WORKFLOWS / "api").glob("*.json")):
        target = WORKFLOWS / source.name
        text = text_of(to_editor(json.loads(source.read_text("utf-8")), known))
        if not target.is_file() or target.read_text("utf-8") != text:
            stale.append(target.name)
            if not check:
                target.write_text(text, "utf-8")
    print(f"{'out of date' if check else 'written'}: {', '.join(stale) or 'none'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
