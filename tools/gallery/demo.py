"""A workflow as a graph that the demo model draws: what it can't do is left out, and said.

A workflow for the demo model stays as it is, but for what would take an hour. One for Stable Diffusion 1.5
keeps its nodes and their settings, but for what this file says: loaders load the demo model and its files, pictures
have 128 pixels a side, prompts are of things that the demo model knows, and a node whose weights it has none for hands
on what it gets. Every graph ends in savers of our own, which keep whole frames, so that nothing is compressed twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from frameloom.headless.workflow.settings import with_settings

Graph = dict[str, dict[str, Any]]
Link = list[Any]

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
NAMES = sorted(path.stem for path in (WORKFLOWS / "api").glob("*.json"))
SAVER, SAVED_FPS = "picture", 8.0
SIDE, BOXES, CFG = 128, 192, 3.0
VIDEO = "a_white_cross.mp4"
MOTION, FEW_STEPS, PAN = (
    f"frameloom_demo_{name}.safetensors" for name in ("motion", "motion_few_steps", "pan_left")
)
# What workflows draw in place of what the demo model doesn't know: one of these, by the workflow's name.
SUBJECTS = (
    "a big red circle moving right on a navy background",
    "a big yellow cross moving up on a black background",
    "a big green triangle moving left on a brown background",
    "a big cyan circle moving down on a gray background",
    "a big orange triangle moving right on a black background",
    "a big white circle moving left on a navy background",
)
CIRCLING = "8.text=a small red circle on a navy background"
COLORS = "\n".join(
    f"a big {color} circle on a navy background, left" for color in ("red", "orange", "yellow")
)
TRAVEL = "0: a big red circle\n8: a big orange circle\n15: a big yellow circle"
CIRCLE = {
    "size": [SIDE, SIDE],
    "scenes": [
        {
            "id": 1,
            "frames": 16,
            "entities": [
                {
                    "id": "circle",
                    "text": "a circle",
                    "track": [{"f": 0, "box": [0.1, 0.3, 0.4, 0.6]}, {"f": 15, "box": [0.6, 0.3, 0.9, 0.6]}],
                }
            ],
        }
    ],
}
FIVE = "\n".join(
    f"a big {color} circle on a navy background, left"
    for color in ("red", "red", "orange", "yellow", "green")
)
# Workflows for a kind of model that the demo model is not -> the workflow that is drawn in their place.
STAND_INS = {"wan_keyframes": "nuwa_demo"}
# Values that a workflow gets in place of its own, beside what all of them get, and what people should know of it.
SETTINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "freenoise_demo": ("in 8 steps in place of 20", ("8.steps=8",)),
    "layout_controlnet_sd15": (
        "",
        ("4.script=A small red circle on a navy background moves from the bottom to the top.",),
    ),
    "layout_gligen_sd15": (
        "",
        ("5.script=A small red circle on a navy background moves from the left to the right.",),
    ),
    "layout_sdxl": (
        "",
        ("4.script=A small red circle on a navy background moves from the left to the right.",),
    ),
    "layout_llm": ("by rules", ("2.planner=rules (no LLM)",)),
    "layout_local_llm": ("by rules", ("2.planner=rules (no LLM)",)),
    "long_windows_demo": ("in 8 steps in place of 20", ("7.steps=8",)),
    "motion_lora_sd15": (
        "with a pan in place of the zoom",
        ("5.text=a small cyan triangle standing still on a gray background",),
    ),
    "nuwa_sd15": ("with 3 keyframes in place of 16", ("3.length=3", f"3.prompts={COLORS}")),
    "one_clip_sd15": (
        "after 4 steps of training in place of 300, on a drawn shape that goes in a circle",
        ("4.steps=4", "3.clips=1", "11.steps=8", "3.motion=circle", CIRCLING),
    ),
    "pix2pix_video_sd15": (
        "from half of the noise of the video on the left",
        ("12.denoise=0.6", "3.text=a big yellow cross moving right on a brown background"),
    ),
    "text2video_zero_controlnet_sd15": ("", ("3.text=a big orange cross on a black background",)),
    "text2video_zero_sd15": (
        "at noise levels 640 and 700 in place of 881 and 941",
        ("7.t0=640.0", "7.t1=700.0", "2.text=a big yellow triangle on a navy background"),
    ),
    "text2video_zero_sdxl": (
        "at noise levels 640 and 700 in place of 881 and 941",
        ("7.t0=640.0", "7.t1=700.0", "2.text=a big green circle on a gray background"),
    ),
    "train_few_steps_demo": (
        "after 2 steps of training in place of 400, on 2 clips",
        ("4.steps=2", "4.batch=1", "3.clips=2"),
    ),
    "train_layout_model": ("by rules", ("3.planner=rules (no LLM)",)),
    "train_motion_lora_sd15": (
        "after 4 steps of training in place of 2,000, on 2 drawn shapes that go in circles",
        ("4.steps=4", "3.clips=2", "11.steps=8", "3.motion=circle", CIRCLING),
    ),
    "wan_boxes": (
        "with 8 frames in place of 81, by bias and gather",
        (
            "5.script=A small red circle on a navy background moves from the left to the right.",
            "5.frames=8",
            "7.method=bias + gather",
            "9.batch_size=8",
            "10.steps=12",
        ),
    ),
    "wan_keyframes": (
        "by Nuwa Interpolate between five keyframes of its own",
        ("3.length=5", f"3.prompts={FIVE}"),
    ),
    "wan_prompt_travel": (
        "with 16 frames in place of 81",
        (
            "5.frames=16",
            f"5.text={TRAVEL}",
            "5.append=on a navy background, standing still",
            "8.steps=20",
        ),
    ),
    "wan_tracks": (
        "with 16 frames in place of 81",
        (f"6.text={json.dumps(CIRCLE)}", "9.text=a big red circle moving right on a navy background"),
    ),
    "windows_controlnet_sd15": (
        "with 24 frames in place of 48",
        ("4.frames=24", "8.length=24", "16.batch_size=24"),
    ),
}
# Loaders of a part of a model -> the demo model's output that stands for it.
PARTS = {"UNETLoader": 0, "CLIPLoader": 1, "VAELoader": 2}
# Nodes whose weights the demo model has none for: what to say of it, and the inputs that their outputs become.
ABSENT: dict[str, tuple[str, tuple[str, ...]]] = {
    "LoraLoaderModelOnly": ("without the LoRA", ("model",)),
    "ModelSamplingSD3": ("", ("model",)),
    "ControlNetApplyAdvanced": (
        "without the ControlNet, whose hints are on the left",
        ("positive", "negative"),
    ),
    "Frameloom_ControlSchedule": ("without its schedule", ("positive", "negative")),
    "Frameloom_ApplySparseControl": ("without SparseCtrl", ("model",)),
    "Frameloom_ApplyCameraCtrl": ("without CameraCtrl, whose camera is on the left", ("model",)),
    "Frameloom_MotionCtrlCamera": ("without MotionCtrl, whose camera is on the left", ("motion",)),
    "Frameloom_PIAPicture": ("without the picture, which needs PIA", ("motion",)),
    "Frameloom_AnimateLCMPicture": ("without the picture, which needs AnimateLCM", ("motion",)),
    "InstructPixToPixConditioning": ("without instruct-pix2pix", ("positive", "negative", "latent")),
    "WanTrackToVideo": (
        "without the tracks, whose boxes are on the left",
        ("positive", "negative", "latent"),
    ),
    "GLIGENLoader": ("without GLIGEN", ()),
    "Frameloom_LLMEndpoint": ("without a language model", ()),
    "Frameloom_LocalLLM": ("without a language model", ()),
}
# Pictures beside a clip, where another node goes on with the work that they show: a node's output, or its input.
PLOTS = {
    "Frameloom_TrainMotionModule": 1,
    "Frameloom_TrainLayoutPrior": 2,
    "Frameloom_CameraPresets": 1,
    "ControlNetApplyAdvanced": "image",
    "InstructPixToPixConditioning": "pixels",
}


@dataclass(frozen=True)
class Drawing:
    """What is drawn of a workflow.

    Attributes:
        graph: graph in API form; saver number n saves the panel that is number n from the left.
        changed: differences from the workflow, in words.
        moves: True of a workflow that makes a clip.
        fps: frames a second of the clip.
    """

    graph: Graph
    changed: tuple[str, ...]
    moves: bool
    fps: float


def needs_weights(name: str) -> bool:
    """Tell whether a workflow is for a model of the user's."""
    return name.endswith(("_sd15", "_sdxl")) or name.startswith("wan_")


def read(name: str) -> Graph:
    """Return a workflow in API form."""
    return json.loads((WORKFLOWS / "api" / f"{name}.json").read_text("utf-8"))


def drawing_of(name: str, *settings: str) -> Drawing:
    """Return what is drawn of a workflow.

    Args:
        name: name of the workflow.
        settings: values in place of its own, as ``--set`` takes them.
    """
    graph = read(STAND_INS.get(name, name))
    plots, clips, stills = _plots(graph), list(_clips(graph)), list(_stills(graph))
    speeds = [node["inputs"]["fps"] for node in graph.values() if type(node["inputs"].get("fps")) is float]
    if needs_weights(name):
        _to_demo(graph, SUBJECTS[crc32(name.encode()) % len(SUBJECTS)])
    absent = [] if name.endswith("_demo") else list(_without_absent(graph))
    words, values = SETTINGS.get(name, ("", ()))
    changed = dict.fromkeys(each for each in (words, *absent) if each)
    graph = with_settings(graph, (*values, *settings))
    panels = [*[*plots, *clips[:-1]][:1], clips[-1]] if clips else stills[-1:]
    fps = max(speeds, default=0.0) or SAVED_FPS
    return Drawing(_needed(with_savers(graph, panels)), tuple(changed), bool(clips), fps)


def with_savers(graph: Graph, panels: list[Link]) -> Graph:
    """Add a saver of whole frames for each panel."""
    whole = {"fps": SAVED_FPS, "lossless": True, "quality": 0, "method": "fastest"}
    savers = {
        f"{SAVER}{number}": {
            "class_type": "SaveAnimatedWEBP",
            "inputs": {"images": panel, "filename_prefix": str(number), **whole},
        }
        for number, panel in enumerate(panels, 1)
    }
    return graph | savers


def _plots(graph: Graph) -> list[Link]:
    """Return links to the pictures that stand beside a clip."""
    workers = [node for node in graph.values() if node["class_type"] not in ("PreviewImage", "PreviewAny")]
    used = {(link[0], link[1]) for node in workers for link in _links(node)}
    found = []
    for node_id, node in graph.items():
        place = PLOTS.get(node["class_type"])
        if isinstance(place, str):
            found.append(node["inputs"][place])
        elif place is not None and (node_id, 0) in used:
            found.append([node_id, place])
    return found


def _clips(graph: Graph) -> Iterator[Link]:
    """Yield links to the clips of a graph: its boxes, then what it saves. A video is decoded, and not saved."""
    for node_id, node in graph.items():
        if node["class_type"] == "Frameloom_LayoutPreview":
            node["inputs"]["longer_side"] = BOXES
            yield [node_id, 0]
    for node_id, node in graph.items():
        if node["class_type"] == "SaveAnimatedWEBP":
            yield node["inputs"]["images"]
        elif node["class_type"] == "Frameloom_DecodeToVideo":
            inputs = {"samples": node["inputs"]["latent"], "vae": node["inputs"]["vae"]}
            node |= {"class_type": "VAEDecode", "inputs": inputs}
            yield [node_id, 0]


def _stills(graph: Graph) -> Iterator[Link]:
    """Yield links to the pictures that a graph shows."""
    for node in graph.values():
        if node["class_type"] in ("SaveImage", "PreviewImage"):
            yield node["inputs"]["images"]


def _to_demo(graph: Graph, subject: str) -> None:
    """Put the demo model, its words, its size and its guidance into a graph."""
    kinds = {node["class_type"] for node in graph.values()}
    motion = FEW_STEPS if "Frameloom_FewStepSettings" in kinds else MOTION
    for node_id, node in list(graph.items()):
        kind, inputs = node["class_type"], node["inputs"]
        sizes = {side for side in ("width", "height") if isinstance(inputs.get(side), int)}
        inputs |= dict.fromkeys(sizes, SIDE)
        guidance = {name for name in ("cfg", "cfg_conds") if type(inputs.get(name)) is float}
        inputs |= {name: min(inputs[name], CFG) for name in guidance}
        if kind in PARTS:
            node |= {"class_type": "Frameloom_DemoModelLoader", "inputs": {}}
            for user in graph.values():
                linked = {name for name, value in user["inputs"].items() if value == [node_id, 0]}
                user["inputs"] |= {name: [node_id, PARTS[kind]] for name in linked}
        elif kind == "EmptyHunyuanLatentVideo":
            sides = {name: inputs[name] for name in ("width", "height")}
            node |= {"class_type": "EmptyLatentImage", "inputs": sides | {"batch_size": inputs["length"]}}
        elif kind == "CheckpointLoaderSimple":
            node |= {"class_type": "Frameloom_DemoModelLoader", "inputs": {}}
        elif kind == "Frameloom_MotionModuleLoader":
            inputs["file"] = motion
        elif kind == "Frameloom_MotionLoRALoader":
            inputs["file"] = PAN
        elif kind == "CLIPTextEncode" and isinstance(inputs["text"], str):
            inputs["text"] = "" if inputs["text"].startswith("low quality") else inputs["text"] and subject
        elif kind == "LoadVideo":
            inputs["file"] = VIDEO
        elif kind == "Frameloom_VideoDataset":
            inputs |= {"source": "shapes", "folder": "none"}
        elif kind == "Frameloom_TrainMotionModule":
            inputs["beta_schedule"] = "linear (Stable Diffusion)"
        elif kind == "WanTrackToVideo":
            empty = {"width": SIDE, "height": SIDE, "batch_size": inputs["length"]}
            graph["clip"] = {"class_type": "EmptyLatentImage", "inputs": empty}
            inputs["latent"] = ["clip", 0]
        elif kind == "InstructPixToPixConditioning":
            video = {"pixels": inputs["pixels"], "vae": inputs["vae"]}
            graph["video"] = {"class_type": "VAEEncode", "inputs": video}
            inputs["latent"] = ["video", 0]


def _without_absent(graph: Graph) -> Iterator[str]:
    """Let what came into absent nodes go past them; yield what to say of it."""
    for node_id, node in graph.items():
        if node["class_type"] not in ABSENT:
            continue
        words, passed = ABSENT[node["class_type"]]
        yield words
        for user in graph.values():
            for name, value in list(user["inputs"].items()):
                if isinstance(value, list) and value[0] == node_id:
                    del user["inputs"][name]
                    if value[1] < len(passed):
                        user["inputs"][name] = node["inputs"][passed[value[1]]]


def _needed(graph: Graph) -> Graph:
    """Keep our savers and what they need."""
    waiting, kept = [node_id for node_id in graph if node_id.startswith(SAVER)], set()
    while waiting:
        node_id = waiting.pop()
        if node_id not in kept:
            kept.add(node_id)
            waiting += [link[0] for link in _links(graph[node_id])]
    return {
        node_id: {key: node[key] for key in ("class_type", "inputs")}
        for node_id, node in graph.items()
        if node_id in kept
    }


def _links(node: dict[str, Any]) -> list[Link]:
    return [value for value in node["inputs"].values() if isinstance(value, list)]
