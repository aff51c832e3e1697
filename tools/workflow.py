"""Make the editor's workflows from workflows in API form.

    python tools/workflow.py            write workflows/*.json from workflows/api/*.json
    python tools/workflow.py --check    say which are out of date

The API form is the source. What only the editor shows rides in ``_meta``, which hosts ignore: ``title``, and ``note``,
a text in Markdown. Notes stand in one node, behind what to change first (tools/templates.py). Editor files are
ComfyUI's version 0.4: widgets' values in the order of the schema, nodes in groups from left to right
(tools/arrange.py).
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frameloom.tools.arrange import TITLE, arrange
from frameloom.tools.schemas import schemas
from frameloom.tools.templates import EDITORS, PLAN, PLANS, SHOWS, file_name, template_of

Prompt = dict[str, dict[str, Any]]
Schemas = Mapping[str, Mapping[str, Any]]

WORKFLOWS = Path(__file__).resolve().parent.parent / "workflows"
WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COMFY_DYNAMICCOMBO_V3"}
SEEDS = {"seed", "noise_seed"}
# Folder of models, and repository on Hugging Face, of the files that workflows name: the editor offers what is missing.
ANIMATEDIFF = "guoyww/animatediff"
CONTROLNETS = "comfyanonymous/ControlNet-v1-1_fp16_safetensors"
WAN = "Comfy-Org/Wan_2.1_ComfyUI_repackaged"
WAN22 = "Comfy-Org/Wan_2.2_ComfyUI_Repackaged"
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
    "motionctrl_animatediff_cmcm.ckpt": ("animatediff_models", "TencentARC/MotionCtrl"),
    "AnimateLCM_sd15_i2v.ckpt": ("animatediff_models", "wangfuyun/AnimateLCM-I2V"),
    "AnimateLCM_sd15_i2v_lora.safetensors": ("loras", "wangfuyun/AnimateLCM-I2V"),
    "v2_lora_ZoomIn.ckpt": ("animatediff_motion_lora", ANIMATEDIFF),
    "v3_sd15_adapter.ckpt": ("loras", ANIMATEDIFF),
    "v3_sd15_sparsectrl_rgb.ckpt": ("controlnet", ANIMATEDIFF),
    "control_v11p_sd15_canny_fp16.safetensors": ("controlnet", CONTROLNETS),
    "control_v11p_sd15_scribble_fp16.safetensors": ("controlnet", CONTROLNETS),
    "gligen_sd14_textbox_pruned.safetensors": ("gligen", "comfyanonymous/GLIGEN_pruned_safetensors"),
    "wan2.1_t2v_1.3B_fp16.safetensors": ("diffusion_models", WAN),
    "Wan2_1-I2V-ATI-14B_fp8_e4m3fn.safetensors": ("diffusion_models", "Kijai/WanVideo_comfy"),
    "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors": ("diffusion_models", WAN22),
    "wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors": ("diffusion_models", WAN22),
    "umt5_xxl_fp8_e4m3fn_scaled.safetensors": ("text_encoders", WAN),
    "wan_2.1_vae.safetensors": ("vae", WAN),
}
NOTE = "MarkdownNote"
NOTES_OF = "notes of nodes"
# Of the editor's drawing, in its pixels, as measured in its classic nodes and in its newer ones.
NARROW, WIDE = 228, 284
SOCKET, MARGIN, NEWER_MARGIN, FOOT = 20, 14, 22, 24
CLASSIC_WIDGET, NEWER_WIDGET = 24, 28
CLASSIC_TEXT, NEWER_TEXT, LINE, MOST_LINES = 44, 40, 16, 6
LETTER, NOTE_LINE, LEAST_NOTE, NOTE_HEIGHT = 6.4, 18, 90, 360
# Groups, in the order of work, and what the kind of a node's first output says of its group.
MODELS, TRAINING, WISH, SAMPLING, RESULT = "Models", "Train", "What to draw", "Sample", "Result"
STAGES = (MODELS, TRAINING, WISH, SAMPLING, RESULT)
OF_MODELS = {
    "MODEL",
    "CONTROL_NET",
    "GLIGEN",
    "FRAMELOOM_MOTION",
    "FRAMELOOM_SPARSE_CONTROL",
    "FRAMELOOM_LLM",
}
OF_SAMPLING = {"NOISE", "GUIDER", "SAMPLER", "SIGMAS"}
SAMPLERS = {"Frameloom_ZeroShotSampler", "Frameloom_NuwaKeyframes", "Frameloom_NuwaInterpolate"}
TRAINERS = {
    "Frameloom_VideoDataset",
    "Frameloom_TrainMotionModule",
    "Frameloom_TrainLayoutPrior",
    "Frameloom_SaveMotionModule",
}


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


def to_editor(prompt: Prompt, known: Schemas, name: str = "") -> dict[str, Any]:
    """Return the editor's form of a workflow in API form.

    Args:
        prompt: workflow in API form.
        known: entry of ``/object_info`` of each node.
        name: workflow's name, by which tools/templates.py knows more of it.

    Raises:
        ValueError: a widget has neither a value nor a link. The editor would show, and send, nothing there.
    """
    nodes: dict[str, dict[str, Any]] = {}
    links: list[list[Any]] = []
    order = {node_id: place for place, node_id in enumerate(_in_order(prompt))}
    for node_id, node in prompt.items():
        entry, inputs = known[node["class_type"]], slots(known[node["class_type"]], node["inputs"])
        # Sockets first, then the sockets of widgets, as the editor orders them.
        sockets = sorted(inputs, key=lambda slot: slot.is_widget)
        nodes[node_id] = _node(
            int(node_id),
            node["class_type"],
            _size(node, inputs, entry),
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
    template = template_of(name)
    for node_id in template.folded:
        nodes[str(node_id)]["flags"]["collapsed"] = True
    notes = _notes(prompt, template.first, max(map(int, prompt)) + 1)
    every = [*nodes.values(), *notes]
    groups = {title: [nodes[str(node_id)] for node_id in ids] for title, ids in template.groups.items()}
    frames = arrange(groups or _groups(prompt, nodes, known), notes, [(link[1], link[3]) for link in links])
    return {
        "last_node_id": max(node["id"] for node in every),
        "last_link_id": len(links),
        "nodes": every,
        "links": links,
        "groups": frames,
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def to_prompt(graph: Mapping[str, Any], known: Schemas) -> Prompt:
    """Return the API form of an editor's workflow, as the editor exports it, with our notes in ``_meta``."""
    origins = {link[0]: [str(link[1]), link[2]] for link in graph["links"]}
    notes = {
        node_id: text
        for node in graph["nodes"]
        if node["type"] == NOTE
        for node_id, text in node["properties"].get(NOTES_OF, {}).items()
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
            is_widget = options.get("widgetType", kind) in WIDGET_TYPES and not options.get("forceInput")
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
            inside = f"split_files/{folder}/" if repository in (WAN, WAN22) else ""
            url = f"https://huggingface.co/{repository}/resolve/main/{inside}{name}"
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


def _origins(node: Mapping[str, Any]) -> list[str]:
    return [value[0] for value in node["inputs"].values() if _is_link(value)]


def _in_order(prompt: Prompt) -> list[str]:
    """Return the nodes' ids so that each stands behind those it reads."""
    found: list[str] = []

    def add(node_id: str) -> None:
        if node_id not in found:
            for origin in _origins(prompt[node_id]):
                add(origin)
            found.append(node_id)

    for node_id in sorted(prompt, key=int):
        add(node_id)
    return found


def _groups(prompt: Prompt, nodes: Mapping[str, Any], known: Schemas) -> dict[str, list[dict[str, Any]]]:
    """Sort nodes into groups: each into its own kind's, but not before what it reads; what comes last is the result."""
    own = {node_id: _stage(node["class_type"], known[node["class_type"]]) for node_id, node in prompt.items()}
    works = any(stage in (TRAINING, SAMPLING) for stage in own.values())
    stages: dict[str, str] = {}
    for node_id in _in_order(prompt):
        before = [stages[origin] for origin in _origins(prompt[node_id])]
        stages[node_id] = max(own[node_id], *before, key=STAGES.index) if before else own[node_id]
    used = {node_id for node_id, stage in stages.items() if own[node_id] in (TRAINING, SAMPLING)}
    for node_id in reversed(_in_order(prompt)):
        used.update(_origins(prompt[node_id]) if node_id in used else ())
    for node_id, stage in stages.items():
        shows = known[prompt[node_id]["class_type"]]["output_node"]
        if node_id not in used and (stage == SAMPLING if works else shows):
            stages[node_id] = RESULT
    ordered = {title: [nodes[node_id] for node_id in prompt if stages[node_id] == title] for title in STAGES}
    return {title: members for title, members in ordered.items() if members}


def _stage(class_type: str, entry: Mapping[str, Any]) -> str:
    kind = (*entry["output"], "")[0]
    if class_type in TRAINERS:
        return TRAINING
    if class_type in SAMPLERS or kind in OF_SAMPLING or entry["category"].startswith("model/sampling"):
        return SAMPLING
    return MODELS if kind in OF_MODELS else WISH


def _size(node: Mapping[str, Any], inputs: list[Slot], entry: Mapping[str, Any]) -> list[int]:
    """Return the size that a node needs in the editor's classic nodes and in its newer ones, the title left out."""
    class_type, given, title = node["class_type"], node["inputs"], node["_meta"]["title"]
    widgets = [slot for slot in inputs if slot.is_widget]
    texts = [slot for slot in widgets if slot.is_text]
    label = max((len(slot.name) for slot in widgets), default=0)
    # Beside a label stands a value; before a title, the button that folds the node.
    needed = max(NARROW, 6 * label + 166, 7 * len(title) + 44)
    width = WIDE if texts else min(needed, WIDE)
    rows = max(len(inputs) - len(widgets), len(entry["output"])) * SOCKET
    added = sum(len(slot.extra) for slot in widgets)
    classic = rows + MARGIN + (len(widgets) + added) * CLASSIC_WIDGET + len(texts) * CLASSIC_TEXT
    newer = rows + NEWER_MARGIN + len(widgets) * NEWER_WIDGET + len(texts) * NEWER_TEXT
    # Below a node of a pack stands the pack's name, as below one that core gives up; if a file is missing, that it is.
    is_marked = class_type.startswith("Frameloom_") or entry.get("deprecated", False)
    newer += FOOT * (is_marked + bool(_models(given.values())))
    height = max(classic, newer) + sum(_lines(given.get(slot.name), width) for slot in texts) * LINE
    height += PLAN * (class_type in PLANS)
    shown = SHOWS.get(class_type, (0, 0))
    width, height = max(width, shown[0]), height + shown[1]
    least = EDITORS.get(class_type, (0, TITLE))
    return [max(width, least[0]), max(height, least[1] - TITLE)]


def _lines(text: Any, width: int) -> int:
    """Return how many lines a text needs beyond the two that its box has, up to what anyone reads at once."""
    if not isinstance(text, str):
        return 0
    wrapped = sum(1 + int(len(line) * LETTER / (width - 40)) for line in text.splitlines())
    return min(max(wrapped - 2, 0), MOST_LINES)


def _notes(prompt: Prompt, first: str, note_id: int) -> list[dict[str, Any]]:
    """Make the note that says what to change first and what files are needed, and a folded one about the nodes."""
    models = [
        model for node in prompt.values() for model in _models(node["inputs"].values()).get("models", [])
    ]
    lines = [f"**Change first:** {first}"] if first else []
    lines += ["**Files**, each into its folder in models:"] if models else []
    lines += [f"- [{model['name']}]({model['url']}) into {model['directory']}" for model in models]
    notes = {node_id: node["_meta"]["note"] for node_id, node in prompt.items() if "note" in node["_meta"]}
    about = [f"**{prompt[node_id]['_meta']['title']}:** {text}" for node_id, text in notes.items()]
    rows = sum(1 + int(len(re.sub(r"\(http\S+\)", "", line)) * LETTER / (WIDE - 40)) for line in lines)
    height = max(2 * MARGIN + NOTE_LINE * rows + 8 * len(lines), LEAST_NOTE)
    found = []
    if lines:
        text = "\n\n".join(lines).replace("\n\n- ", "\n- ")
        found.append(_node(note_id, NOTE, [WIDE, height], 0, "Start Here", {}, [text]))
    if about:
        size, text = [WIDE, NOTE_HEIGHT], "\n\n".join(about)
        folded = _node(note_id + len(found), NOTE, size, 0, "About the Nodes", {NOTES_OF: notes}, [text])
        found.append(folded | {"flags": {"collapsed": True}})
    return found


def _node(
    node_id: int, kind: str, size: list[int], order: int, title: str, properties: Any, values: list[Any]
) -> dict[str, Any]:
    """Return a node of the editor, which has no sockets yet."""
    return {
        "id": node_id, "type": kind, "pos": [0, 0], "size": size, "flags": {}, "order": order, "mode": 0, "inputs": [],
        "outputs": [], "title": title, "properties": properties, "widgets_values": values,
    }  # fmt: skip


def main() -> int:
    """Write or check every editor file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    known, stale = schemas(), []
    for source in sorted((WORKFLOWS / "api").glob("*.json")):
        target = WORKFLOWS / f"{file_name(source.stem)}.json"
        text = text_of(to_editor(json.loads(source.read_text("utf-8")), known, source.stem))
        if not target.is_file() or target.read_text("utf-8") != text:
            stale.append(target.name)
            if not check:
                target.write_text(text, "utf-8")
    print(f"{'out of date' if check else 'written'}: {', '.join(stale) or 'none'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
