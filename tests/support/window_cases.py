"""Small workflows with context windows and prompts that travel, for both hosts.

Windows of two frames over ``sampling_cases``'s three, with a motion module, so that frames of a window mix.
"""

from __future__ import annotations

from frameloom.tests.support.control_cases import controlled, edited
from frameloom.tests.support.region_cases import combined, mask, moving, single
from frameloom.tests.support.sampling_cases import LONG, laid_out, step, text, workflow


def edited_by(steps, name, kind, **inputs):
    """The same with an edit on whatever the model is."""
    sampled = steps["guider" if "guider" in steps else "out"]["inputs"]
    edit = step(kind, model=sampled["model"], **inputs)
    sampled["model"] = [name, 0]
    return steps | {name: edit}


def animated(steps):
    return edited_by(steps, "moving", "animate", motion=["motion", 0])


def windowed(steps, schedule="static", overlap=1, weights="pyramid"):
    plan = {"length": 2, "overlap": overlap, "schedule": schedule, "weights": weights}
    return edited_by(animated(steps), "windows", "in_windows", **plan)


def travelled(last="a blue cross"):
    """From the positive prompt at the first frame to another at the last."""
    steps = workflow()
    steps["last"] = text(last)
    steps["travel"] = step("travel", first=["positive", 0], last=["last", 0])
    steps["out"]["inputs"]["positive"] = ["travel", 0]
    return steps


def window_cases() -> dict[str, dict]:
    """Return every case: prediction type, and a workflow whose node ``out`` is compared."""
    whole = (0.0, 1.0)
    chain = ("net", "hints-3", 0.6, *whole), ("other", "hints-2", 1.2, *whole)
    found = {
        "static": windowed(workflow()),
        "looped": windowed(workflow(), "looped", 0, "overlap-linear"),  # other windows in every step
        "batched": windowed(workflow(), "batched"),
        "control": windowed(controlled(*chain)),
        "boxes": windowed(moving(single([]))),
        "masks": windowed(single([mask("masks-3", 0.7)], [mask("masks-1")])),
        "masks-few": windowed(combined([mask("masks-1")], [mask("masks-2", 0.4)])),
        "layout": windowed(laid_out("lay_out", gather_percent=0.6)),
        "energy": windowed(laid_out("guide")),
        "travel": windowed(travelled(), "looped", 0),
        "travel-long": windowed(travelled(LONG)),
    }
    cases = {f"windows-{name}": {"prediction": "v", "workflow": steps} for name, steps in found.items()}
    masked = windowed(workflow(denoise=0.6))
    cases["windows-masked"] = {"prediction": "v", "masked": True, "workflow": masked}
    cases["windows-edit"] = {"prediction": "eps", "workflow": windowed(edited())}
    for name, steps in {"travel": travelled(), "travel-long": animated(travelled(LONG))}.items():
        cases[name] = {"prediction": "v", "workflow": steps}
    return cases
