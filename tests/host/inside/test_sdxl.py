"""Motion modules on SDXL: AnimateDiff-SDXL's and HotshotXL's are what diffusers' UNet makes of them."""

from __future__ import annotations

import os

import comfy.utils
import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import CheckpointError
from frameloom.models.layout.attention import BoxBias
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.video.schedules import ANIMATEDIFF_SDXL
from frameloom.models.zero_shot.cross_frame import CrossFrameEdit
from frameloom.tests.host.inside.tiny_models import XL, build, build_of
from frameloom.tests.support.motion import as_hotshot
from safetensors.torch import load_file, save_file

FRAMES, SIDE = 5, 64
KINDS = ["animatediff_sdxl", "hotshotxl"]


@pytest.fixture(scope="module")
def reference():
    known = load_file(os.environ["FRAMELOOM_REFERENCE"])
    return {key.removeprefix("xl."): value for key, value in known.items() if key.startswith("xl.")}


@pytest.fixture(scope="module")
def nodes(port):
    from frameloom.nodes import node_classes

    return {node.__name__: node for node in node_classes()}


@pytest.fixture(scope="module")
@torch.no_grad()
def model(reference):
    """ComfyUI's SDXL, of the reference's weights."""
    made = build("SDXL")
    names = comfy.utils.unet_to_diffusers(XL)
    state = {names[key]: reference[f"unet.{key}"] for key in names if f"unet.{key}" in reference}
    made.model.diffusion_model.load_state_dict(state)
    return made


@pytest.fixture
def module(port, reference, tmp_path):
    """A function that reads a module of a kind from a file."""

    def read(kind):
        state = {key[7:]: value.clone() for key, value in reference.items() if key.startswith("motion.")}
        save_file(as_hotshot(state) if kind == "hotshotxl" else state, tmp_path / f"{kind}.safetensors")
        return port.load_motion(read_motion_weights(tmp_path / f"{kind}.safetensors"))

    return read


@pytest.fixture
def moving(nodes, model, module):
    """A function that applies a module of a kind by its node."""

    def apply(kind, **options):
        return nodes["ApplyMotionModule"].execute(
            model=model, motion=module(kind), strength=1.0, start_percent=0.0, end_percent=1.0,
            beta_schedule="auto", **options,
        )[0]  # fmt: skip

    return apply


def prompts(port, model, reference):
    return [[reference["tokens"][:1], {"pooled_output": reference["pooled"], "width": SIDE, "height": SIDE}]]


def sample(port, model, reference, **options):
    """Two steps of the reference's frames."""
    text = prompts(port, model, reference)
    return port.sample(
        model, text, text, {"samples": torch.zeros(FRAMES, 4, SIDE // 8, SIDE // 8)}, noise=reference["noisy"],
        sigmas=port.sigmas(model, 2, "simple"), sampler="euler", cfg=1.0, **options,
    )["samples"]  # fmt: skip


def answer(port, model, reference):
    """One call of the UNet at timestep 500, inside a run of the model."""
    found = {}

    def hijack(executor, x, timesteps, context, y, control, options, **kwargs):
        alone = {**options, "cond_or_uncond": [0], "uuids": [None]}
        time, noisy = torch.full((FRAMES,), 500.0), reference["noisy"]
        found["out"] = executor(noisy, time, reference["tokens"], y[:1].expand(FRAMES, -1), None, alone)
        return executor(x, timesteps, context, y, control, options, **kwargs)

    outer = model.clone()
    wrappers = outer.wrappers.setdefault("diffusion_model", {})
    outer.wrappers["diffusion_model"] = {"hijack": [hijack], **wrappers}
    sample(port, outer, reference)
    return found["out"]


def relative(value, expected):
    return ((value - expected).abs().max() / expected.abs().max()).item()


def test_the_plain_unet_and_its_micro_conditions_equal_diffusers(port, model, reference):
    assert relative(answer(port, model, reference), reference["still"]) <= 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_a_modules_unet_equals_diffusers(port, moving, reference, kind):
    out = answer(port, moving(kind), reference)
    assert relative(out, reference["still"]) > 1e-2, "the module did nothing"
    assert relative(out, reference[kind]) <= 1e-4
    (other,) = set(KINDS) - {kind}
    assert relative(out, reference[other]) > 1e-3, "norms of both kinds are alike"


def test_each_kind_takes_the_noise_schedule_that_it_was_trained_with(model, moving):
    highest = {kind: float(moving(kind).get_model_object("model_sampling").sigma_max) for kind in KINDS}
    kept = ANIMATEDIFF_SDXL.alphas_cumprod()[-1]
    assert highest["animatediff_sdxl"] == pytest.approx(float(((1 - kept) / kept).sqrt()), rel=1e-4)
    assert highest["hotshotxl"] == float(model.get_model_object("model_sampling").sigma_max)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_in_chunks_give_the_same_clip(port, moving, reference, kind):
    whole = sample(port, moving(kind), reference)
    parts = sample(port, moving(kind, frames_at_once=2), reference)
    assert relative(parts, whole) <= 1e-5


def test_the_plain_model_is_the_same_after_a_run_with_a_module(port, model, moving, reference):
    before = sample(port, model, reference)
    sample(port, moving("hotshotxl"), reference)
    assert torch.equal(sample(port, model, reference), before)


def test_a_window_as_long_as_the_clip_is_the_clip_and_shorter_ones_are_not(port, nodes, moving, reference):
    def windowed(length):
        given = {"overlap": 1, "schedule": "uniform", "stride": 1, "weights": "pyramid", "frames": FRAMES}
        return nodes["ContextWindows"].execute(model=moving("hotshotxl"), length=length, **given)[0]

    whole = sample(port, moving("hotshotxl"), reference)
    assert relative(sample(port, windowed(FRAMES), reference), whole) <= 1e-5
    assert relative(sample(port, windowed(3), reference), whole) > 1e-3


def test_free_noise_with_one_window_is_the_clip(port, nodes, moving, reference):
    """Its noise, too: the first window's is drawn, and nothing else is there."""
    model = moving("animatediff_sdxl")
    given = {"window_length": FRAMES, "stride": FRAMES, "seed": 0, "reshuffle": True, "fuse": True}
    free = nodes["FreeNoise"].execute(model=model, **given)[0]
    whole = sample(port, model, reference)
    assert relative(sample(port, free, reference), whole) <= 1e-5


def test_a_module_for_sd15_is_refused_on_sdxl_and_the_other_way_round(
    port, nodes, demo, model, motion, module
):
    given = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "beta_schedule": "auto"}
    with pytest.raises(CheckpointError, match=r"wide, the model has .*of one family"):
        nodes["ApplyMotionModule"].execute(model=model, motion=motion, **given)
    with pytest.raises(CheckpointError, match=r"wide, the model has .*of one family"):
        nodes["ApplyMotionModule"].execute(model=demo[0], motion=module("animatediff_sdxl"), **given)


# The blocks of models that were made smaller than SDXL, and of its refiner, as core has them.
OTHERS = {
    "SDXL with other blocks": ("SDXL", {"transformer_depth": [0, 0, 2, 2, 1, 2]}),
    "SSD-1B": (
        "SSD1B",
        {
            "transformer_depth": [0, 0, 2, 2, 4, 4],
            "transformer_depth_output": [0, 0, 0, 1, 1, 2, 10, 4, 4],
            "transformer_depth_middle": -1,
        },
    ),
    "Segmind-Vega": (
        "Segmind_Vega",
        {
            "transformer_depth": [0, 0, 1, 1, 2, 2],
            "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2],
            "transformer_depth_middle": -1,
        },
    ),
    "KOALA 700M": (
        "KOALA_700M",
        {
            "num_res_blocks": [1] * 3,
            "transformer_depth": [0, 2, 5],
            "transformer_depth_output": [0, 0, 2, 2, 5, 5],
            "transformer_depth_middle": -2,
        },
    ),
    "KOALA 1B": (
        "KOALA_1B",
        {
            "num_res_blocks": [1] * 3,
            "transformer_depth": [0, 2, 6],
            "transformer_depth_output": [0, 0, 2, 2, 6, 6],
            "transformer_depth_middle": 6,
        },
    ),
    "SDXL's refiner": (
        "SDXLRefiner",
        {
            "channel_mult": [1, 2, 4, 4],
            "num_res_blocks": [2] * 4,
            "transformer_depth": [0, 0, 4, 4, 4, 4, 0, 0],
            "transformer_depth_output": [0, 0, 0, 4, 4, 4, 4, 4, 4, 0, 0, 0],
            "transformer_depth_middle": 4,
            "adm_in_channels": 2560,
        },
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_sdxl_model_of_other_blocks_is_refused_by_name(port, nodes, module, name):
    kind, sizes = OTHERS[name]
    other = build_of(kind, XL | sizes)
    wanted = "expected Stable Diffusion 1.x or SDXL"
    for edit in (Edit("test", self_attention=CrossFrameEdit()), Edit("test", cross_attention=BoxBias())):
        with pytest.raises(ValueError, match=rf"model: got {name}, which makes pictures; {wanted}"):
            port.install(other, edit)
    with pytest.raises(ValueError, match=rf"model: got {name}, which makes pictures; {wanted}"):
        nodes["ApplyMotionModule"].execute(
            model=other, motion=module("hotshotxl"), strength=1.0, start_percent=0.0, end_percent=1.0,
            beta_schedule="auto",
        )  # fmt: skip


def test_cross_frame_attention_is_diffusers(port, nodes, model, reference):
    given = {"anchor": "first", "frame": 0, "strength": 1.0, "start_percent": 0.0, "end_percent": 1.0}
    crossed = nodes["CrossFrameAttnPatch"].execute(model=model, levels="0, 1, 2, 3", **given)[0]
    out = answer(port, crossed, reference)
    assert relative(out, reference["crossed"]) <= 1e-4
    assert relative(out, reference["still"]) > 1e-2, "it did nothing"
