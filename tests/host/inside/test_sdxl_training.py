"""ComfyUI trains a motion module, and LoRAs on it, in an SDXL of its own: what it computes is diffusers'."""

from __future__ import annotations

import json
import os

import comfy.utils
import pytest
import torch
from frameloom.models.errors import CheckpointError, HostError
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.lora import read_motion_lora
from frameloom.models.training import hash_weights
from frameloom.models.video.schedules import ANIMATEDIFF_SDXL
from frameloom.tests.host.inside.test_sdxl import OTHERS
from frameloom.tests.host.inside.tiny_models import TOKENS, XL, build, build_of
from frameloom.tests.support.input_table import widget_values
from frameloom.tests.support.motion import as_hotshot
from frameloom.training.motion import run as motion_run
from frameloom.training.motion.dataset import drawn_dataset
from frameloom.training.motion.lessons import learn_module
from safetensors.torch import load_file, save_file

FRAMES = 5
WIDGETS = {
    "steps": 2,
    "warmup": 0,
    "rank": 2,
    "checkpoint_every": 2,
    "beta_schedule": "linear (AnimateDiff-SDXL)",
}


@pytest.fixture(scope="module")
def reference():
    known = load_file(os.environ["FRAMELOOM_REFERENCE"])
    return {key.removeprefix("xl."): value for key, value in known.items() if key.startswith("xl.")}


@pytest.fixture(scope="module")
@torch.no_grad()
def model(reference):
    """ComfyUI's SDXL, of the reference's weights."""
    made, names = build("SDXL"), comfy.utils.unet_to_diffusers(XL)
    state = {names[key]: reference[f"unet.{key}"] for key in names if f"unet.{key}" in reference}
    made.model.diffusion_model.load_state_dict(state)
    return made


@pytest.fixture
def read(reference, tmp_path):
    """A function that reads the reference's module from a file of a kind."""

    def read(kind="animatediff_sdxl"):
        state = {key[7:]: value.clone() for key, value in reference.items() if key.startswith("motion.")}
        save_file(as_hotshot(state) if kind == "hotshotxl" else state, tmp_path / f"{kind}.safetensors")
        return read_motion_weights(tmp_path / f"{kind}.safetensors")

    return read


@pytest.fixture
def train(port, xl, demo, nodes, tmp_path, monkeypatch):
    """Run the node on drawn clips; the VAE is the demo's."""
    monkeypatch.setattr(type(port), "user_dir", lambda self: tmp_path)
    monkeypatch.setattr(motion_run, "SAMPLE_STEPS", 1)

    def go(model=xl[0], clip=xl[1], **changes):
        node = nodes["TrainMotionModule"]
        clips = drawn_dataset(2, "circle", 0, frames=3, width=64, height=64, caption_dropout=0.1)
        links = {"model": model, "clip": clip, "vae": demo[2], "dataset": clips}
        return node.execute(**widget_values(node) | WIDGETS | links | changes)[0]

    return go


@pytest.fixture(scope="module")
def nodes(port):
    from frameloom.nodes import node_classes

    return {node.__name__: node for node in node_classes()}


def question(reference):
    """What the reference was asked, as training asks: one clip, tokens of every frame, pooled text of the clip."""
    noisy, tokens, pooled = (reference[name].clone() for name in ("noisy", "tokens", "pooled"))
    return noisy, torch.full((FRAMES,), 500), tokens, None, pooled


@pytest.mark.parametrize("kind", ["animatediff_sdxl", "hotshotxl"])
def test_the_loss_of_a_module_in_training_is_diffusers(port, model, read, reference, kind):
    lesson = learn_module(read(kind), "learns", torch.device("cpu"))
    with torch.inference_mode(False):
        noise = torch.randn(reference["noisy"].shape, generator=torch.Generator().manual_seed(3))
        out = port.train_forward(model, FRAMES, lesson.learner)(*question(reference))
        loss = (out - noise).square().mean()
        loss.backward()
        wanted = (reference[kind] - noise).square().mean()
    assert float(loss.detach()) == pytest.approx(float(wanted), rel=1e-5)
    assert all(value.grad is not None for value in lesson.parameters.values())


def test_saving_memory_changes_no_bit_and_the_base_has_no_gradient(port, model, read, reference):
    before, gradients = hash_weights(model.model.diffusion_model), []
    for save_memory in (False, True):
        lesson = learn_module(read(), "learns", torch.device("cpu"))
        with torch.inference_mode(False):
            forward = port.train_forward(model, FRAMES, lesson.learner, save_memory=save_memory)
            forward(*question(reference)).square().mean().backward()
        gradients.append([value.grad for value in lesson.parameters.values()])
        assert [name for name, value in forward.unet.named_parameters() if value.grad is not None] == []
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    assert hash_weights(model.model.diffusion_model) == before


def test_the_node_trains_a_module_then_a_lora_and_few_steps_on_it(xl, train, nodes, tmp_path):
    before = [hash_weights(each) for each in (xl[0].model.diffusion_model, xl[1].cond_stage_model)]
    motion = train()
    learned = motion.weights
    assert (learned.family, learned.beta_schedule, learned.size.norm_scope) == (
        "frameloom",
        ANIMATEDIFF_SDXL,
        "clip",
    )
    assert len(learned.size.channels) == 15
    assert all(
        value.abs().max() > 0 for name, value in learned.state.items() if name.endswith("proj_out.weight")
    )
    [(lora, _)] = train(target="motion LoRA", motion=motion).loras
    student = train(motion=motion, few_steps=2, teacher_steps=4, teacher_cfg=3.0)
    assert student.weights.few_steps.steps == 2
    assert [hash_weights(each) for each in (xl[0].model.diffusion_model, xl[1].cond_stage_model)] == before
    folders = [each.parent for each in tmp_path.glob("training/*/motion.safetensors")]
    assert len(folders) == 3
    for folder in folders:
        assert (folder / "sample-000002.png").is_file()
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows] == [0, 1]
    save = {"filename_prefix": "new", "folder": "output", "dtype": "fp32"}
    for what, read in (("module", read_motion_weights), ("motion LoRA", read_motion_lora)):
        made = motion.with_lora(lora, 1.0) if what == "motion LoRA" else motion
        again = read(nodes["SaveMotionModule"].execute(motion=made, what=what, **save)[0])
        if what == "module":
            assert all(torch.equal(again.state[name], value.cpu()) for name, value in learned.state.items())
            assert (again.beta_schedule, again.size) == (learned.beta_schedule, learned.size)
            assert again.size.norm_scope == "clip"
        else:
            assert len(again.fit(learned).pairs) == 15 * 2 * 4


def test_a_trainer_is_told_of_an_sdxl_base(port, xl):
    base = port.base(xl[0])
    assert (base.is_sdxl, base.pooled, len(base.widths)) == (True, TOKENS // 2, 16)
    assert base.widths["up_blocks.1.motion_modules.2"] == 64
    marks = [{"v_pred": torch.zeros(0)}, {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}]
    told = [port.base(build_of("SDXL", XL, each)) for each in marks]
    assert [(each.prediction_type, each.own_levels) for each in (base, *told)] == [
        ("eps", False), ("v", False), ("v", True),
    ]  # fmt: skip


def test_what_cannot_be_trained_on_is_refused_by_name_before_clips_are_encoded(
    port, xl, demo, train, tmp_path, motion
):
    refiner = build_of(OTHERS["SDXL's refiner"][0], XL | OTHERS["SDXL's refiner"][1])
    wanted = "expected Stable Diffusion 1.x or SDXL, since training changes layers of its UNet; load"
    with pytest.raises(ValueError, match=f"model: got SDXL's refiner, which makes pictures; {wanted}"):
        train(model=refiner)
    with pytest.raises(ValueError, match=f"model: got SDXL's refiner, which makes pictures; {wanted}"):
        port.base(refiner)
    with pytest.raises(
        HostError,
        match=r"model: got SDXL with continuous noise levels .*; expected the 1000 timesteps .*; load",
    ):
        train(
            model=build_of(
                "SDXL", XL | {"adm_in_channels": TOKENS // 2 + 1536}, {"edm_vpred.sigma_max": torch.ones(1)}
            )
        )
    with pytest.raises(
        ValueError, match="clip: got pooled text 64 wide; expected 32, as SDXL's second text encoder"
    ):
        train(clip=demo[1])
    with pytest.raises(CheckpointError, match=r"wide, the model has .* of one family; use"):
        train(motion=motion)
    with pytest.raises(
        ValueError, match=r"beta_schedule: got sqrt_linear up to 0.012 for a new module on SDXL"
    ):
        train(beta_schedule="sqrt_linear (AnimateDiff)")
    with pytest.raises(ValueError, match="target: got mask adapter with an SDXL base"):
        train(target="mask adapter", motion=motion)
    assert not (tmp_path / "latents").exists()
