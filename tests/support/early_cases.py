"""What nodes refuse before anything runs: a node, its widgets, an input that is marked, and what is said.

Sockets that are not optional have links; ``LINKED`` gives an optional one a link, too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

LINKED = ["0", 0]


class Case(NamedTuple):
    """One of them. ``values``: of inputs that are not as by default."""

    node: str
    values: dict[str, Any]
    marked: str
    said: str


BACKWARDS = {"start_percent": 0.9, "end_percent": 0.1}
REFUSED = [
    Case("ApplyMotionModule", BACKWARDS, "start_percent", "start_percent=0.9 is after end_percent=0.1"),
    Case("ApplySparseControl", BACKWARDS, "start_percent", "start_percent=0.9 is after end_percent=0.1"),
    Case("ApplySparseControl", {"frames": "first"}, "frames", "got 'first'; expected whole numbers"),
    Case("CrossFrameAttnPatch", BACKWARDS, "end_percent", "start_percent=0.9 is after end_percent=0.1"),
    Case("CrossFrameAttnPatch", {"levels": "0, 7"}, "levels", "'7' is no level"),
    Case(
        "ContextWindows",
        {"length": 8, "overlap": 8},
        "overlap",
        "overlap=8 with windows of length=8; expected 0",
    ),
    Case(
        "DecodeToVideo",
        {"filename_prefix": "../x"},
        "filename_prefix",
        "prefix='../x'|outside the output folder",
    ),
    Case("ForegroundMask", {"phrase": " "}, "phrase", "phrase is empty; expected words"),
    Case("ForegroundMask", {"phrase": "a", "levels": "x"}, "levels", "levels='x': 'x' is no level"),
    Case("PromptTravel", {"text": "no schedule"}, "text", "text line 1|text: |expected"),
    Case("PromptTravel", {"text": '"0": "a"', "frames": 0}, "frames", "frames=0; expected 1 to"),
    Case(
        "MotionPath",
        {"kind": "keyframes", "keyframes": "8 right"},
        "keyframes",
        "keyframes line 1: got '8 right'",
    ),
    Case("MotionPath", {"kind": "storyboard track"}, "kind", "storyboard: nothing is connected"),
    Case(
        "CameraPresets",
        {"moves": "0: pan left\n8: fly up"},
        "moves",
        "moves line 2: got '8: fly up'; expected `frame",
    ),
    Case("CameraPosesFromText", {"text": "1 2 3"}, "text", "poses line 1: got 3 values; expected 19 numbers"),
    Case("ApplyCameraCtrl", {"strength": "x"}, "strength", "strength: got 'x'; expected a number"),
    Case("ApplyCameraCtrl", {"file": "pan.safetensors"}, "file", "a motion LoRA; expected CameraCtrl's"),
    Case("MotionCtrlCamera", {"file": "pan.safetensors"}, "file", "a motion LoRA; expected MotionCtrl's"),
    Case("NuwaPlan", {"prompts": ""}, "prompts", "prompts"),
    Case("NuwaPlan", {"storyboard": LINKED, "llm": LINKED}, "llm", "llm: got one beside a storyboard"),
    Case(
        "LayoutFromLLM", {"planner": "language model", "script": "x"}, "planner", "llm: nothing is connected"
    ),
    Case("LayoutFromLLM", {"script": ""}, "script", "script"),
    Case("LayoutFromText", {"text": "not a layout"}, "text", "expected"),
    Case(
        "LayoutPrior", {"file": "none", "entities": "a ball"}, "file", "file='none'; expected a layout prior"
    ),
    Case("LayoutPrior", {"trained": LINKED, "entities": ""}, "entities", "entities"),
    Case(
        "SaveMotionModule", {"filename_prefix": "../x"}, "filename_prefix", "'../x' leads out of the folder"
    ),
    Case("SaveMotionModule", {"filename_prefix": "../x", "folder": "output"}, "folder", r"'\.\./x'"),
    Case("TrainLayoutPrior", {"source": "text", "text": "x"}, "text", "expected"),
    Case("TrainLayoutPrior", {"name": "../x"}, "name", "'../x' leads out of the folder"),
    Case(
        "TrainMotionModule", {"target": "motion LoRA"}, "target", "motion: got none to learn a motion LoRA on"
    ),
    Case(
        "VideoDataset", {"width": 100, "height": 100}, "width", "width=100: got a side that is not a multiple"
    ),
    Case("VideoDataset", {"width": 64, "height": 32}, "height", "width=64, height=32; expected a square"),
    Case(
        "VideoDataset", {"source": "folder", "folder": "none"}, "folder", "got 'none', which is no folder of"
    ),
    Case("ZeroShotSampler", {"t0": 950.0}, "t0", "t0=950 is not below t1=941 in noise"),
    Case(
        "ZeroShotSampler",
        {"t0": 1.5, "level_unit": "percent"},
        "level_unit",
        "is more than 1 with level_unit",
    ),
    Case(
        "ZeroShotSampler", {"t0": 0.1, "t1": 0.2, "level_unit": "percent"}, "t1", "t0=0.1 is not below t1=0.2"
    ),
    Case(
        "MotionLoRALoader",
        {"file": "mine.safetensors"},
        "file",
        "mine.safetensors is .*expected a motion LoRA",
    ),
    Case(
        "MotionModuleLoader",
        {"file": "pan.safetensors"},
        "file",
        "pan.safetensors is .*expected an AnimateDiff motion m",
    ),
]
"""The last two have files of the other kind in their folders."""

ACCEPTED = [
    Case("ApplyMotionModule", {"start_percent": LINKED, "end_percent": 0.1}, "", ""),
    Case("ContextWindows", {"length": LINKED, "overlap": 100}, "", ""),
    Case("ForegroundMask", {"phrase": "", "levels": "x", "mask": LINKED}, "", ""),
    Case("PromptTravel", {"text": "no schedule", "storyboard": LINKED}, "", ""),
    Case("MotionPath", {"kind": "camera", "keyframes": "no keyframes"}, "", ""),
    Case("MotionPath", {"kind": "storyboard track", "storyboard": LINKED}, "", ""),
    Case("NuwaPlan", {"prompts": "", "storyboard": LINKED}, "", ""),
    Case("LayoutFromLLM", {"planner": "language model", "script": "", "llm": LINKED}, "", ""),
    Case("SaveMotionModule", {"filename_prefix": LINKED}, "", ""),
    Case("TrainMotionModule", {"target": "motion LoRA", "motion": LINKED}, "", ""),
    Case("VideoDataset", {"width": 64, "height": 64, "folder": LINKED}, "", ""),
    Case("ZeroShotSampler", {"t0": 0.118, "t1": 0.058, "level_unit": "percent"}, "", ""),
]
