"""AnimateDiff-Evolved's beta schedules as Apply Motion Module's, or as core's ModelSamplingDiscrete for LCM."""

from __future__ import annotations

import re
from typing import Any

from .graph import Link, Node
from .rules import part
from .work import Work

AUTO, SQRT_LINEAR = "auto", "sqrt_linear (AnimateDiff)"
LINEAR, OWN = "linear (Stable Diffusion)", "use model's own"
MEAN = "avg(sqrt_linear,linear)"
LCM = "lcm"  # none of ours: core's ModelSamplingDiscrete behind a module with the model's own schedule
_MEAN = "it takes the mean of two schedules"

BETAS: dict[str, tuple[str, str]] = {
    "autoselect": (AUTO, ""),
    "use existing": (OWN, ""),
    "sqrt_linear (AnimateDiff)": (SQRT_LINEAR, ""),
    "sqrt_linear": (SQRT_LINEAR, ""),
    "linear (HotshotXL/default)": (LINEAR, ""),
    "linear": (LINEAR, ""),
    "lcm": (LCM, ""),
    "lcm[100_ots]": (LCM, "it takes 100 of the levels of noise, and ModelSamplingDiscrete 50"),
    "lcm[25_ots]": (LCM, "it takes 25 of the levels of noise, and ModelSamplingDiscrete 50"),
    "lcm avg(sqrt_linear,linear)": (LCM, f"{_MEAN}, and ModelSamplingDiscrete linear's"),
    "lcm >> sqrt_linear": (SQRT_LINEAR, "it takes 50 of the levels of noise, and scales predictions as LCM does"),
    MEAN: (MEAN, ""),
    "linear (AnimateDiff-SDXL)": ("linear (AnimateDiff-SDXL)", ""),
    "sqrt": ("sqrt", ""),
    "cosine": ("cosine", ""),
    "squaredcos_cap_v2": ("squaredcos_cap_v2", ""),
}  # fmt: skip
"""Its schedules by name: ours, and what is lost."""

SIGMAS = ("ADE_SigmaSchedule", "ADE_RawSigmaSchedule", "ADE_SigmaScheduleWeightedAverage")
_HALVES = {BETAS["sqrt_linear"], BETAS["linear"]}

_RAW_BOUNDS = {"linear_start": 0.00085, "linear_end": 0.012}
_ANIMATELCM = re.compile(r"lcm", re.IGNORECASE)

part(*SIGMAS[:2],
     here="Apply Motion Module's `beta_schedule`, or ModelSamplingDiscrete",
     but="near for LCM's schedules but `lcm`; levels of one's own, and without a motion module all but LCM's, are not "
         "possible")  # fmt: skip
part(SIGMAS[2], here="Apply Motion Module's `beta_schedule`",
     but="not possible for others than `sqrt_linear` and `linear`, half of each")  # fmt: skip


def choose_beta(work: Work, node: Node, file: str | None) -> tuple[str, str]:
    """Return the schedule that a node samples with, and what is lost; the report says what of it is not possible.

    Args:
        work: graph that is changed.
        node: node with a ``beta_schedule``, whose sample settings may have one that counts more.
        file: name of the motion module; None: there is none.
    """
    settings = work.part(node, "sample_settings")
    sigmas = None if settings is None else work.part(settings, "sigma_schedule")
    if sigmas is not None:
        name = _name_sigmas(work, sigmas)
        for each in (sigmas, *_averaged(work, sigmas)):
            if name is not None:
                work.say(work.take(each), "exact", "it says what was made of the beta_schedule")
        if name is None:
            return AUTO if file is not None else OWN, ""  # what the settings say of it
    else:
        first = "sqrt_linear (AnimateDiff)" if "V1" in node.kind else "autoselect"
        name = str(work.read(node, "beta_schedule", first))
    if name == "autoselect" and file is None:
        return OWN, ""
    if name == "autoselect" and _ANIMATELCM.search(str(file)):
        return LCM, ""
    if name in BETAS:
        return BETAS[name]
    said = f"beta_schedule {name} is not here. Instead: auto, which is what the module was trained with."
    work.say(node, "not possible", said)
    return AUTO if file is not None else OWN, ""


def put_lcm(work: Work, node: Node, model: Any) -> Any:
    """Put LCM's sampling on a model; return a link to it."""
    return Link(work.new("ModelSamplingDiscrete", node, model=model, sampling="lcm", zsnr=False).id, 0)


def _averaged(work: Work, sigmas: Node) -> list[Node]:
    """Return the two nodes whose mean a node takes; of any other, none."""
    parts = [work.part(sigmas, name) for name in ("schedule_A", "schedule_B")]
    return [each for each in parts if each is not None]


def _name_sigmas(work: Work, sigmas: Node) -> str | None:
    """Return the name of the schedule that a node gives; None where it has none that ours have."""
    if sigmas.kind == "ADE_SigmaSchedule":
        name = str(work.read(sigmas, "beta_schedule", ""))
        return name if name in BETAS else None
    if sigmas.kind == "ADE_SigmaScheduleWeightedAverage":
        names = {_name_sigmas(work, each) for each in _averaged(work, sigmas)}
        is_half = work.number(sigmas, "weight_A", 0.5) == 0.5
        return MEAN if is_half and {BETAS.get(str(name)) for name in names} == _HALVES else None
    if sigmas.kind != "ADE_RawSigmaSchedule" or work.read(sigmas, "zsnr", False):
        return None
    name, sampling = str(work.read(sigmas, "raw_beta_schedule", "")), work.read(sigmas, "sampling", "eps")
    is_own = any(work.number(sigmas, bound, default) != default for bound, default in _RAW_BOUNDS.items())
    if is_own and "cos" not in name:
        return None
    if sampling == "lcm":
        is_core = name == "linear" and work.number(sigmas, "lcm_original_timesteps", 50) == 50
        return "lcm" if is_core else None
    return name if sampling == "eps" and name in BETAS else None
