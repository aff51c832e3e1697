"""The editor's route to a node's plan, on a running server: good and bad requests, and the words of the node itself."""

from __future__ import annotations

import json

import pytest
from frameloom.models.video.windows import WindowPlan

pytestmark = pytest.mark.host

WINDOWS = {"length": 8, "overlap": 2, "schedule": "uniform", "stride": 1, "weights": "flat", "frames": 20}
NOISE = {"window_length": 16, "stride": 4, "seed": 2**64 - 1, "reshuffle": True, "fuse": True, "frames": 64}
TRAVEL = {"text": "0: a\n8: b", "frames": 16, "interpolation": "hold", "prepend": "", "append": ""}
FACTORS = {"frames": 16, "strength": "0: 1\n4 0", "by_step": "1", "between": "linear"}
LOAD = "Frameloom_MotionModuleLoader"
FEW = {"steps": 0, "denoise": 1.0, "before": f"{LOAD} frameloom_demo_motion_few_steps.safetensors"}


PATH = "/api/frameloom/plan"


def question(node, values, *linked):
    return {"node": f"Frameloom_{node}", "values": values, "linked": linked}


def test_a_plan_has_the_windows_that_the_node_will_ask_about(server):
    status, made = server.ask(PATH, question("ContextWindows", {**WINDOWS, "more": "is not read"}, "model"))
    assert status == 200
    asked = WindowPlan(8, 2, "uniform", 1, "flat")
    for step, panel in enumerate(made["panels"]):
        shown = [
            tuple(first + spacing * place for place in range(count))
            for ((first, spacing, count, _),) in panel["rows"]
        ]
        assert shown == asked.windows(20, step)


@pytest.mark.parametrize(
    ("node", "values", "linked", "said"),
    [
        ("ContextWindows", {**WINDOWS, "overlap": 8}, (), "overlap=8 with windows of length=8; expected 0 to 7"),
        ("ContextWindows", {**WINDOWS, "frames": 2049}, (), "frames: got 2049; expected at most 2048."),
        ("ContextWindows", {**WINDOWS, "length": float("nan")}, (), "length: got nan; expected a value that is"),
        ("ContextWindows", {**WINDOWS, "schedule": "other"}, (), "schedule: got 'other'; expected one of"),
        ("ContextWindows", WINDOWS, ("frames",), "frames comes over a link, so the plan is known when"),
        ("FreeNoise", {**NOISE, "stride": 5}, (), "stride=5 does not divide window_length=16"),
        ("FreeNoise", {**NOISE, "frames": 10_001}, (), "frames: got 10001; expected at most 10000."),
        ("PromptTravel", {**TRAVEL, "text": "0: a\nb"}, (), "prompts line 2, column 1: got 'b'"),
        ("PromptTravel", {**TRAVEL, "frames": 0}, (), "frames=0; expected 1 to 10,000"),
        ("NuwaPlan", {"prompts": "a\nb", "length": 3, "depth": 2}, (), "prompts: got 2 lines, and there is none for"),
        ("NuwaPlan", {"prompts": "a", "length": 1024, "depth": 12}, (), "frames; expected at most 10,000"),
        ("ControlSchedule", FACTORS, (), "strength line 2: got '4 0'; expected a number"),
        ("FewStepSettings", {**FEW, "steps": 8}, ("model",), "got steps=8 for motion_few_steps.safetensors; exp"),
        ("FewStepSettings", {**FEW, "before": f"{LOAD} ../../x"}, ("model",), "x', which is not among its files"),
    ],
)  # fmt: skip
def test_what_the_node_would_refuse_is_told_in_its_words(server, node, values, linked, said):
    status, made = server.ask(PATH, question(node, values, *linked))
    assert status == 200
    assert set(made) == {"error"}
    assert said in made["error"]


def test_a_storyboard_gives_the_prompts(server):
    _, made = server.ask(PATH, question("PromptTravel", {**TRAVEL, "text": "?"}, "storyboard", "clip"))
    assert (made["title"], made["panels"]) == ("the prompts are the storyboard's", [])


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (b"{", "application/json", 400, "got text that is not JSON"),
        (b"\xff\xfe", "application/json", 400, "got text that is not JSON"),
        (b"[" * 4000, "application/json", 400, "got JSON with"),
        ([1], "application/json", 400, "got node None, which has no plan"),
        (question("FreeInit", {}), "application/json", 400, "got node 'Frameloom_FreeInit', which has no plan"),
        ({"node": {"a": 1}, "values": {}, "linked": []}, "application/json", 400, "got node {'a': 1}, which"),
        (question("FreeNoise", [1]), "application/json", 400, "got no object of values, or no list"),
        ({"node": "Frameloom_FreeNoise", "values": NOISE}, "application/json", 400, "no list of inputs"),
        (question("FreeNoise", {}), "application/json", 400, "got window_length as NoneType, which is no INT"),
        (question("FreeNoise", {**NOISE, "fuse": "no"}), "application/json", 400, "fuse as str, which is no BOOLEAN"),
        (question("PromptTravel", {**TRAVEL, "text": [1]}), "application/json", 400, "text as list, which is no"),
        (question("ContextWindows", WINDOWS), "text/plain", 415, "got text/plain"),
        (b" " * (9 << 20), "application/json", 413, "got more than 8,388,608 bytes"),
    ],
)  # fmt: skip
def test_a_request_that_is_no_question_is_refused_in_words(server, body, kind, status, said):
    got, answer = server.ask(PATH, body, kind)
    assert got == status
    assert set(answer) == {"error"}
    assert said in answer["error"]
    assert 'expected {"node": "Frameloom_..."' in answer["error"]
    assert "plan_route" not in server.log.read_text("utf-8")  # in a traceback


def test_the_largest_plans_are_answered(server):
    dense = {
        "length": 1024,
        "overlap": 1023,
        "schedule": "looped",
        "stride": 8,
        "weights": "pyramid",
        "frames": 2048,
    }
    for node, values in [
        ("ContextWindows", dense),
        ("FreeNoise", {**NOISE, "window_length": 1024, "stride": 1, "frames": 10_000}),
        ("NuwaPlan", {"prompts": "a", "length": 3, "depth": 12}),
        (
            "PromptTravel",
            {**TRAVEL, "text": "\n".join(f"{n}: p{n}" for n in range(10_000)), "frames": 10_000},
        ),
        ("ControlSchedule", {**FACTORS, "strength": "1", "frames": 100_000}),
    ]:
        status, made = server.ask(PATH, question(node, values))
        assert status == 200
        assert made["panels"]
        assert len(json.dumps(made)) < 1 << 20
