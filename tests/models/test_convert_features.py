"""Features of AnimateDiff-Evolved and Advanced-ControlNet for which nodes of ours came later, as these nodes."""

from __future__ import annotations

import pytest
from frameloom.models.convert.convert import convert
from frameloom.tests.models.test_convert import api, node, only, said, with_inputs

# positions


def adjusted(adjust, file="v3_sd15_mm.ckpt", before=None):
    settings = node("ADE_AnimateDiffSettings", pe_adjust=["8", 0])
    graph = api(**{"7": settings, "8": adjust} | ({"9": before} if before else {}))
    return with_inputs(graph, "2", ad_settings=["7", 0], model_name=file)


def stretches(converted):
    """The stretches that a module goes through, from the loader on."""
    graph, found = converted.graph, []
    (at,) = [
        each["inputs"]["motion"][0] for each in graph.values() if "ApplyMotionModule" in each["class_type"]
    ]
    while graph[at]["class_type"] == "Frameloom_StretchPositions":
        values = graph[at]["inputs"]
        found.append((values["known_frames"], values["frames"]))
        at = values["motion"][0]
    return found[::-1]


SWEETSPOT = node("ADE_AdjustPESweetspotStretch", sweetspot=16, new_sweetspot=18)


@pytest.mark.parametrize(
    ("adjust", "file", "made", "verdict"),
    [
        (SWEETSPOT, "v3_sd15_mm.ckpt", [(16, 18)], "exact"),
        (SWEETSPOT, "AnimateLCM_sd15_t2v.ckpt", [], "exact"),
        (node("ADE_AdjustPESweetspotStretch", sweetspot=0, new_sweetspot=48), "mm_sd_v15.ckpt", [(24, 48)], "exact"),
        (node("ADE_AdjustPESweetspotStretch", sweetspot=28, new_sweetspot=0), "mm_sd_v15.ckpt", [(24, 24)], "exact"),
        (node("ADE_AdjustPESweetspotStretch", sweetspot=28, new_sweetspot=40), "my.ckpt", [(28, 40)], "near"),
        (node("ADE_AdjustPEFullStretch", pe_stretch=16), "mm_sd_v15_v2.ckpt", [(32, 48)], "exact"),
        (node("ADE_AdjustPEFullStretch", pe_stretch=16), "my.ckpt", [], "not possible"),
        (node("ADE_AdjustPEFullStretch", pe_stretch=0), "my.ckpt", [], "exact"),
        (node("ADE_AdjustPEManual", cap_initial_pe_length=16, interpolate_pe_to_length=24, initial_pe_idx_offset=2),
         "v3_sd15_mm.ckpt", [], "not possible"),
    ],
)  # fmt: skip
def test_adjusted_positions_become_stretched_ones_where_the_file_has_any(adjust, file, made, verdict):
    converted = convert(adjusted(adjust, file=file))
    assert stretches(converted) == made
    assert said(converted, adjust["class_type"]).startswith(verdict)
    assert not [each for each in converted.graph.values() if each["class_type"].startswith("ADE")]


def test_positions_are_adjusted_one_after_the_other_and_before_loras():
    full = node("ADE_AdjustPEFullStretch", pe_stretch=4)
    after = SWEETSPOT | {"inputs": SWEETSPOT["inputs"] | {"prev_pe_adjust": ["9", 0]}}
    assert stretches(convert(adjusted(after, before=full))) == [(32, 36), (16, 18)]


# levels of noise


def with_sigmas(**sigmas):
    graph = api(**{"7": node("ADE_AnimateDiffSamplingSettings", sigma_schedule=["8", 0])}, **sigmas)
    return with_inputs(graph, "2", sample_settings=["7", 0])


def schedule(name):
    return node("ADE_SigmaSchedule", beta_schedule=name)


@pytest.mark.parametrize(
    ("sigmas", "made", "verdict"),
    [
        ({"8": schedule("cosine")}, "cosine", "exact"),
        ({"8": schedule("linear (AnimateDiff-SDXL)")}, "linear (AnimateDiff-SDXL)", "exact"),
        ({"8": node("ADE_RawSigmaSchedule", raw_beta_schedule="sqrt", sampling="eps")}, "sqrt", "exact"),
        ({"8": node("ADE_RawSigmaSchedule", raw_beta_schedule="sqrt", sampling="eps", linear_end=0.02)}, "auto",
         "not possible"),
        ({"8": node("ADE_SigmaScheduleWeightedAverage", schedule_A=["9", 0], schedule_B=["10", 0], weight_A=0.5),
          "9": schedule("linear (HotshotXL/default)"), "10": schedule("sqrt_linear (AnimateDiff)")},
         "avg(sqrt_linear,linear)", "exact"),
        ({"8": node("ADE_SigmaScheduleWeightedAverage", schedule_A=["9", 0], schedule_B=["10", 0], weight_A=0.4),
          "9": schedule("linear (HotshotXL/default)"), "10": schedule("sqrt_linear (AnimateDiff)")},
         "auto", "not possible"),
    ],
)  # fmt: skip
def test_levels_of_noise_become_a_beta_schedule_that_has_them(sigmas, made, verdict):
    converted = convert(with_sigmas(**sigmas))
    assert only(converted, "Frameloom_ApplyMotionModule")["beta_schedule"] == made
    assert converted.report.verdict == verdict
    assert not set(sigmas) & converted.graph.keys()


def test_a_node_that_nothing_uses_is_no_loss():
    graph = api(**{"8": node("ADE_AdjustWeightAllMult", all_MULT=1.01),
                   "9": node("ADE_AnimateDiffSettings", weight_adjust=["8", 0])})  # fmt: skip
    converted = convert(graph)
    assert converted.report.verdict == "exact"
    assert converted.graph["8"] == graph["8"]
    assert convert(graph | {"10": node("Other", settings=["9", 0])}).report.verdict == "not possible"
