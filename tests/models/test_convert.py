"""Workflows of AnimateDiff-Evolved as ours: both forms, what is kept, and the tables against the nodes themselves."""

from __future__ import annotations

import copy
import json

import pytest
from frameloom.models.convert.convert import BadGraphError, convert
from frameloom.models.convert.editor import Box
from frameloom.models.convert.graph import Graph, Link, Node
from frameloom.models.convert.report import Report
from frameloom.models.convert.rules import NOT_HERE, RULES
from frameloom.models.convert.tables import VALUES, name_values
from frameloom.models.convert.targets import TARGETS
from frameloom.models.convert.values import read_keys
from frameloom.models.convert.work import Work
from frameloom.models.long_video.prompt_text import parse_prompts
from frameloom.models.video.curve import frame_curve
from frameloom.tools import conversion
from frameloom.tools.schemas import schemas
from frameloom.tools.workflow import slots

GEN1 = "ADE_AnimateDiffLoaderGen1"


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def api(**more):
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name="a.safetensors"),
        "2": node(GEN1, model=["1", 0], model_name="v3_sd15_mm.ckpt", beta_schedule="autoselect"),
        "3": node("EmptyLatentImage", width=512, height=512, batch_size=32),
        "4": node("KSampler", model=["2", 0], latent_image=["3", 0], seed=5, cfg=7.0, sampler_name="euler"),
    } | more


def with_inputs(graph, number, **inputs):
    return graph | {number: graph[number] | {"inputs": graph[number]["inputs"] | inputs}}


def verdicts(converted):
    return {line.verdict for line in converted.report.lines if line.verdict != "left"}


def only(converted, kind):
    (found,) = [each["inputs"] for each in converted.graph.values() if each["class_type"] == kind]
    return found


def said(converted, part):
    (found,) = [str(line) for line in converted.report.lines if part in line.what]
    return found


# the tables


@pytest.mark.parametrize("kind", [kind for kind in TARGETS if kind != "MarkdownNote"])
def test_the_table_of_our_nodes_is_what_the_nodes_say(kind):
    known = schemas()
    if kind not in known:
        pytest.skip(f"{kind} is ComfyUI's own, and headless has none")
    entry, target = known[kind], TARGETS[kind]
    inputs = slots(entry, {"format": "mp4", "format.codec": "auto", "codec": "auto"})
    assert target.sockets.items() == {each.name: each.kind for each in inputs if not each.is_widget}.items()
    widgets = [each for each in inputs if each.is_widget]
    assert list(target.values) == [each.name for each in widgets]
    assert {each.name: each.kind for each in widgets} == {
        name: target.type_of(name) for name in target.values
    }
    if kind.startswith("Frameloom"):
        first = {
            "file": "",
            "schedule": "static",
            "weights": "pyramid",
            "filter": "butterworth",
            "which": "last",
            "affinity": "small motion",
            "blend": "normalised",
        }
        for each in widgets:
            assert target.default(each.name) == (
                first.get(each.name) if each.default is None else each.default
            ), each
        assert target.title == entry["display_name"]
    assert list(target.outputs.values()) == entry["output"]
    assert {each.name for each in widgets if each.extra} == set(target.extra or ())


def test_no_node_has_two_rules():
    kinds = [kind for rule in RULES for kind in rule.kinds]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) & set(NOT_HERE) == set()
    assert all("Instead: " in why for why in NOT_HERE.values())


def test_the_page_has_the_rules_as_they_are():
    text = conversion.PAGE.read_text("utf-8")
    assert conversion.page(text) == text, "run .venv/bin/python tools/conversion.py"


def test_values_of_older_versions_are_named():
    assert name_values("KSampler", [1, "fixed", 20, 8, "euler", "normal", 1])["steps"] == 20
    assert name_values("KSampler", [1, 20, 8, "euler", "normal", 1])["steps"] == 20
    assert name_values(GEN1, ["a.ckpt", "lcm", ""]) == {"model_name": "a.ckpt", "beta_schedule": "lcm"}
    assert name_values("VHS_LoadVideo", {"video": "a.mp4"}) == {"video": "a.mp4"}
    assert name_values("Other", [1, 2]) == {}
    assert all(VALUES.values())


# API form


def test_the_graph_that_comes_in_is_not_changed():
    graph = api()
    before = copy.deepcopy(graph)
    convert(graph)
    assert graph == before


def test_nodes_that_are_not_known_stay_as_they_are():
    odd = {
        "class_type": "SomePack.Odd",
        "inputs": {"model": ["2", 0], "x": [1, 2]},
        "_meta": {"title": "t"},
        "more": 1,
    }
    converted = convert(api(**{"9": odd}))
    new = converted.graph["9"]
    assert new["inputs"]["x"] == [1, 2]
    assert converted.graph[new["inputs"]["model"][0]]["class_type"] == "Frameloom_ApplyMotionModule"
    assert {**new, "inputs": 0} == {**odd, "inputs": 0}


def test_a_graph_converted_twice_is_the_same():
    once = convert(api())
    again = convert(once.graph)
    assert again.graph == once.graph
    assert verdicts(again) == set()


def test_the_loader_of_old_has_its_scale_and_says_what_v2_loses():
    old = node("ADE_AnimateDiffLoaderWithContext", model=["1", 0], model_name="mm_sd_v15_v2.ckpt",
               beta_schedule="sqrt_linear (AnimateDiff)", motion_scale=1.2, apply_v2_models_properly=False)  # fmt: skip
    converted = convert(api(**{"2": old}))
    assert only(converted, "Frameloom_MotionStrength")["scale"] == 1.2
    assert verdicts(converted) == {"exact", "near"}
    assert "this v2 module is applied as if it were v1" in str(converted.report)
    proper = with_inputs(api(**{"2": old}), "2", apply_v2_models_properly=True)
    assert verdicts(convert(proper)) == {"exact"}


@pytest.mark.parametrize(
    ("kind", "inputs", "frames", "schedule", "verdict"),
    [
        ("ADE_StandardStaticContextOptions", {}, 32, "static", "exact"),
        ("ADE_StandardStaticContextOptions", {"fuse_method": "relative"}, 32, "static", "near"),
        ("ADE_StandardUniformContextOptions", {}, 32, "uniform", "near"),
        ("ADE_StandardUniformContextOptions", {}, 16, None, "exact"),
        ("ADE_LoopedUniformContextOptions", {"closed_loop": True}, 32, "looped", "exact"),
        ("ADE_LoopedUniformContextOptions", {"closed_loop": True, "context_stride": 2}, 32, "looped", "near"),
        ("ADE_AnimateDiffUniformContextOptions", {"closed_loop": False}, 32, "looped", "exact"),
        ("ADE_AnimateDiffUniformContextOptions", {"closed_loop": False}, 28, "uniform", "near"),
        ("ADE_BatchedContextOptions", {}, 32, "batched", "exact"),
        ("ADE_BatchedContextOptions", {}, 33, "batched", "near"),
    ],
)
def test_context_options_become_windows(kind, inputs, frames, schedule, verdict):
    graph = with_inputs(api(**{"7": node(kind, context_length=16, context_overlap=4, **inputs)}), "2",
                        context_options=["7", 0])  # fmt: skip
    converted = convert(with_inputs(graph, "3", batch_size=frames))
    found = [
        each["inputs"]
        for each in converted.graph.values()
        if each["class_type"] == "Frameloom_ContextWindows"
    ]
    assert [each["schedule"] for each in found] == [schedule] * (schedule is not None)
    assert said(converted, kind).startswith(verdict)


def test_numbers_that_come_by_a_link_keep_their_link():
    graph = with_inputs(
        api(**{"7": node("ADE_StandardStaticContextOptions", context_length=["8", 0], context_overlap=4),
               "8": node("PrimitiveInt", value=12)}), "2", context_options=["7", 0])  # fmt: skip
    assert only(convert(graph), "Frameloom_ContextWindows")["length"] == ["8", 0]


def test_a_part_that_is_not_possible_is_said_and_the_rest_converted():
    graph = with_inputs(api(**{"7": node("ADE_AnimateDiffModelSettingsSimple", mask_motion_scale=["8", 0]),
                               "8": node("SolidMask")}), "2", ad_settings=["7", 0])  # fmt: skip
    converted = convert(graph)
    assert converted.report.verdict == "not possible"
    assert said(converted, "ADE_AnimateDiffModelSettingsSimple").startswith("not possible")
    assert not [each for each in converted.graph.values() if each["class_type"].startswith("ADE")]


def test_a_module_for_sdxl_is_near_as_its_norms_are_its_authors():
    graph = with_inputs(api(), "2", model_name="hsxl_temporal_layers.f16.safetensors")
    converted = convert(graph)
    assert converted.report.verdict == "near"
    assert any("all norms" in str(line) for line in converted.report.lines)
    assert only(converted, "Frameloom_MotionModuleLoader")["file"] == "hsxl_temporal_layers.f16.safetensors"


def test_a_context_that_a_node_we_do_not_know_uses_stays_for_it():
    graph = api(**{"7": node("ADE_StandardStaticContextOptions", context_length=16, context_overlap=4),
                   "8": node("SomeNode", options=["7", 0])})  # fmt: skip
    converted = convert(with_inputs(graph, "2", context_options=["7", 0]))
    assert converted.graph["8"] == graph["8"]
    assert converted.graph["7"] == graph["7"]
    assert only(converted, "Frameloom_ContextWindows")["length"] == 16


def test_a_ksampler_takes_noise_as_samplercustomadvanced():
    settings = node(
        "ADE_AnimateDiffSamplingSettings", noise_type="default", seed_gen="auto1111", seed_offset=1
    )
    converted = convert(with_inputs(api(**{"7": settings}), "2", sample_settings=["7", 0]))
    assert only(converted, "Frameloom_VideoNoise") == {
        "noise_seed": 6, "mode": "seed + frame", "correlation": 0.5, "frame_offset": 0,
    }  # fmt: skip
    assert only(converted, "CFGGuider")["cfg"] == 7.0
    assert only(converted, "SamplerCustomAdvanced")["latent_image"] == ["3", 0]
    assert verdicts(converted) == {"exact"}


@pytest.mark.parametrize(
    ("text", "read"),
    [('"0": 1.0, "16": 0.5', "0: 1.0, 16: 0.5"), ("0 = .2, -1 = 1,", "0: .2, -1: 1"),
     ("0:(1.0), 12:(0.5)", "0: 1.0, 12: 0.5"), ('"0.5": 1', "50%: 1"),
     ('"0:": 1, "4": 2', ""), ("0:(sin(t))", ""), ("", "")],
)  # fmt: skip
def test_numbers_by_frame_are_read_or_not_at_all(text, read):
    assert read_keys(text) == read


# prompts, videos and samplers


def test_a_schedule_of_fizznodes_becomes_prompt_travel_for_each_side_that_is_used():
    schedule = node("BatchPromptSchedule", clip=["1", 1], max_frames=32, print_output=False, pre_text="best",
                    app_text="4k --neg blur", text='"0": "a \\"red\\" cat",\n"16" :"a dog --neg bad",\n')  # fmt: skip
    graph = with_inputs(api(**{"7": schedule}), "4", positive=["7", 0], negative=["7", 1])
    converted = convert(graph)
    travels = [
        each["inputs"] for each in converted.graph.values() if each["class_type"] == "Frameloom_PromptTravel"
    ]
    assert [parse_prompts(each["text"], 32) for each in travels] == [
        {0: 'best a "red" cat 4k', 16: "best a dog  4k"},
        {0: "blur", 16: "bad  blur"},
    ]
    assert {each["frames"] for each in travels} == {32}
    assert "7" not in converted.graph
    assert said(converted, "BatchPromptSchedule").startswith("exact")


def test_a_schedule_without_negatives_gives_an_empty_prompt():
    schedule = node("BatchPromptSchedule", clip=["1", 1], max_frames=8, text='"0": "a"')
    converted = convert(with_inputs(api(**{"7": schedule}), "4", positive=["7", 0], negative=["7", 1]))
    assert only(converted, "CLIPTextEncode")["text"] == ""


def test_a_schedule_whose_frames_are_arithmetic_is_left():
    schedule = node("BatchPromptSchedule", clip=["1", 1], max_frames=8, text='"max_f/2": "a"')
    graph = api(**{"7": schedule})
    converted = convert(graph)
    assert converted.graph["7"] == graph["7"]
    assert said(converted, "BatchPromptSchedule").startswith("not possible")


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ('"0": "a", "4": "b"', {0: "a", 4: "b"}),
        ('0 = "a", -1 = "b",', {0: "a", 7: "b"}),
        ('"0:": "a", "4": "b"', {0: "a", 3: "a", 4: "b"}),
        ('"0:4": "a", "0.5": "b"', {0: "a", 3: "a", 4: "b"}),
    ],
)
def test_a_schedule_of_animatediff_evolved_keeps_holds_and_ranges(text, prompts):
    schedule = node("ADE_PromptScheduling", clip=["1", 1], max_length=8, prompts=text)
    converted = convert(with_inputs(api(**{"7": schedule}), "4", positive=["7", 0]))
    assert parse_prompts(only(converted, "Frameloom_PromptTravel")["text"], 8) == prompts


def test_video_combine_becomes_core_nodes_and_says_what_is_lost():
    combine = node("VHS_VideoCombine", images=["6", 0], frame_rate=8, loop_count=0, filename_prefix="x",
                   format="image/gif", pingpong=True, save_output=True)  # fmt: skip
    converted = convert(api(**{"6": node("VAEDecode", samples=["4", 0]), "7": combine}))
    assert only(converted, "CreateVideo") == {"images": ["6", 0], "fps": 8.0, "bit_depth": 8}
    assert only(converted, "SaveVideo")["filename_prefix"] == "x"
    line = said(converted, "VHS_VideoCombine")
    assert line.startswith("near")
    assert "image/gif" in line
    assert "pingpong is lost" in line


def test_video_combine_whose_file_names_are_used_stays():
    graph = api(
        **{"7": node("VHS_VideoCombine", images=["6", 0]), "6": node("VAEDecode"), "8": node("X", y=["7", 0])}
    )
    assert convert(graph).graph["7"] == graph["7"]


def test_load_video_cuts_scales_and_counts():
    load = node("VHS_LoadVideo", video="a.mp4", force_rate=0, force_size="Custom Width", custom_width=256,
                custom_height=512, frame_load_cap=16, skip_first_frames=4, select_every_nth=1)  # fmt: skip
    graph = api(**{"7": load, "8": node("X", images=["7", 0], count=["7", 1], sound=["7", 2])})
    converted = convert(graph)
    assert only(converted, "LoadVideo") == {"file": "a.mp4"}
    cut, scaled = only(converted, "ImageFromBatch"), only(converted, "ImageScale")
    assert (cut["batch_index"], cut["length"]) == (4, 16)
    assert (scaled["width"], scaled["height"]) == (256, 0)
    kinds = {
        name: converted.graph[link[0]]["class_type"] for name, link in converted.graph["8"]["inputs"].items()
    }
    assert kinds == {"images": "ImageScale", "count": "GetImageSize", "sound": "GetVideoComponents"}


@pytest.mark.parametrize("rate", [8, ["9", 0]], ids=["number", "link"])
def test_load_video_at_another_rate_picks_frames(rate):
    load = node("VHS_LoadVideo", video="a.mp4", force_rate=rate, skip_first_frames=2, select_every_nth=3,
                frame_load_cap=16)  # fmt: skip
    graph = api(**{"7": load, "8": node("X", images=["7", 0], sound=["7", 2]), "9": node("SomeInt")})
    converted = convert(graph)
    picked = only(converted, "Frameloom_PickFrames")
    numbers = {name: value for name, value in picked.items() if name not in ("images", "source_fps")}
    assert numbers == {"force_rate": rate, "skip_first_frames": 2, "select_every_nth": 3, "frame_cap": 16}
    (parts, images), (same, fps) = picked["images"], picked["source_fps"]
    assert (converted.graph[parts]["class_type"], images, same, fps) == ("GetVideoComponents", 0, parts, 2)
    line = said(converted, "VHS_LoadVideo")
    assert line.startswith("near")
    assert "its sound begins where the video does" in line


def test_every_nth_picture_is_picked_and_counted():
    every = node("VHS_SelectEveryNthImage", images=["6", 0], select_every_nth=4, skip_first_images=["9", 0])
    graph = api(**{"6": node("VAEDecode", samples=["4", 0]), "7": every, "9": node("SomeInt"),
                   "8": node("X", images=["7", 0], count=["7", 1])})  # fmt: skip
    converted = convert(graph)
    picked = only(converted, "Frameloom_PickFrames")
    assert (picked["skip_first_frames"], picked["select_every_nth"], picked["force_rate"]) == (["9", 0], 4, 0)
    assert [link[1] for link in converted.graph["8"]["inputs"].values()] == [0, 2]
    assert said(converted, "VHS_SelectEveryNthImage").startswith("exact")


def test_art_ventures_sampler_becomes_a_module_and_a_ksampler():
    graph = {
        "1": node("CheckpointLoaderSimple", ckpt_name="a.safetensors"),
        "2": node("AnimateDiffModuleLoader", model_name="v3_sd15_mm.ckpt"),
        "3": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "4": node("AnimateDiffSampler", motion_module=["2", 0], inject_method="default", frame_number=16,
                  model=["1", 0], seed=3, steps=20, cfg=7.0, sampler_name="euler", scheduler="normal",
                  positive=["8", 0], negative=["8", 0], latent_image=["3", 0], denoise=1.0),
        "8": node("CLIPTextEncode", text="", clip=["1", 1]), "9": node("VAEDecode", samples=["4", 0]),
    }  # fmt: skip
    converted = convert(graph)
    assert verdicts(converted) == {"exact"}
    assert only(converted, "RepeatLatentBatch")["amount"] == 16
    assert converted.graph[only(converted, "VAEDecode")["samples"][0]]["class_type"] == "KSampler"


# the editor's form


def editor(*nodes, links=(), **more):
    return {"last_node_id": 20, "last_link_id": 50, "nodes": list(nodes), "links": list(links), "groups": [],
            "config": {}, "extra": {}, "version": 0.4} | more  # fmt: skip


def drawn(number, kind, inputs=(), outputs=(), values=(), **more):
    return {
        "id": number, "type": kind, "pos": [100 * number, 0], "size": [300, 100], "flags": {}, "order": 0, "mode": 0,
        "inputs": [{"name": name, "type": type_, "link": link} for name, type_, link in inputs],
        "outputs": [{"name": type_, "type": type_, "links": links} for type_, links in outputs],
        "properties": {}, "widgets_values": list(values),
    } | more  # fmt: skip


def small_editor(**loader):
    return editor(
        drawn(1, "CheckpointLoaderSimple", outputs=[("MODEL", [1])], values=["a.safetensors"]),
        drawn(2, "Reroute", [("", "*", 1)], [("MODEL", [2])], properties={"showOutputText": False}),
        drawn(5, GEN1, [("model", "MODEL", 2), ("motion_lora", "MOTION_LORA", 3)], [("MODEL", [4])],
              ["v3_sd15_mm.ckpt", "autoselect"], **loader),
        drawn(7, "ADE_AnimateDiffLoRALoader", [("prev_motion_lora", "MOTION_LORA", None)], [("MOTION_LORA", [3])],
              ["pan.safetensors", 0.8]),
        drawn(9, "KSampler", [("model", "MODEL", 4)], [("LATENT", None)],
              [5, "fixed", 20, 7, "euler", "normal", 1], color="#222"),
        drawn(10, "Note", values=["a note"]),
        links=[[1, 1, 0, 2, 0, "*"], [2, 2, 0, 5, 0, "MODEL"], [3, 7, 0, 5, 1, "MOTION_LORA"],
               [4, 5, 0, 9, 0, "MODEL"]],
        groups=[{"title": "AnimateDiff", "bounding": [480, -50, 340, 200], "color": "#3f789e"}],
    )  # fmt: skip


def check_links(graph):
    """Both ends of every link name it, and no other does."""
    nodes = {each["id"]: each for each in graph["nodes"]}
    into = {s["link"] for each in graph["nodes"] for s in each["inputs"] if s["link"] is not None}
    out = {link for each in graph["nodes"] for s in each["outputs"] for link in s["links"] or ()}
    numbers = [link[0] for link in graph["links"]]
    assert sorted(into) == sorted(out) == sorted(numbers)
    for number, source, slot, target, place, _ in graph["links"]:
        assert number in nodes[source]["outputs"][slot]["links"]
        assert nodes[target]["inputs"][place]["link"] == number
    assert graph["last_link_id"] >= max(numbers)
    assert graph["last_node_id"] >= max(nodes)


def by_type(graph, kind):
    (found,) = [each for each in graph["nodes"] if each["type"] == kind]
    return found


def test_an_editors_file_gives_an_editors_file_with_its_links_notes_and_places():
    before = small_editor()
    graph = convert(before).graph
    check_links(graph)
    assert json.loads(json.dumps(graph)) == graph
    for kind in ("CheckpointLoaderSimple", "Note"):
        assert by_type(graph, kind) == by_type(before, kind) | {"outputs": by_type(graph, kind)["outputs"]}
    assert by_type(graph, "Reroute")["pos"] == [200, 0]
    assert by_type(graph, "KSampler")["widgets_values"] == [5, "fixed", 20, 7, "euler", "normal", 1]
    assert by_type(graph, "Frameloom_MotionModuleLoader")["pos"] == [500, 0]
    assert by_type(graph, "Frameloom_MotionLoRALoader")["widgets_values"] == ["pan.safetensors", 0.8]
    assert not [each for each in graph["nodes"] if each["type"].startswith("ADE")]
    assert [link for link in graph["links"] if link[0] == 1] == [[1, 1, 0, 2, 0, "*"]]


def test_new_nodes_do_not_lie_on_others_and_their_group_holds_them():
    graph = convert(small_editor()).graph
    boxes = [
        (each, Box(*each["pos"], *each["size"]))
        for each in graph["nodes"]
        if each["type"].startswith("Frameloom")
    ]
    for each, box in boxes:
        others = [Box(*other["pos"], *other["size"]) for other in graph["nodes"] if other is not each]
        assert not [other for other in others if box.meets(other)]
    (group,) = graph["groups"]
    assert all(Box(*group["bounding"]).has(box) for each, box in boxes if "LoRA" not in each["type"])
    assert group["title"] == "AnimateDiff"


def test_a_bypassed_loader_becomes_bypassed_nodes():
    graph = convert(small_editor(mode=4)).graph
    assert by_type(graph, "Frameloom_ApplyMotionModule")["mode"] == 4
    check_links(graph)


def test_a_bypassed_lora_is_left_out_in_words():
    before = small_editor()
    by_type(before, "ADE_AnimateDiffLoRALoader")["mode"] = 4
    converted = convert(before)
    assert not [each for each in converted.graph["nodes"] if "LoRA" in each["type"]]
    assert "muted or bypassed" in said(converted, "ADE_AnimateDiffLoRALoader")


def test_set_and_get_nodes_are_read_through_and_those_with_nothing_left_go():
    before = editor(
        drawn(1, "CheckpointLoaderSimple", outputs=[("MODEL", [1])]),
        drawn(2, "SetNode", [("MODEL", "MODEL", 1)], [("*", None)], ["base"]),
        drawn(3, "GetNode", outputs=[("MODEL", [2])], values=["base"]),
        drawn(4, "ADE_StandardStaticContextOptions", outputs=[("CONTEXT_OPTIONS", [3])], values=[12, 2, "flat"]),
        drawn(5, "SetNode", [("CONTEXT_OPTIONS", "CONTEXT_OPTIONS", 3)], [("*", None)], ["windows"]),
        drawn(6, "GetNode", outputs=[("CONTEXT_OPTIONS", [4])], values=["windows"]),
        drawn(7, GEN1, [("model", "MODEL", 2), ("context_options", "CONTEXT_OPTIONS", 4)], [("MODEL", [5])],
              ["v3_sd15_mm.ckpt", "autoselect"]),
        drawn(8, "KSampler", [("model", "MODEL", 5)], values=[1, "fixed", 20, 7, "euler", "normal", 1]),
        links=[[1, 1, 0, 2, 0, "MODEL"], [2, 3, 0, 7, 0, "MODEL"], [3, 4, 0, 5, 0, "CONTEXT_OPTIONS"],
               [4, 6, 0, 7, 1, "CONTEXT_OPTIONS"], [5, 7, 0, 8, 0, "MODEL"]],
    )  # fmt: skip
    graph = convert(before).graph
    check_links(graph)
    assert sorted(each["id"] for each in graph["nodes"] if each["type"] in ("SetNode", "GetNode")) == [2, 3]
    assert by_type(graph, "Frameloom_ContextWindows")["widgets_values"][:2] == [12, 2]


def test_a_subgraph_is_converted_in_its_place():
    inner = {
        "id": "abc", "name": "Motion", "inputNode": {"id": -10}, "outputNode": {"id": -20}, "groups": [],
        "inputs": [{"id": "i", "name": "model", "type": "MODEL", "linkIds": [1]}],
        "outputs": [{"id": "o", "name": "MODEL", "type": "MODEL", "linkIds": [2]}],
        "nodes": [drawn(5, GEN1, [("model", "MODEL", 1)], [("MODEL", [2])], ["v3_sd15_mm.ckpt", "autoselect"])],
        "links": [{"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 5, "target_slot": 0, "type": "MODEL"},
                  {"id": 2, "origin_id": 5, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "MODEL"}],
        "state": {"lastNodeId": 5, "lastLinkId": 2},
    }  # fmt: skip
    before = editor(
        drawn(1, "abc", [("model", "MODEL", None)], [("MODEL", None)]), definitions={"subgraphs": [inner]}
    )
    (made,) = convert(before).graph["definitions"]["subgraphs"]
    apply = by_type(made, "Frameloom_ApplyMotionModule")
    ends = {link["origin_id"]: link for link in made["links"]}
    assert ends[-10]["target_id"] == apply["id"]
    assert ends[apply["id"]]["target_id"] == -20
    assert made["inputs"][0]["linkIds"] == [ends[-10]["id"]]
    assert made["outputs"][0]["linkIds"] == [ends[apply["id"]]["id"]]
    assert made["state"]["lastNodeId"] >= apply["id"]


def test_get_nodes_that_lead_round_in_a_circle_are_refused():
    before = editor(
        drawn(1, "SetNode", [("MODEL", "MODEL", 1)], [("*", None)], ["a"]),
        drawn(2, "GetNode", outputs=[("MODEL", [1, 2])], values=["a"]),
        drawn(3, GEN1, [("model", "MODEL", 2)], [("MODEL", None)], ["v3_sd15_mm.ckpt", "autoselect"]),
        drawn(4, "KSampler", [("model", "MODEL", None)]),
        links=[[1, 2, 0, 1, 0, "MODEL"], [2, 2, 0, 3, 0, "MODEL"]],
    )  # fmt: skip
    graph = Graph({}, is_editor=True)
    assert graph.source(Link("5", 0)) is None
    with pytest.raises(BadGraphError, match="a circle through node"):
        _source_of(before)


def _source_of(workflow):
    from frameloom.models.convert.graph import read_graphs

    (graph,) = read_graphs(workflow)
    return graph.source(Link("2", 0))


def test_frames_are_counted_through_latent_nodes():
    graph = Graph({}, is_editor=False)
    for each in (
        Node("1", "EmptyLatentImage", {"batch_size": 24}), Node("2", "LatentUpscale", {"samples": Link("1", 0)}),
        Node("3", "M", {}), Node("4", "FreeU", {"model": Link("3", 0)}),
        Node("5", "KSampler", {"model": Link("4", 0), "latent_image": Link("2", 0)}),
    ):  # fmt: skip
        graph.insert(each)
    assert Work(graph, Report()).frames(graph.nodes["3"]) == 24


# ControlNets


def controlled(**apply):
    return api(**{
        "10": node("ControlNetLoaderAdvanced", control_net_name="depth.pth"),
        "11": node("ACN_AdvancedControlNetApply", positive=["20", 0], negative=["21", 0], control_net=["10", 0],
                   image=["22", 0], strength=0.8, start_percent=0.0, end_percent=0.9, **apply),
        "12": node("KSampler", model=["1", 0], positive=["11", 0], negative=["11", 1]),
        "20": node("A"), "21": node("B"), "22": node("C"),
    })  # fmt: skip


def test_an_advanced_controlnet_without_keyframes_becomes_cores():
    converted = convert(controlled())
    assert only(converted, "ControlNetApplyAdvanced")["strength"] == 0.8
    assert only(converted, "ControlNetLoader")["control_net_name"] == "depth.pth"
    assert verdicts(converted) == {"exact"}
    assert not {"10", "11"} & converted.graph.keys()


def test_keyframes_and_soft_weights_become_a_control_schedule():
    graph = controlled(timestep_kf=["13", 0]) | {
        "13": node("TimestepKeyframe", start_percent=0.0, strength=1.0, cn_weights=["14", 0],
                   latent_keyframe=["15", 0]),
        "14": node("ScaledSoftControlNetWeights", base_multiplier=0.825, flip_weights=False),
        "15": node("LatentKeyframeTiming", batch_index_from=0, batch_index_to_excl=3, strength_from=1.0,
                   strength_to=0.0, interpolation="linear", prev_latent_kf=["16", 0]),
        "16": node("LatentKeyframe", batch_index=5, strength=0.3),
    }  # fmt: skip
    converted = convert(graph)
    made = only(converted, "Frameloom_ControlSchedule")
    assert frame_curve("strength", made["strength"], 9).tolist() == pytest.approx(
        [1, 0.5, 0, 0, 0, 0.3, 0, 0, 0]
    )
    assert (made["soft"], made["by_step"]) == (0.825, "0: 1")
    assert verdicts(converted) == {"exact", "near"}
    assert not {"11", "13", "14", "15", "16"} & converted.graph.keys()


def test_a_controlnet_that_is_not_read_stays_with_its_loader():
    graph = controlled() | {"10": node("ACN_SparseCtrlMergedLoaderAdvanced", sparsectrl_name="a.ckpt")}
    converted = convert(graph)
    assert converted.graph["11"] == graph["11"]
    assert converted.report.verdict == "not possible"
