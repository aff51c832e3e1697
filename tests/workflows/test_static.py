"""Every workflow on paper: both forms agree, links join what fits, values are legal. No host, no model."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
from frameloom.host.bundled import BUNDLED
from frameloom.tools import arrange, templates, workflow
from frameloom.tools.gallery.demo import needs_weights

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "workflows" / "api").glob("*.json"))
BUNDLED_FILES = set().union(*BUNDLED.values())
MOST_BACK = 0.25
# Inputs whose choices are the user's own files.
FILE_INPUTS = {"ckpt_name", "lora_name", "control_net_name", "gligen_name", "file", "image", "model"} | {
    "unet_name",
    "clip_name",
    "vae_name",
}


def is_file(node, name):
    """Whether an input's choices are the user's own files, or folders of them."""
    inputs = node["inputs"]
    return name in FILE_INPUTS or (name == "folder" and inputs.get("source") == "folder")


def prompt_of(name):
    return json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text("utf-8"))


def editor_file(name):
    return ROOT / "workflows" / f"{templates.file_name(name)}.json"


def editor_of(name):
    return json.loads(editor_file(name).read_text("utf-8"))


def box_of(node):
    """Left, top, right and bottom, with the title; of a folded node the title alone."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - arrange.TITLE, x + width, y + (0 if node["flags"].get("collapsed") else height)


def spec_of(entry, name):
    """Kind and options of an input; one that a choice brought is looked for in every choice."""
    tables = [entry["input"]]
    for part in name.split("."):
        specs = [table[section][part] for table in tables for section in table if part in table[section]]
        kind, options = specs[0][0], (*specs[0], {})[1]
        tables = [choice["inputs"] for choice in options.get("options", []) if isinstance(choice, dict)]
    choices = kind if isinstance(kind, list) else options.get("options")
    return kind, options, [choice["key"] if isinstance(choice, dict) else choice for choice in choices or []]


def test_each_form_has_its_twin_and_its_thumbnail():
    assert NAMES
    folder, files = ROOT / "workflows", sorted(map(templates.file_name, NAMES))
    assert sorted(path.stem for path in folder.glob("*.json")) == files
    assert sorted(path.stem for path in folder.glob("*.jpg")) == files
    assert not [path for path in folder.iterdir() if path.suffix not in (".json", ".jpg", "")]


@pytest.mark.parametrize("name", NAMES)
def test_the_editor_file_is_what_the_tool_makes(name, known):
    made = workflow.text_of(workflow.to_editor(prompt_of(name), known, name))
    assert editor_file(name).read_text("utf-8") == made, "run `make workflows`"


@pytest.mark.parametrize("name", NAMES)
def test_the_editor_file_converts_back_to_the_same_api_form(name, known):
    assert workflow.to_prompt(editor_of(name), known) == prompt_of(name)


def test_a_widget_without_a_value_is_refused(known):
    prompt = prompt_of("animatediff_demo")
    del prompt["10"]["inputs"]["bit_depth"]
    with pytest.raises(ValueError, match=r"node 10 \(CreateVideo\): bit_depth has no value; .* default, 8"):
        workflow.to_editor(prompt, known)


@pytest.mark.parametrize("name", NAMES)
def test_links_of_the_editor_file_join_existing_slots_of_one_type(name):
    graph = editor_of(name)
    assert graph["version"] == 0.4
    nodes = {node["id"]: node for node in graph["nodes"]}
    assert len(nodes) == len(graph["nodes"])
    for link, origin, slot, target, place, kind in graph["links"]:
        output, socket = nodes[origin]["outputs"][slot], nodes[target]["inputs"][place]
        assert kind == output["type"]
        assert {kind, "*"} & set(socket["type"].split(","))
        assert link in output["links"]
        assert link == socket["link"]
    assert len({link[0] for link in graph["links"]}) == len(graph["links"])
    assert graph["last_link_id"] == max(link[0] for link in graph["links"])
    assert graph["last_node_id"] == max(nodes)


@pytest.mark.parametrize("name", NAMES)
def test_nodes_of_the_editor_file_do_not_overlap_and_fit_a_small_screen(name):
    boxes = [box_of(node) for node in editor_of(name)["nodes"]]
    for one, other in combinations(boxes, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    share = max(
        (max(rights) - min(lefts)) / arrange.VIEW_WIDTH, (max(bottoms) - min(tops)) / arrange.VIEW_HEIGHT
    )
    assert share <= 1


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_is_read_from_left_to_right(name):
    """A few links may run back, where a group stands below another; each node but the note is in one group."""
    graph = editor_of(name)
    nodes = {node["id"]: node for node in graph["nodes"]}
    back = [link for link in graph["links"] if nodes[link[3]]["pos"][0] < nodes[link[1]]["pos"][0]]
    assert len(back) <= MOST_BACK * len(graph["links"])
    frames = [
        (x, y, x + width, y + height) for x, y, width, height in (g["bounding"] for g in graph["groups"])
    ]
    for node in graph["nodes"]:
        left, top, right, bottom = box_of(node)
        around = [f for f in frames if f[0] <= left and f[1] <= top and right <= f[2] and bottom <= f[3]]
        assert len(around) == (node["type"] != workflow.NOTE), node["title"]


@pytest.mark.parametrize("name", [each.name for chapter in templates.CHAPTERS for each in chapter])
def test_one_note_says_what_to_change_first_in_words_that_the_graph_has(name):
    nodes = editor_of(name)["nodes"]
    (note,) = [node for node in nodes if node["title"] == "Start Here"]
    (first,) = re.findall(r"^\*\*Change first:\*\* (.+)$", note["widgets_values"][0], re.MULTILINE)
    shown = {node["title"] for node in nodes} | {each["name"] for node in nodes for each in node["inputs"]}
    assert set(re.findall(r"\*\*(.+?)\*\*", first)) <= shown


def test_the_list_of_templates_names_workflows_once_with_titles_that_any_disk_takes():
    listed = [template for chapter in templates.CHAPTERS for template in chapter]
    names, titles = [each.name for each in listed], [each.title for each in listed]
    assert set(names) <= set(NAMES)
    assert len(set(names)) == len(names)
    assert len(set(titles)) == len(titles)
    assert all(len(chapter) < 10 for chapter in templates.CHAPTERS)  # 1.10 is sorted before 1.2
    assert all(re.fullmatch(r"[\w ,.-]{5,60}(?<![ .])", title) for title in titles)


@pytest.mark.parametrize("name", NAMES)
def test_no_seed_is_left_on_randomize(name):
    values = [value for node in editor_of(name)["nodes"] for value in node["widgets_values"]]
    assert not {"randomize", "increment", "decrement"} & {value for value in values if isinstance(value, str)}


@pytest.mark.parametrize("name", NAMES)
def test_every_input_of_the_api_form_is_known_present_linked_to_what_fits_and_legal(name, known):
    prompt = prompt_of(name)
    for node_id, node in prompt.items():
        entry = known[node["class_type"]]
        given = node["inputs"]
        slots = {slot.name: slot for slot in workflow.slots(entry, given)}
        assert set(given) <= set(slots), node_id
        for input_name in slots:
            required = "." in input_name or input_name in entry["input"]["required"]
            assert input_name in given or not required, f"{node_id} {input_name}"
        for input_name, value in given.items():
            kind, options, choices = spec_of(entry, input_name)
            if isinstance(value, list):
                given_kind = known[prompt[value[0]]["class_type"]]["output"][value[1]]
                assert {given_kind, "*"} & set(kind.split(","))
            elif kind in ("INT", "FLOAT", "FLOAT,INT"):
                assert options.get("min", value) <= value <= options.get("max", value)
                assert isinstance(value, int if kind == "INT" else float)
            elif kind in ("STRING", "BOOLEAN"):
                assert isinstance(value, str if kind == "STRING" else bool)
            elif not is_file(node, input_name):
                assert value in choices, f"{node_id} {input_name}"


def test_every_node_of_the_pack_is_in_a_workflow(known):
    used = {node["class_type"] for name in NAMES for node in prompt_of(name).values()}
    assert {node_id for node_id in known if node_id.startswith("Frameloom_")} - used == set()


def test_files_that_the_demo_workflows_name_come_with_the_pack():
    for name in NAMES:
        if name.endswith("_demo"):
            named = {
                value
                for node in prompt_of(name).values()
                for key, value in node["inputs"].items()
                if key in FILE_INPUTS and isinstance(value, str)
            }
            assert named - {"none"} <= BUNDLED_FILES


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("_demo")])
def test_a_note_says_where_each_file_that_does_not_come_with_the_pack_goes(name):
    for node in prompt_of(name).values():
        files = [
            value
            for key, value in node["inputs"].items()
            if is_file(node, key) and isinstance(value, str) and value != "none"
        ]
        assert all(file in node["_meta"]["note"] for file in files)
        assert not files or re.search(r"models/\w+|input folder", node["_meta"]["note"])


@pytest.mark.parametrize("name", [name for name in NAMES if needs_weights(name)])
def test_the_editor_is_told_where_weights_can_be_fetched(name):
    """As the note says it: the note is for eyes, the property for the editor's list of missing models."""
    prompt = prompt_of(name)
    for node in editor_of(name)["nodes"]:
        weights = {
            value for value in node["widgets_values"] if str(value).endswith((".safetensors", ".ckpt"))
        }
        models = node["properties"].get("models", [])
        assert {model["name"] for model in models} == weights - BUNDLED_FILES
        for model in models:
            note = prompt[str(node["id"])]["_meta"]["note"]
            assert f"models/{model['directory']}" in note
            repository = re.fullmatch(r"https://huggingface.co/(\S+/\S+)/resolve/main/(\S+)", model["url"])
            assert repository
            assert repository[2].rpartition("/")[2] == model["name"]
            assert repository[1] in note or "the same repository" in note


@pytest.mark.parametrize("name", NAMES)
def test_savevideo_speaks_to_hosts_before_and_since_0_33(name):
    # `format` and `codec` before, `format.codec` since; a host ignores an input that it doesn't know.
    for node in prompt_of(name).values():
        if node["class_type"] == "SaveVideo":
            assert {"format", "codec", "format.codec"} <= set(node["inputs"])
