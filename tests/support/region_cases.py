"""Small workflows with several conditions on a side, masks of them, and GLIGEN, for both hosts.

``gligen`` is GLIGEN's layers, ``wide`` the demo's text encoder with a pooled text 768 wide, ``masks-N`` are N masks;
the rest is ``sampling_cases``'s.
"""

from __future__ import annotations

from frameloom.tests.support.sampling_cases import LONG, step, text, workflow


def combined(first, second, more="a blue square", **settings):
    """Two positive prompts, each with nodes upon it; ``first``, ``second``: their lists of (node, inputs)."""
    steps = workflow(**{"steps": 5, **settings})
    steps["more"] = text(more)
    ends = []
    for source, nodes in (("positive", first), ("more", second)):
        steps, end = behind(steps, source, nodes)
        ends.append(end)
    steps["both"] = step("ConditioningCombine", conditioning_1=ends[0], conditioning_2=ends[1])
    steps["out"]["inputs"]["positive"] = ["both", 0]
    return steps


def single(positive, negative=(), **settings):
    """One prompt a side with nodes upon each."""
    steps = workflow(**{"steps": 5, **settings})
    for side, nodes in (("positive", positive), ("negative", negative)):
        steps, steps["out"]["inputs"][side] = behind(steps, side, nodes)
    return steps


def behind(steps, source, nodes):
    """Nodes in a row behind a condition; returns the steps, and the link to the last."""
    link = [source, 0]
    for number, (node, inputs) in enumerate(nodes):
        name = f"{source}-{number}"
        key = "conditioning_to" if node == "GLIGENTextBoxApply" else "conditioning"
        steps = {**steps, name: step(node, **{key: link}, **inputs)}
        link = [name, 0]
    return steps, link


def mask(name, strength=1.0):
    return "ConditioningSetMask", {"mask": [name, 0], "strength": strength, "set_cond_area": "default"}


def box(words, x, y, width, height):
    links = {"clip": ["wide", 0], "gligen_textbox_model": ["gligen", 0]}
    return "GLIGENTextBoxApply", {**links, "text": words, "x": x, "y": y, "width": width, "height": height}


def moving(steps, **settings):
    """The same with GLIGEN in Frameloom's way, a box that moves, on the positive prompt."""
    inputs = steps["out"]["inputs"]
    carried = step("carry_boxes", conditioning=inputs["positive"])
    model = step("ground", model=inputs["model"], network=["gligen", 0], **settings)
    inputs |= {"positive": ["carried", 0], "model": ["grounded", 0]}
    return steps | {"carried": carried, "grounded": model}


def region_cases() -> dict[str, dict]:
    """Return every case: prediction type, and a workflow whose node ``out`` is compared."""
    circle, cross = box("a red circle", 0, 32, 64, 64), box("a blue cross", 72, 8, 48, 100)
    found = {
        "combined": combined([], []),
        "combined-long": combined([], [], LONG),
        "masks": combined([mask("masks-1")], [mask("masks-3", 0.4)]),
        "masks-cut": combined([mask("masks-5")], []),
        "mask-alone": single([mask("masks-3", 0.7)], [mask("masks-1")]),
        "box": single([circle]),
        "boxes": single([circle, cross]),
        "boxes-of-their-own": single([circle], [cross]),
        "boxes-cfg-1": single([circle], cfg=1.0),
        "box-and-none": combined([circle], []),
        "box-for-each": combined([circle], [cross]),
        "boxes-masked": combined([circle, mask("masks-1")], [cross, mask("masks-3")]),
        "moving": moving(single([])),
        "moving-a-while": moving(single([]), end_percent=0.3),
        "moving-half": moving(single([]), strength=0.5),
    }
    return {f"region-{name}": {"prediction": "v", "workflow": steps} for name, steps in found.items()}
