from __future__ import annotations

import json
from typing import Any

import pytest
from frameloom.headless.core_nodes import image, latent, video
from frameloom.headless.v3 import io
from frameloom.headless.workflow.graph import InvalidWorkflowError, Link, check_workflow, read_workflow


class Square(io.ComfyNode):
    """A node with every kind of input, and a rule of its own."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="Square",
            inputs=[
                io.Int.Input("side", min=1, max=100),
                io.Float.Input("angle", optional=True, min=0.0, max=360.0),
                io.Boolean.Input("filled", optional=True),
                io.Combo.Input("colour", options=["red", "blue"], optional=True),
                io.Int.Input("even", optional=True, min=0, max=10),
                io.Combo.Input("many", options=[str(i) for i in range(50)], optional=True),
            ],
            outputs=[io.Image.Output(), io.Mask.Output()],
        )

    @classmethod
    def execute(cls, **kwargs):
        return io.NodeOutput(None, None)

    @classmethod
    def validate_inputs(cls, even=0):
        return True if even % 2 == 0 else "expected an even number"


class Anything(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        inputs = [io.AnyType.Input("value"), io.MultiType.Input("either", [io.Image, io.Mask], optional=True)]
        return io.Schema(node_id="Anything", inputs=inputs, is_output_node=True)

    @classmethod
    def execute(cls, value, either=None):
        return io.NodeOutput()


CLASSES = [*image.NODES, *latent.NODES, *video.NODES, Square, Anything]
SQUARE = {"class_type": "Square", "inputs": {"side": 8}}
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
GOOD = {"1": SQUARE, "2": SAVE}


def changed(node: str, **inputs: Any) -> dict[str, Any]:
    """Return the good workflow with inputs of a node replaced; None takes one away."""
    workflow = json.loads(json.dumps(GOOD))
    workflow[node]["inputs"] |= inputs
    workflow[node]["inputs"] = {name: v for name, v in workflow[node]["inputs"].items() if v is not None}
    return workflow


def saving(**inputs: Any) -> dict[str, Any]:
    video = {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}}
    save = {"class_type": "SaveVideo", "inputs": {"video": ["2", 0], "filename_prefix": "x", **inputs}}
    return {"1": SQUARE, "2": video, "3": save}


def loop() -> dict[str, Any]:
    scale = {"upscale_method": "area", "width": 8, "height": 8, "crop": "disabled"}
    return {
        "1": {"class_type": "ImageScale", "inputs": {"image": ["2", 0], **scale}},
        "2": {"class_type": "ImageFromBatch", "inputs": {"image": ["1", 0], "batch_index": 0, "length": 1}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }


WRONG = {
    "class not known": (
        {"1": {"class_type": "WarpDrive", "inputs": {}}},
        r"missing_node_type: node 1 \(WarpDrive\): got a class not known here, expected one of",
    ),
    "no class": ({"1": {"inputs": {}}}, r"missing_node_type: node 1 \(None\): got no class_type, expected"),
    "class is a number": ({"1": {"class_type": 3}}, r"missing_node_type: node 1 \(None\): got no class_type"),
    "node is text": (
        {"1": "SaveImage"},
        r"invalid_prompt: node 1 .*: got 'SaveImage', expected class_type and",
    ),
    "inputs are a list": (
        {"1": {"class_type": "Square", "inputs": []}},
        r"invalid_prompt: node 1 .*expected class_ty",
    ),
    "no output": (
        {"1": SQUARE},
        r"prompt_no_outputs: workflow: got no output node, expected one, such as SaveImage",
    ),
    "empty": ({}, r"prompt_no_outputs: workflow"),
    "widget missing": (
        changed("1", side=None),
        r"required_input_missing: node 1 \(Square\), input side: got nothing, expected a INT",
    ),
    "link missing": (
        changed("2", images=None),
        r"required_input_missing: node 2 \(SaveImage\), input images: .*IMAGE",
    ),
    "format missing": (saving(), r"required_input_missing: node 3 \(SaveVideo\), input format: got nothing"),
    "link of three": (
        changed("2", images=["1", 0, 0]),
        r"bad_linked_input: node 2 \(SaveImage\), input images: got \[",
    ),
    "link of one": (
        changed("2", images=["1"]),
        r"bad_linked_input: node 2 \(SaveImage\), input images: got \['1'\]",
    ),
    "link to a number": (
        changed("2", images=[1, 0]),
        r"bad_linked_input: node 2 .*got \[1, 0\], expected \[node id",
    ),
    "link to a result that is no number": (
        changed("2", images=["1", float("nan")]),
        r"bad_linked_input: node 2 .*got \['1', nan\], expected \[node id",
    ),
    "a number for a choice": (
        changed("1", colour=3),
        r"value_not_in_list: node 1 \(Square\), input colour: got 3, expected one of \['red', 'blue'\]",
    ),
    "a number for a file": (
        {"1": {"class_type": "LoadImage", "inputs": {"image": 3}}, "2": SAVE},
        r"value_not_in_list: node 1 \(LoadImage\), input image: got 3, expected a file",
    ),
    "a list for a choice": (
        changed("1", colour={"__value__": [["red"], {}]}),
        r"value_not_in_list: node 1 \(Square\), input colour: got \[\['red'\], {}\]",
    ),
    "link to no node": (
        changed("2", images=["9", 0]),
        r"bad_linked_input: node 2 .*a link to node 9, expected one of",
    ),
    "link to no result": (
        changed("2", images=["1", 2]),
        r"bad_linked_input: node 2 .*: got result 2 of node 1 \(Square\), expected one of its 2 results, counted",
    ),
    "link before the first": (
        changed("2", images=["1", -1]),
        r"bad_linked_input: node 2 .*: got result -1 of node 1",
    ),
    "link to a node of no results": (
        {**GOOD, "3": {"class_type": "Anything", "inputs": {"value": ["3", 0]}}},
        r"bad_linked_input: node 3 .*got result 0 of node 3 \(Anything\), expected a node that has results",
    ),
    "list as a value": (
        changed("1", side=[1, 2, 3]),
        r"bad_linked_input: node 1 .*or a list as \{'__value__': \[\.\.\.\]",
    ),
    "mask for image": (
        changed("2", images=["1", 1]),
        r"return_type_mismatch: node 2 .*images: got a MASK from node 1 \(Square\), expected a IMAGE",
    ),
    "image for number": (
        {
            **GOOD,
            "3": {"class_type": "Square", "inputs": {"side": ["1", 0]}},
            "2": {**SAVE, "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
        },
        r"return_type_mismatch: node 3 \(Square\), input side: got a IMAGE from node 1 \(Square\), expected a INT",
    ),
    "latent for either": (
        {
            **GOOD,
            "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
            "4": {"class_type": "Anything", "inputs": {"value": 1, "either": ["3", 0]}},
        },
        r"return_type_mismatch: node 4 .*either: got a LATENT from node 3 .*, expected a IMAGE,MASK",
    ),
    "text for number": (
        changed("1", side="wide"),
        r"invalid_input_type: node 1 .*side: got 'wide', expected a value that",
    ),
    "object for float": (
        changed("1", angle={"deg": 3}),
        r"invalid_input_type: node 1 .*angle: got \{'deg': 3\}, .*FLOAT",
    ),
    "infinite number": (
        changed("1", side=float("inf")),
        r"invalid_input_type: node 1 .*side: got inf, expected .*INT",
    ),
    "too small": (
        changed("1", side=0),
        r"value_smaller_than_min: node 1 \(Square\), input side: got 0, expected at least 1",
    ),
    "too big": (
        changed("1", angle=400),
        r"value_bigger_than_max: node 1 .*angle: got 400.0, expected at most 360.0",
    ),
    "not a choice": (
        changed("1", colour="green"),
        r"value_not_in_list: node 1 .*colour: got 'green', expected one of \['red', 'blue'\]",
    ),
    "not one of many": (
        changed("1", many="x"),
        r"value_not_in_list: node 1 .*many: got 'x', expected one of 50 names",
    ),
    "no such container": (
        saving(format="gif"),
        r"value_not_in_list: node 3 .*format: got 'gif', expected one of \['auto'",
    ),
    "no such codec": (
        saving(format="mp4", **{"format.codec": "h265"}),
        r"value_not_in_list: node 3 .*format\.codec: got 'h265', expected one of \['auto', 'h264', 'av1'\]",
    ),
    "deep value": (
        saving(
            format="mp4",
            **{
                "format.codec": "h264",
                "format.codec.encoding": "re-encode",
                "format.codec.encoding.crf": 90,
                "format.codec.encoding.color_space": "auto",
            },
        ),
        r"value_bigger_than_max: node 3 .*input format\.codec\.encoding\.crf: got 90.0, expected at most 51.0",
    ),
    "own rule, and a limit": (
        changed("1", even=12),
        r"value_bigger_than_max: node 1 \(Square\), input even: got 12, expected at most 10",
    ),
    "own rule": (
        changed("1", even=3),
        r"custom_validation_failed: node 1 \(Square\), input even: .*expected an even number",
    ),
    "no such picture": (
        {"1": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}}, "2": SAVE},
        r"custom_validation_failed: node 1 \(LoadImage\), input image: got \['cat.png'\], expected a file of .* none",
    ),
    "picture elsewhere": (
        {"1": {"class_type": "LoadImage", "inputs": {"image": "../../cat.png"}}, "2": SAVE},
        r"custom_validation_failed: node 1 .*input image: got \['../../cat.png'\], expected a file inside",
    ),
    "cycle": (
        loop(),
        r"dependency_cycle: node . \(Image\w+\), input image: got the cycle (1 .* -> 2 .* -> 1|2 .* -> 1 .* -> 2)",
    ),
}


@pytest.mark.parametrize(("workflow", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_workflow_is_refused_in_one_line(port, workflow, message):
    with pytest.raises(InvalidWorkflowError, match=message) as caught:
        check_workflow(workflow, CLASSES)
    assert [str(error).count("\n") for error in caught.value.errors] == [0]


def test_every_error_is_told_at_once(port):
    workflow = changed("1", side=0, angle=400, colour="green")
    with pytest.raises(InvalidWorkflowError, match="value_smaller_than_min") as caught:
        check_workflow(workflow, CLASSES)
    kinds = {error.kind for error in caught.value.errors}
    assert kinds == {"value_smaller_than_min", "value_bigger_than_max", "value_not_in_list"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"invalid_prompt: workflow: got text that is not JSON \(.*\), expected an object of nodes"),
        ("[]", r"invalid_prompt: workflow: got list, expected an object of nodes"),
        ('{"nodes": [], "links": []}', r'got a workflow saved by the editor .*use "Export \(API\)"'),
    ],
)
def test_text_that_is_no_workflow_is_refused(text, message):
    with pytest.raises(InvalidWorkflowError, match=message):
        read_workflow(text)


def test_values_are_converted_and_links_found(port):
    graph = check_workflow(changed("1", side="8", angle=1, filled=1), CLASSES)
    square = graph.nodes["1"].inputs
    assert square == {"side": 8, "angle": 1.0, "filled": True}
    assert [type(value) for value in square.values()] == [int, float, bool]
    assert graph.nodes["2"].inputs["images"] == Link("1", 0)


def test_only_nodes_that_outputs_need_are_kept_in_an_order_that_runs(port):
    unused = {"class_type": "Square", "inputs": {"side": -5}}
    graph = check_workflow({"2": SAVE, "7": unused, "1": SQUARE}, CLASSES)
    assert list(graph.nodes) == ["1", "2"]
    assert graph.outputs == ("2",)


def test_a_wrapped_list_is_a_value_and_not_a_link(port):
    workflow = {"1": {"class_type": "Anything", "inputs": {"value": {"__value__": ["1", 0]}}}}
    assert check_workflow(workflow, CLASSES).nodes["1"].inputs["value"] == ["1", 0]


def test_titles_and_inputs_that_no_node_has_are_ignored(port):
    workflow = changed("1", control_after_generate="randomize")
    workflow["1"]["_meta"] = {"title": "A square"}
    workflow["1"]["is_changed"] = [1]
    assert check_workflow(workflow, CLASSES).nodes["1"].inputs == {"side": 8}


@pytest.mark.parametrize(
    "inputs",
    [{"format": "mp4", "format.codec": "h264"}, {"format": "mp4", "codec": "h264"}, {"format": "auto"}],
)
def test_both_forms_of_save_video_are_accepted(port, inputs):
    graph = check_workflow(saving(**inputs), CLASSES)
    assert {n: v for n, v in graph.nodes["3"].inputs.items() if n in inputs} == inputs


def test_the_workflow_given_is_left_as_it_was(port):
    workflow = changed("1", side="8")
    check_workflow(workflow, CLASSES)
    assert workflow["1"]["inputs"]["side"] == "8"
