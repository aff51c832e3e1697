"""Features of AnimateDiff-Evolved and Advanced-ControlNet for which nodes of ours came later, as these nodes."""

from __future__ import annotations

import pytest
from frameloom.models.convert.convert import convert
from frameloom.models.motion.camera_moves import move_camera, parse_moves
from frameloom.models.motion.pia import read_affinity
from frameloom.models.video.factors import read_factors
from frameloom.tests.models.test_convert import api, drawn, editor, node, only, said, with_inputs

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


# weights and scale


def weighted(file="v3_sd15_mm.ckpt", settings=None, **nodes):
    settings = settings or node("ADE_AnimateDiffSettings", weight_adjust=["8", 0], pe_adjust=["9", 0])
    return with_inputs(api(**({"7": settings} | nodes)), "2", ad_settings=["7", 0], model_name=file)


def changes(converted):
    """What is done to a module, from the loader on: the nodes' classes, or what of which weights changes."""
    graph, found = converted.graph, []
    at = only(converted, "Frameloom_ApplyMotionModule")["motion"][0]
    while graph[at]["class_type"] != "Frameloom_MotionModuleLoader":
        values = graph[at]["inputs"]
        adjusts = graph[at]["class_type"] == "Frameloom_AdjustMotionWeights"
        found.append(
            (values["kind"], values["add"], values["multiply"]) if adjusts else graph[at]["class_type"][10:]
        )
        at = values["motion"][0]
    return found[::-1]


def test_weights_are_adjusted_in_their_order_behind_positions():
    converted = convert(weighted(**{
        "8": node("ADE_AdjustWeightIndivAttnMult", pe_MULT=0.9, attn_MULT=1.0, attn_q_MULT=1.2, attn_out_bias_MULT=0.5,
                  other_MULT=1.0, prev_weight_adjust=["10", 0]),
        "9": SWEETSPOT,
        "10": node("ADE_AdjustWeightAllAdd", all_ADD=["20", 0], prev_weight_adjust=["11", 0]),
        "11": node("ADE_AdjustWeightAllMult", all_MULT=1.01),
        "20": node("AFloat"),
    }))  # fmt: skip
    assert changes(converted) == [
        "StretchPositions",
        ("all", 0.0, 1.01),
        ("all", ["20", 0], 1.0),
        ("positions", 0.0, 0.9),
        ("queries", 0.0, 1.2),
        ("output biases", 0.0, 0.5),
    ]
    assert said(converted, "ADE_AdjustWeightIndivAttnMult").startswith("exact")


@pytest.mark.parametrize(
    ("adjust", "file", "made", "verdict"),
    [
        (node("ADE_AdjustWeightAllMult", all_MULT=1.0), "v3_sd15_mm.ckpt", [], "exact"),
        (
            node("ADE_AdjustWeightAllMult", all_MULT=1.01),
            "AnimateLCM_sd15_t2v.ckpt",
            [("all", 0.0, 1.01)],
            "near",
        ),
        (node("ADE_AdjustWeightAllAdd", all_ADD=3.0), "v3_sd15_mm.ckpt", [], "not possible"),
        (node("SomeAdjust", all_ADD=3.0), "v3_sd15_mm.ckpt", [], "not possible"),
    ],
)
def test_what_an_adjustment_of_weights_becomes_is_said(adjust, file, made, verdict):
    converted = convert(
        weighted(file, node("ADE_AnimateDiffSettings", weight_adjust=["8", 0]), **{"8": adjust})
    )
    assert changes(converted) == made
    assert said(converted, adjust["class_type"]).startswith(verdict)


def test_strengths_of_settings_of_old_are_weights_that_are_multiplied():
    settings = node("ADE_AnimateDiffModelSettings", pe_strength=0.9, attn_strength=1.0, other_strength=1.1,
                    motion_pe_stretch=0)  # fmt: skip
    assert changes(convert(weighted(settings=settings))) == [("positions", 0.0, 0.9), ("other", 0.0, 1.1)]


def test_a_scale_by_frame_is_motion_strengths():
    graph = with_inputs(api(**{"7": node("ADE_MultivalDynamicFloats", floats=["8", 1]),
                               "8": node("ADE_ValueScheduling", values='"0": 0.5, "15": 2.0', max_length=16)}), "2",
                        scale_multival=["7", 0])  # fmt: skip
    made = only(convert(graph), "Frameloom_MotionStrength")
    assert (made["scale"], made["scale_by_frame"], made["strength"]) == (1.0, "0: 0.5, 15: 2.0", "1")


# one frame's prompt


def one_frame(frame, text='"4": "a", "12": "b --neg c"', **inputs):
    schedule = node(
        "PromptSchedule",
        clip=["1", 1],
        text=text,
        max_frames=16,
        current_frame=frame,
        pre_text="x,",
        **inputs,
    )
    return api(**{"8": schedule, "4": node("KSampler", positive=["8", 0], negative=["8", 1], model=["2", 0])})


def prompt_of(converted, side):
    """The prompts that a sampler's condition is of, each with what it counts."""
    graph = converted.graph
    made = graph[graph["4"]["inputs"][side][0]]
    if made["class_type"] == "CLIPTextEncode":
        return {made["inputs"]["text"]: 1}
    share = made["inputs"]["conditioning_to_strength"]
    ends = (graph[made["inputs"][name][0]] for name in ("conditioning_to", "conditioning_from"))
    return {each["inputs"]["text"]: part for each, part in zip(ends, (share, 1 - share), strict=True)}


@pytest.mark.parametrize(
    ("frame", "positive", "negative"),
    [
        (0, {"x, a": 1}, {"": 1}),
        (4, {"x, a": 1}, {"": 1}),
        (6, {"x, a": 0.75, "x, b": 0.25}, {"": 0.75, "c": 0.25}),
        (15, {"x, b": 1}, {"c": 1}),
        (20, {"x, a": 1}, {"": 1}),  # frame 4 of 16
    ],
)
def test_the_prompt_of_one_frame_is_its_prompt_or_between_two(frame, positive, negative):
    converted = convert(one_frame(frame))
    assert prompt_of(converted, "positive") == positive
    assert prompt_of(converted, "negative") == negative
    assert said(converted, "PromptSchedule").startswith("exact")


@pytest.mark.parametrize("more", [{"text": ["9", 0]}, {"text": '"0": "a `t`"'}, {"app_text": ["9", 0]}])
def test_a_prompt_of_one_frame_that_is_worked_out_stays_as_it_is(more):
    converted = convert(one_frame(0, **more) | {"9": node("AText")})
    assert converted.graph["8"]["class_type"] == "PromptSchedule"


# SparseCtrl


def sparse(apply="ACN_AdvancedControlNetApply", loader=None, **inputs):
    return api(**{
        "10": node("ACN_SparseCtrlLoaderAdvanced", sparsectrl_name="rgb.ckpt", **(loader or {})),
        "11": node(apply, positive=["20", 0], negative=["21", 0], control_net=["10", 0], image=["12", 0], strength=0.8,
                   start_percent=0.0, end_percent=0.4, **inputs),
        "12": node("ACN_SparseCtrlRGBPreprocessor", image=["22", 0], vae=["1", 2], latent_size=["3", 0]),
        "13": node("ACN_SparseCtrlIndexMethodNode", indexes="0, -1"),
        "4": node("KSampler", model=["2", 0], positive=["11", 0], negative=["11", 1], latent_image=["3", 0]),
        "20": node("A"), "21": node("B"), "22": node("C"),
    })  # fmt: skip


@pytest.mark.parametrize("apply", ["ACN_AdvancedControlNetApply", "ControlNetApplyAdvanced"])
def test_sparsectrl_goes_from_the_conditions_to_the_model_that_is_sampled_with_them(apply):
    loader = {
        "sparse_method": ["13", 0],
        "motion_strength": 1.1,
        "sparse_hint_mult": 0.5,
        "sparse_nonhint_mult": 0.25,
    }
    converted = convert(sparse(apply, loader))
    made, sampler = only(converted, "Frameloom_ApplySparseControl"), only(converted, "KSampler")
    assert converted.graph[sampler["model"][0]]["class_type"] == "Frameloom_ApplySparseControl"
    assert converted.graph[made["model"][0]]["class_type"] == "Frameloom_ApplyMotionModule"
    assert (sampler["positive"], sampler["negative"]) == (["20", 0], ["21", 0])
    assert (made["latent"], made["images"], made["vae"]) == (["3", 0], ["22", 0], ["1", 2])
    assert (made["frames"], made["end_percent"]) == ("0, -1", 0.4)
    assert (made["strength"], made["other_frames"], made["mask_value"]) == (0.4, 0.5, 1.0)
    assert only(converted, "Frameloom_SparseControlLoader") == {"file": "rgb.ckpt"}
    assert not {"10", "11", "12", "13"} & converted.graph.keys()
    assert converted.report.verdict == "near"
    assert "motion_strength 1.1 is left out" in str(converted.report)


def test_sparsectrl_goes_on_every_model_behind_other_controlnets_and_guiders():
    graph = sparse() | {
        "4": node("KSampler", model=["2", 0], positive=["11", 0], negative=["11", 1], latent_image=["3", 0]),
        "9": node("SamplerCustomAdvanced", guider=["6", 0], latent_image=["4", 0]),
        "5": node("SamplerCustomAdvanced", guider=["6", 0], latent_image=["9", 0]),
        "6": node("CFGGuider", model=["2", 0], positive=["7", 0], negative=["7", 1], cfg=7.0),
        "7": node("ControlNetApplyAdvanced", positive=["11", 0], negative=["11", 1], control_net=["8", 0]),
        "8": node("ControlNetLoader", control_net_name="depth.pth"),
    }  # fmt: skip
    converted = convert(graph)
    found = {
        key: each["inputs"] for key, each in converted.graph.items() if "ApplySparse" in each["class_type"]
    }
    assert sorted(each["latent"] for each in found.values()) == [["3", 0], ["4", 0]]
    assert {each["frames"] for each in found.values()} == {"uniform"}
    assert {only(converted, kind)["model"][0] for kind in ("KSampler", "CFGGuider")} == set(found)
    assert only(converted, "ControlNetApplyAdvanced")["positive"] == ["20", 0]


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (sparse(loader={"use_motion": False}), "its own motion layers are off there"),
        (sparse(loader={"motion_scale": 1.5}), "another strength or scale"),
        (sparse(loader={"sparse_method": ["20", 0]}), "placed by A"),
        (sparse(timestep_kf=["20", 0]), "keyframes, weights or a mask"),
        (sparse() | {"5": node("ToBasicPipe", positive=["11", 0])}, "go to node 5 (ToBasicPipe)"),
        (with_inputs(sparse(), "4", negative=["21", 0]), "one of its conditions alone"),
        (with_inputs(sparse(), "4", positive=["11", 1], negative=["11", 0]), "one of its conditions alone"),
    ],
)  # fmt: skip
def test_sparsectrl_that_the_model_cannot_have_stays_and_says_why(graph, why):
    converted = convert(graph)
    assert converted.graph["11"] == graph["11"]
    assert converted.graph["10"] == graph["10"]
    line = said(converted, "(ACN_AdvancedControlNetApply)")
    assert line.startswith("not possible")
    assert why in line


# cfg


def with_cfg(custom, **more):
    graph = api(**({"7": node("ADE_AnimateDiffSamplingSettings", custom_cfg=["8", 0]), "8": custom} | more))
    return with_inputs(graph, "2", sample_settings=["7", 0])


def cfg_key(start, cfg, **inputs):
    return node("ADE_CustomCFGKeyframeSimple", start_percent=start, cfg=cfg, guarantee_steps=1, **inputs)


@pytest.mark.parametrize(
    ("custom", "more", "by_step", "cfgs"),
    [
        (cfg_key(0.5, 3.0, prev_custom_cfg=["9", 0]), {"9": cfg_key(0.2, 8.0)}, None, {0.1: 8, 0.49: 8, 0.5: 3, 1: 3}),
        (cfg_key(0.5, 3.0, prev_custom_cfg=["9", 0]), {"9": node("ADE_CustomCFGSimple", cfg=6.0)}, "0: 6, 0.5: 3", {}),
        (node("ADE_CustomCFGKeyframeInterpolation", start_percent=0.0, end_percent=0.5, cfg_start=8.0, cfg_end=4.0,
              interpolation="ease_in", intervals=3), {}, "0: 8, 0.25: 7, 0.5: 4", {}),
    ],
)  # fmt: skip
def test_a_cfg_by_step_becomes_a_schedule_of_a_cfg_of_1(custom, more, by_step, cfgs):
    converted = convert(with_cfg(custom, **more))
    made = only(converted, "Frameloom_CFGSchedule")
    read = read_factors(32, made["strength"], made["between"], made["by_step"])
    assert read.at_steps(list(cfgs)) == list(cfgs.values())
    assert by_step in (None, made["by_step"])
    assert only(converted, "KSampler")["cfg"] == 1.0
    assert converted.report.verdict == "exact"
    assert not [each for each in converted.graph.values() if each["class_type"].startswith("ADE")]


def test_a_cfg_by_frame_and_mask_becomes_a_schedule():
    multival = node("ADE_MultivalDynamicFloats", floats=["10", 1], mask_optional=["11", 0])
    values = node("ADE_ValueScheduling", values='"0": 8, "31": 2', max_length=32)
    converted = convert(
        with_cfg(
            node("ADE_CustomCFG", cfg_multival=["9", 0]), **{"9": multival, "10": values, "11": node("M")}
        )
    )
    made = only(converted, "Frameloom_CFGSchedule")
    assert (made["strength"], made["mask"], made["frames"]) == ("0: 8, 31: 2", ["11", 0], 32)
    assert converted.report.verdict == "near"


def test_a_cfg_that_cannot_be_read_leaves_the_samplers_own():
    unread = node("ADE_CustomCFG", cfg_multival=["9", 0])
    for custom in (
        unread,
        cfg_key(0.5, ["10", 0], prev_custom_cfg=["11", 0]),
        node("ADE_CustomCFGKeyframeFromList"),
    ):
        more = {"9": node("M"), "10": node("N"), "11": cfg_key(0.0, 8.0)}
        converted = convert(with_cfg(custom, **more))
        assert only(converted, "KSampler")["cfg"] == 7.0
        assert converted.report.verdict == "not possible"


def test_a_bypassed_sparsectrl_stays_as_it_is():
    graph = editor(
        drawn(1, "ACN_SparseCtrlLoaderAdvanced", outputs=[("CONTROL_NET", [1])], values=["a.ckpt", True, 1, 1], mode=4),
        drawn(2, "ACN_AdvancedControlNetApply", [("positive", "CONDITIONING", None), ("control_net", "CONTROL_NET", 1)],
              [("positive", None)], [1, 0, 1], mode=4),
        links=[[1, 1, 0, 2, 1, "CONTROL_NET"]],
    )  # fmt: skip
    converted = convert(graph)
    assert converted.graph["nodes"] == graph["nodes"]
    assert said(converted, "(ACN_AdvancedControlNetApply)").startswith("left")


# layers of noise


def layered(*layers, **settings):
    nodes = {str(20 + at): layer for at, layer in enumerate(layers)}
    for at in list(nodes)[:-1]:
        nodes[at]["inputs"]["prev_noise_layers"] = [str(int(at) + 1), 0]
    settings = node("ADE_AnimateDiffSamplingSettings", noise_layers=["20", 0], **settings)
    return with_inputs(api(**nodes, **{"7": settings}), "2", sample_settings=["7", 0])


def layer(kind, **inputs):
    return node(f"ADE_NoiseLayer{kind}", **{"seed_offset": 3, "noise_type": "default"} | inputs)


def test_layers_of_noise_are_blended_one_after_the_other_from_the_connected_one_on():
    converted = convert(layered(layer("NormalizedSum", noise_weight=0.25), layer("Replace", seed_override=9)))
    graph, sampler = converted.graph, only(converted, "SamplerCustomAdvanced")
    last = graph[sampler["noise"][0]]["inputs"]
    first = graph[last["noise"][0]]["inputs"]
    assert [(each["blend"], each["weight"]) for each in (first, last)] == [
        ("normalised", 0.25),
        ("replace", 0.5),
    ]
    seeds = [
        graph[link[0]]["inputs"]["noise_seed"] for link in (first["noise"], first["other"], last["other"])
    ]
    assert seeds == [5, 8, 12]
    assert converted.report.verdict == "exact"
    assert not [each for each in graph.values() if each["class_type"].startswith("ADE")]


def test_a_layer_has_the_frames_seeds_of_the_noise_that_it_is_blended_into():
    converted = convert(
        layered(layer("AddWeighted", balance_multiplier=0.0), seed_gen="auto1111", seed_offset=1)
    )
    modes = [
        each["inputs"] for each in converted.graph.values() if each["class_type"] == "Frameloom_VideoNoise"
    ]
    assert [(each["mode"], each["noise_seed"]) for each in modes] == [
        ("seed + frame", 6),
        ("seed + frame", 9),
    ]
    assert only(converted, "Frameloom_BlendNoise")["blend"] == "add"


def test_a_layer_by_mask_says_what_is_near():
    converted = convert(layered(layer("NormalizedSum", mask_optional=["9", 0])) | {"9": node("M")})
    assert only(converted, "Frameloom_BlendNoise")["mask"] == ["9", 0]
    assert "the weight changes, and not the share of the blend" in said(converted, "NormalizedSum")


@pytest.mark.parametrize(
    "inputs",
    [{"noise_type": "FreeNoise"}, {"noise_weight": 1.5}, {"balance_multiplier": 0.5}, {"batch_offset": 2}],
)
def test_a_layer_that_is_not_here_leaves_the_sampler_its_noise(inputs):
    converted = convert(layered(layer("AddWeighted", **inputs)))
    assert only(converted, "KSampler")["seed"] == 5
    assert converted.report.verdict == "not possible"


# cameras


def filmed(poses, frames=16, multival=None):
    return api(**{
        "2": node("ADE_UseEvolvedSampling", model=["1", 0], m_models=["10", 0], beta_schedule="autoselect"),
        "3": node("EmptyLatentImage", width=512, height=512, batch_size=frames),
        "10": node("ADE_ApplyAnimateDiffModelWithCameraCtrl", motion_model=["11", 0], cameractrl_poses=["20", 0],
                   cameractrl_multival=multival, start_percent=0.1, end_percent=0.9),
        "11": node("ADE_LoadAnimateDiffModelWithCameraCtrl", model_name="v3_sd15_mm.ckpt", camera_ctrl="camera.ckpt"),
    } | poses)  # fmt: skip


def move(name, speed, frames, **inputs):
    return node("ADE_CameraPoseBasic", motion_type=name, speed=speed, frame_length=frames, **inputs)


MANY = {f"motion_type{number}": "Static" for number in range(1, 7)}


@pytest.mark.parametrize(
    ("poses", "frames", "moves"),
    [
        ({"20": move("Pan Left", 0.5, 16)}, 16, "0: pan left 0.5"),
        ({"20": move("Pan Left", 0.5, 16)}, 20, "0: pan left 0.5\n15: static"),
        ({"20": move("Zoom In", 1, 8, prev_poses=["21", 0]), "21": move("Static", 1, 1)}, 9, "0: static\n1: zoom in 1"),
        ({"20": node("ADE_CameraManualPoseAppend", poses_first=["21", 0], poses_last=["22", 0]),
          "21": move("Tilt Up", -1, 4), "22": move("Roll Clockwise", 2, 4)}, 8,
         "0: tilt up -1\n3: static\n4: roll clockwise 2"),
        ({"20": node("ADE_CameraPoseAdvanced", speed=2.0, frame_length=8,
                     **MANY | {"motion_type1": "Pan Up", "strength1": 0.25, "motion_type4": "Zoom Out"})}, 8,
         "0: pan up 0.5, zoom out 2"),
    ],
)  # fmt: skip
def test_a_camera_makes_the_same_moves_one_after_another(poses, frames, moves):
    converted = convert(filmed(poses, frames))
    made, applied = only(converted, "Frameloom_CameraPresets"), only(converted, "Frameloom_ApplyCameraCtrl")
    assert (made["frames"], made["moves"]) == (frames, moves)
    assert len(move_camera(made["frames"], parse_moves(made["moves"]))) == frames
    assert (applied["file"], applied["start_percent"], applied["end_percent"]) == ("camera.ckpt", 0.1, 0.9)
    assert converted.graph[applied["model"][0]]["class_type"] == "Frameloom_ApplyMotionModule"
    assert only(converted, "KSampler")["model"][0] not in (applied["model"][0], "2")
    assert converted.report.verdict == "near"
    assert not [each for each in converted.graph.values() if each["class_type"].startswith("ADE")]


def test_a_camera_that_cannot_be_read_leaves_the_module_without_it():
    slow = node("ADE_MultivalDynamic", float_val=0.5, mask_optional=["22", 0])
    for poses, multival in (
        ({"20": node("ADE_LoadCameraPoses", pose_filename="a.txt")}, None),
        ({"20": move("Pan Left", 101, 16)}, None),
        ({"20": move("Pan Left", 1, 16), "21": slow, "22": node("M")}, ["21", 0]),
    ):
        converted = convert(filmed(poses, multival=multival))
        assert converted.report.verdict == "not possible"
        assert only(converted, "Frameloom_ApplyMotionModule")["start_percent"] == 0.1


# pictures


def pictured(apply, more, loader="ADE_LoadAnimateDiffModel", file="pia.ckpt"):
    return api(**{
        "2": node("ADE_UseEvolvedSampling", model=["1", 0], m_models=["10", 0], beta_schedule="autoselect"),
        "10": {**apply, "inputs": {"motion_model": ["11", 0], "vae": ["1", 2], **apply["inputs"]}},
        "11": node(loader, model_name=file),
        "12": node("LoadImage", image="a.png"),
    } | more)  # fmt: skip


PIA = node("ADE_ApplyAnimateDiffModelWithPIA", image=["12", 0], pia_input=["13", 0], start_percent=0.1)
I2V = node("ADE_ApplyAnimateLCMI2VModel", ref_latent=["13", 0], ref_drift=0.5)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (None, ("0", "as written", "1")),
        (node("ADE_InputPIA_PaperPresets", preset="Animation (Medium Motion)", batch_index=0),
         ("0", "medium motion", "1, 0.9, 0.8")),
        (node("ADE_InputPIA_PaperPresets", preset="Style Transfer (Large Motion)", batch_index=-40),
         ("-32", "large motion, style transfer", "1, 0.9, 0.8")),
        (node("ADE_InputPIA_PaperPresets", preset="Loop (Small Motion)", batch_index=0),
         ("0", "small motion, loop", "1, 0.9, 0.8")),
        (node("ADE_InputPIA_Multival", multival=["14", 0]), ("0", "as written", "0.7")),
        (node("ADE_InputPIA_Multival", multival=["15", 0]), ("0", "as written", "0: 1, 31: 0.5")),
    ],
)  # fmt: skip
def test_pia_becomes_a_picture_before_the_module_is_applied(given, made):
    more = {"13": given} if given else {}
    more |= {"14": node("ADE_MultivalDynamic", float_val=0.7),
             "15": node("ADE_MultivalDynamicFloats", floats=["16", 1]),
             "16": node("ADE_ValueScheduling", values='"0": 1, "31": 0.5', max_length=32)}  # fmt: skip
    apply = PIA if given else {**PIA, "inputs": {"image": ["12", 0]}}
    converted = convert(pictured(apply, more))
    picture, apply = only(converted, "Frameloom_PIAPicture"), only(converted, "Frameloom_ApplyMotionModule")
    assert (picture["frames"], picture["affinity"], picture["affinities"]) == made
    assert (picture["latent"], picture["images"], picture["vae"]) == (["3", 0], ["12", 0], ["1", 2])
    assert converted.graph[apply["motion"][0]]["class_type"] == "Frameloom_PIAPicture"
    assert converted.report.verdict == "near"
    read_affinity(picture["affinity"], picture["affinities"], 32)


def test_a_picture_for_animatelcm_comes_from_what_was_encoded():
    encoder = node("ADE_UpscaleAndVAEEncode", image=["12", 0], vae=["1", 2], latent_size=["3", 0])
    graph = pictured(I2V, {"13": encoder}, "ADE_LoadAnimateLCMI2VModel", "AnimateLCM_sd15_i2v.ckpt")
    converted = convert(graph)
    assert only(converted, "Frameloom_AnimateLCMPicture") == {
        "motion": only(converted, "Frameloom_AnimateLCMPicture")["motion"], "vae": ["1", 2], "latent": ["3", 0],
        "images": ["12", 0], "drift": 0.5,
    }  # fmt: skip
    assert only(converted, "ModelSamplingDiscrete")["sampling"] == "lcm"
    assert not [each for each in converted.graph.values() if each["class_type"].startswith("ADE")]
    assert converted.report.verdict == "near"


def test_a_picture_that_cannot_be_found_leaves_all_as_it_is():
    presets, loader = node("ADE_InputPIA_PaperPresets"), "ADE_LoadAnimateLCMI2VModel"
    encoder_only = {**I2V, "inputs": I2V["inputs"] | {"motion_model": ["11", 1]}}
    for graph in (
        pictured(I2V, {"13": node("LatentUpscale", samples=["3", 0])}, loader),
        pictured(encoder_only, {"13": node("VAEEncode")}, loader),
        pictured(PIA, {"13": presets, "4": node("Other", model=["2", 0])}),
        pictured(PIA, {"13": presets, "5": node("KSampler", model=["2", 0], latent_image=["4", 0])}),
    ):
        converted = convert(graph)
        assert converted.report.verdict == "not possible"
        assert converted.graph == graph


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
    graph = api(**{"8": node("ADE_BlockIndiv"), "9": node("ADE_PerBlockHighLevel", block=["8", 0])})
    converted = convert(graph)
    assert converted.report.verdict == "exact"
    assert converted.graph["8"] == graph["8"]
    assert convert(graph | {"10": node("Other", settings=["9", 0])}).report.verdict == "not possible"
