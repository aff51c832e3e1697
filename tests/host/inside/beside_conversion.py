"""What ``frameloom convert`` makes of a graph draws what AnimateDiff-Evolved draws of that graph, on the same model.

``test_inside.py`` runs this file by itself, where that pack is found.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import folder_paths
import pytest
import torch
from comfy_extras import nodes_custom_sampler, nodes_model_advanced
from frameloom.models.convert.convert import convert
from frameloom.nodes import node_classes
from frameloom.tests.host.inside.beside_animatediff_evolved import PEER, peer

import nodes

__all__ = ["peer"]
ASSETS = Path(__file__).parents[3] / "assets" / "demo"
MODULE, LORA = "demo.safetensors", "pan_left.safetensors"
CUSTOM = (
    "SamplerCustomAdvanced",
    "CFGGuider",
    "KSamplerSelect",
    "BasicScheduler",
    "DisableNoise",
    "RandomNoise",
)
NEAR = 1e-3  # of the whole clip's size
FRAMES = 8
BETA = (
    "sqrt_linear (AnimateDiff)"  # autoselect's of SD1.5; ours takes what the demo's module was trained with
)


@pytest.fixture(scope="module")
def known(peer, demo, scene):
    """Node classes by name: that pack's, core's and ours; and what three nodes give that tests share."""
    files = {"animatediff_models": ("motion.safetensors", MODULE), "animatediff_motion_lora": (LORA, LORA)}
    for kind, (file, name) in files.items():
        paths = map(Path, folder_paths.get_folder_paths(kind))
        shutil.copy(ASSETS / file, next(path for path in paths if PEER.name in path.parts) / name)
    ours = {each.define_schema().node_id: each for each in node_classes()}
    core = {name: getattr(nodes_custom_sampler, name) for name in CUSTOM}
    core["ModelSamplingDiscrete"] = nodes_model_advanced.ModelSamplingDiscrete
    given = {"Model": demo[0], "Positive": scene.positive, "Negative": scene.negative}
    return dict(nodes.NODE_CLASS_MAPPINGS) | core | ours, given


def draw(prompt, known):
    """Run a graph in API form; returns the latents of its sampler."""
    classes, given = known
    made = {}

    def result(node_id):
        node = prompt[node_id]
        if node_id not in made:
            inputs = {
                name: result(value[0])[value[1]] if isinstance(value, list) else value
                for name, value in node["inputs"].items()
            }
            kind = node["class_type"]
            if kind in given:
                made[node_id] = (given[kind],)
            elif hasattr(classes[kind], "execute"):
                made[node_id] = classes[kind].execute(**inputs).args
            else:
                made[node_id] = getattr(classes[kind](), classes[kind].FUNCTION)(**inputs)
        return made[node_id]

    (sampler,) = [
        each for each, node in prompt.items() if node["class_type"] in ("KSampler", "SamplerCustomAdvanced")
    ]
    return result(sampler)[0]["samples"]


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def graph(sampler="euler", frames=FRAMES, **parts):
    """A graph whose model comes from the node ``root``."""
    return {
        "1": node("Model"),
        "2": node("Positive"),
        "3": node("Negative"),
        "4": node("EmptyLatentImage", width=64, height=64, batch_size=frames),
        "5": node("KSampler", model=["root", 0], positive=["2", 0], negative=["3", 0], latent_image=["4", 0],
                  seed=11, steps=4, cfg=3.0, sampler_name=sampler, scheduler="normal", denoise=1.0),
    } | parts  # fmt: skip


gen1 = partial(
    node, "ADE_AnimateDiffLoaderGen1", model=["1", 0], model_name="demo.safetensors", beta_schedule=BETA
)
load = node("ADE_LoadAnimateDiffModel", model_name="demo.safetensors")
evolve = partial(node, "ADE_UseEvolvedSampling", model=["1", 0], beta_schedule=BETA, m_models=["apply", 0])
apply = partial(
    node, "ADE_ApplyAnimateDiffModel", motion_model=["load", 0], start_percent=0.0, end_percent=1.0
)
lora = node("ADE_AnimateDiffLoRALoader", name=LORA, strength=0.7)
static = partial(node, "ADE_StandardStaticContextOptions", context_length=4, context_overlap=2)
settings = partial(
    node,
    "ADE_AnimateDiffSamplingSettings",
    batch_offset=0,
    noise_type="default",
    seed_gen="comfy",
    seed_offset=0,
)


def layer(kind, **inputs):
    given = {"batch_offset": 0, "noise_type": "default", "seed_gen_override": "use existing"}
    return node(f"ADE_NoiseLayer{kind}", **(given | inputs))


EXACT = {
    "Gen1": graph(root=gen1()),
    "Gen1, linear": graph(root=gen1(beta_schedule="linear (HotshotXL/default)")),
    "Gen1, a mean of schedules": graph(root=gen1(beta_schedule="avg(sqrt_linear,linear)")),
    "Gen1, cosine": graph(root=gen1(beta_schedule="cosine")),
    "Gen1, lcm": graph("lcm", root=gen1(beta_schedule="lcm")),
    "Gen2, in a part of sampling, with a LoRA": graph(
        root=evolve(), load=load, lora=lora, apply=apply(start_percent=0.2, end_percent=0.8, motion_lora=["lora", 0])
    ),
    "legacy, a scale, static windows": graph(
        root=node("ADE_AnimateDiffLoaderWithContext", model=["1", 0], model_name="demo.safetensors",
                  beta_schedule="sqrt_linear (AnimateDiff)", motion_scale=1.4, apply_v2_models_properly=True,
                  context_options=["context", 0]),
        context=static(fuse_method="pyramid"),
    ),
    "static windows that leave a rest, flat": graph(
        frames=7, root=gen1(context_options=["context", 0]), context=static(fuse_method="flat", context_overlap=1)
    ),
    "closed loop": graph(
        root=gen1(context_options=["context", 0]),
        context=node("ADE_LoopedUniformContextOptions", context_length=4, context_stride=1, context_overlap=2,
                     closed_loop=True, fuse_method="pyramid"),
    ),
    "open loop whose windows are those of a closed one": graph(
        frames=9, root=gen1(context_options=["context", 0]),
        context=node("ADE_AnimateDiffUniformContextOptions", context_length=4, context_stride=1, context_overlap=1,
                     context_schedule="uniform", closed_loop=False),
    ),
    "batched windows": graph(
        frames=7, root=gen1(context_options=["context", 0]), context=node("ADE_BatchedContextOptions", context_length=4)
    ),
    "effect and scale": graph(
        root=gen1(effect_multival=["effect", 0], scale_multival=["scale", 0]),
        effect=node("ADE_MultivalDynamic", float_val=0.6), scale=node("ADE_MultivalDynamic", float_val=1.3),
    ),
    "effect by frame": graph(
        root=evolve(), load=load, apply=apply(effect_multival=["effect", 0]),
        effect=node("ADE_MultivalDynamicFloats", floats=["floats", 1]),
        floats=node("ADE_ValueScheduling", values='"0": 0.2, "7": 1.0', max_length=8),
    ),
    "keyframes": graph(
        root=gen1(ad_keyframes=["late", 0], effect_multival=["effect", 0]),
        effect=node("ADE_MultivalDynamic", float_val=0.8),
        early=node("ADE_AnimateDiffKeyframe", start_percent=0.0, effect_multival=["half", 0]),
        half=node("ADE_MultivalDynamic", float_val=0.5),
        late=node("ADE_AnimateDiffKeyframe", start_percent=0.5, prev_ad_keyframes=["early", 0],
                  effect_multival=["whole", 0]),
        whole=node("ADE_MultivalDynamic", float_val=1.2),
    ),
    "auto1111's noise": graph(
        "euler_ancestral", root=gen1(sample_settings=["settings", 0]),
        settings=settings(seed_gen="auto1111", batch_offset=3),
    ),
    "auto1111's noise of another seed": graph(
        root=gen1(sample_settings=["settings", 0]), settings=settings(seed_gen="auto1111", seed_offset=2)
    ),
    "another seed": graph(root=gen1(sample_settings=["settings", 0]), settings=settings(seed_offset=5)),
    "noise that recurs": graph(
        root=gen1(sample_settings=["settings", 0], context_options=["context", 0]), context=static(),
        settings=settings(noise_type="repeated_context"),
    ),
    "FreeNoise": graph(
        frames=10, root=gen1(sample_settings=["settings", 0], context_options=["context", 0]), context=static(),
        settings=settings(noise_type="FreeNoise"),
    ),
    "a cfg of its own": graph(
        root=gen1(sample_settings=["settings", 0]), settings=settings(custom_cfg=["cfg", 0]),
        cfg=node("ADE_CustomCFGSimple", cfg=5.0),
    ),
    "layers of noise": graph(
        root=gen1(sample_settings=["settings", 0]),
        settings=settings(noise_layers=["sum", 0], seed_offset=1),
        sum=layer("NormalizedSum", seed_offset=2, noise_weight=0.3, prev_noise_layers=["weighted", 0]),
        weighted=layer("AddWeighted", seed_offset=7, noise_weight=0.2, balance_multiplier=1.0,
                       seed_gen_override="auto1111", prev_noise_layers=["add", 0]),
        add=layer("Add", seed_offset=9, noise_weight=0.1),
    ),
    "a layer in place of the noise": graph(
        "euler_ancestral", root=gen1(sample_settings=["settings", 0]),
        settings=settings(noise_layers=["other", 0], seed_gen="auto1111"), other=layer("Replace", seed_offset=2),
    ),
    "a cfg by step": graph(
        root=gen1(sample_settings=["settings", 0]), settings=settings(custom_cfg=["late", 0]),
        late=node("ADE_CustomCFGKeyframeSimple", cfg=6.0, start_percent=0.5, guarantee_steps=1,
                  prev_custom_cfg=["early", 0]),
        early=node("ADE_CustomCFGSimple", cfg=2.0),
    ),
    "a cfg by a curve": graph(
        root=gen1(sample_settings=["settings", 0]), settings=settings(custom_cfg=["curve", 0]),
        curve=node("ADE_CustomCFGKeyframeInterpolation", start_percent=0.0, end_percent=0.9, cfg_start=6.0, cfg_end=1.0,
                   interpolation="ease_out", intervals=20, print_keyframes=False),
    ),
    "a cfg by frame": graph(
        root=gen1(sample_settings=["settings", 0]), settings=settings(custom_cfg=["cfg", 0]),
        cfg=node("ADE_CustomCFG", cfg_multival=["by_frame", 0]),
        by_frame=node("ADE_MultivalDynamicFloats", floats=["floats", 1]),
        floats=node("ADE_ValueScheduling", values='"0": 1.0, "7": 6.0', max_length=8),
    ),
    "positions that are stretched": graph(
        root=gen1(ad_settings=["adjust", 0]), adjust=node("ADE_AnimateDiffSettings", pe_adjust=["last", 0]),
        last=node("ADE_AdjustPESweetspotStretch", sweetspot=7, new_sweetspot=11, print_adjustment=False,
                  prev_pe_adjust=["first", 0]),
        first=node("ADE_AdjustPEManual", cap_initial_pe_length=5, interpolate_pe_to_length=9, initial_pe_idx_offset=0,
                   final_pe_idx_offset=0, print_adjustment=False),
    ),
    "weights that are adjusted, with a LoRA": graph(
        root=gen1(ad_settings=["settings", 0], motion_lora=["lora", 0]), lora=lora,
        settings=node("ADE_AnimateDiffSettings", weight_adjust=["attention", 0], pe_adjust=["positions", 0]),
        positions=node("ADE_AdjustPESweetspotStretch", sweetspot=7, new_sweetspot=11, print_adjustment=False),
        attention=node("ADE_AdjustWeightIndivAttnMult", pe_MULT=0.8, attn_MULT=1.1, attn_q_MULT=1.2, attn_k_MULT=0.9,
                       attn_v_MULT=1.05, attn_out_weight_MULT=0.95, attn_out_bias_MULT=1.3, other_MULT=1.02,
                       print_adjustment=False, prev_weight_adjust=["plus", 0]),
        plus=node("ADE_AdjustWeightIndivAdd", pe_ADD=0.1, attn_ADD=0.002, other_ADD=-0.001, print_adjustment=False,
                  prev_weight_adjust=["all", 0]),
        all=node("ADE_AdjustWeightAllMult", all_MULT=1.01, print_adjustment=False),
    ),
    "a scale by frame, in windows": graph(
        root=gen1(scale_multival=["scale", 0], context_options=["context", 0]), context=static(),
        scale=node("ADE_MultivalDynamicFloats", floats=["floats", 1]),
        floats=node("ADE_ValueScheduling", values='"0": 0.2, "7": 3.0', max_length=8),
    ),
    "two modules, one after the other": graph(
        root=evolve(), load=load, apply=apply(end_percent=0.6, prev_m_models=["before", 0]),
        before=apply(motion_lora=["lora", 0], effect_multival=["effect", 0]), lora=lora,
        effect=node("ADE_MultivalDynamic", float_val=0.5),
    ),
}  # fmt: skip


def away(made, wanted):
    return float((made - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("case", EXACT)
def test_what_is_called_exact_draws_the_same(known, case):
    prompt = EXACT[case]
    converted = convert(prompt)
    assert [str(line) for line in converted.report.lines if line.verdict not in ("exact", "left")] == []
    assert not [each for each in converted.graph.values() if each["class_type"].startswith("ADE")]
    with torch.inference_mode():
        apart = away(draw(converted.graph, known), draw(prompt, known))
    assert apart < NEAR


def test_a_converted_camera_has_the_same_poses(known):
    ways = {
        "20": node("ADE_CameraPoseBasic", motion_type="Tilt Up", speed=1.5, frame_length=5, prev_poses=["21", 0]),
        "21": node("ADE_CameraPoseCombo", speed=0.7, frame_length=4, prev_poses=["22", 0], **{
            f"motion_type{at + 1}": name
            for at, name in enumerate(("Pan Left", "Roll Clockwise", "Tilt Right", "Static", "Zoom In", "Pan Up"))
        }),
        "22": node("ADE_CameraPoseBasic", motion_type="Roll Anticlockwise", speed=2.0, frame_length=1),
    }  # fmt: skip
    prompt = graph(
        frames=12, root=evolve(), apply=node("ADE_ApplyAnimateDiffModelWithCameraCtrl", motion_model=["load", 0],
                                             cameractrl_poses=["20", 0], start_percent=0.0, end_percent=1.0),
        load=node("ADE_LoadAnimateDiffModelWithCameraCtrl", model_name="demo.safetensors", camera_ctrl="c.ckpt")
    ) | ways  # fmt: skip
    classes, _ = known
    wanted = None
    for at in ("22", "21", "20"):
        inputs = {name: value for name, value in ways[at]["inputs"].items() if name != "prev_poses"}
        made = classes[ways[at]["class_type"]]()
        (wanted,) = getattr(made, made.FUNCTION)(**inputs, prev_poses=wanted)
    (presets,) = [
        each for each in convert(prompt).graph.values() if each["class_type"] == "Frameloom_CameraPresets"
    ]
    poses, _ = classes["Frameloom_CameraPresets"].execute(**presets["inputs"]).args
    rows = torch.tensor([pose[7:] for pose in wanted + wanted[-1:] * 2], dtype=torch.float64)
    torch.testing.assert_close(poses.view.flatten(1), rows)
    torch.testing.assert_close(
        poses.lens, torch.tensor([pose[1:5] for pose in wanted], dtype=torch.float64)[:1].expand(12, 4)
    )


def test_the_test_tells_a_clip_without_its_module(known):
    plain = graph(root=gen1())
    plain["5"]["inputs"]["model"] = ["1", 0]
    with torch.inference_mode():
        assert away(draw(plain, known), draw(EXACT["Gen1"], known)) > 100 * NEAR
