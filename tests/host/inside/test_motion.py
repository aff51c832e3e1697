"""The motion module in ComfyUI computes what the module and diffusers compute, and says what is wrong."""

from __future__ import annotations

import os
from dataclasses import replace

import comfy.model_sampling
import comfy.utils
import pytest
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
from einops import rearrange
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import HostError, PredictionError
from frameloom.models.motion.edit import STILL
from frameloom.models.motion.lora import MotionLoRA
from frameloom.models.motion.module import MotionModel
from frameloom.models.video.schedules import ANIMATEDIFF
from frameloom.tests.host.inside.core import sample_plain
from safetensors.torch import load_file


def raw_unet(model, scene, noisy, tokens):
    """One call of the loaded UNet, past the sampler, inside a run of the model."""
    found = {}

    def hijack(executor, x, timesteps, context, y, control, options, **kwargs):
        time = torch.full((noisy.shape[0],), 500.0)
        level = model.get_model_object("model_sampling").sigma(time[:1])
        alone = {**options, "cond_or_uncond": [0], "uuids": [None], "sigmas": level}
        found["out"] = executor(noisy, time, tokens, None, None, alone)
        return executor(x, timesteps, context, y, control, options, **kwargs)

    outer = model.clone()
    wrappers = outer.wrappers.setdefault("diffusion_model", {})
    outer.wrappers["diffusion_model"] = {"hijack": [hijack], **wrappers}
    scene.run(outer, frames=len(noisy), noise=noisy, sigmas=torch.tensor([1.0, 0.0]))
    return found["out"]


@pytest.fixture(scope="module")
def reference():
    return load_file(os.environ["FRAMELOOM_REFERENCE"])


def relative(value, expected):
    return ((value - expected).abs().max() / expected.abs().max()).item()


def test_plain_unet_equals_diffusers(demo, scene, reference):
    out = raw_unet(demo[0], scene, reference["noisy"], reference["tokens"])
    assert relative(out, reference["still"]) <= 1e-5


def test_whole_injected_unet_equals_diffusers(demo, motion, scene, reference):
    out = raw_unet(scene.moving(demo[0], motion), scene, reference["noisy"], reference["tokens"])
    assert relative(out, reference["still"]) > 1e-2, "the module did nothing"
    assert relative(out, reference["moved"]) <= 1e-4


def test_every_slot_equals_the_module_by_itself(motion, moving, scene):
    """Encodings are the file's, too."""
    alone = MotionModel(motion.weights.size).eval()
    alone.load_state_dict({key: value.float() for key, value in motion.weights.state.items()})
    seen = {}
    hook = motion.patcher.model.register_forward_hook(
        lambda _, args, out: seen.update({args[0]: (args, out)})
    )
    try:
        scene.run(moving)
    finally:
        hook.remove()
    assert set(seen) == set(motion.weights.size.channels)
    for args, out in seen.values():
        assert relative(out, alone(*args)) <= 1e-5


def make_lora(motion, seed):
    """Of attentions, feed-forwards and the projections around them."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {key: value.shape for key, value in motion.weights.state.items() if key.endswith(".weight")}
    return MotionLoRA("test", {
        name: tuple(0.2 * torch.randn(pair, generator=generator) for pair in ((2, shape[1]), (shape[0], 2)))
        for name, shape in shapes.items() if len(shape) == 2
    })  # fmt: skip


def test_lora_equals_merged_weights(port, demo, motion, moving, scene):
    lora = make_lora(motion, 0)
    state = {key: value.float() for key, value in motion.weights.state.items()}
    for name, delta in lora.deltas(-0.7):
        state[name] = state[name] + delta
    merged = port.load_motion(replace(motion.weights, state=state))
    plain = scene.drawn(moving)
    stacked = scene.run(scene.moving(demo[0], motion.with_lora(lora, -0.7)))
    assert relative(stacked, plain) > 1e-3
    assert relative(stacked, scene.run(scene.moving(demo[0], merged))) <= 1e-5
    assert torch.equal(scene.run(moving), plain), "the LoRA stayed in the module"


def test_two_edits_act_as_both_in_order(demo, motion, scene):
    """The same module with two LoRAs in one model is two modules."""
    first, second = motion.with_lora(make_lora(motion, 1), 1.0), motion.with_lora(make_lora(motion, 2), 1.0)
    both = scene.moving(scene.moving(demo[0], first), second)
    first_model, second_model = (
        patcher.model for patcher in both.get_additional_models_with_key("frameloom")
    )
    assert first_model is not second_model
    order = []
    hooks = [
        model.register_forward_hook(lambda _, args, out, who=who: order.append((who, args[1].clone(), out)))
        for who, model in enumerate((first_model, second_model))
    ]
    try:
        scene.run(both)
    finally:
        for hook in hooks:
            hook.remove()
    assert [who for who, _, _ in order[:4]] == [0, 1, 0, 1]
    assert torch.equal(order[0][2], order[1][1]), "the second did not see the first's output"


class ClipNorm(torch.nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        clip = rearrange(x, "(b f) c h w -> b c f h w", f=4)
        group = torch.nn.functional.group_norm(clip, 32, self.norm.weight, self.norm.bias, self.norm.eps)
        return rearrange(group, "b c f h w -> (b f) c h w")


def test_clip_norms_equal_norms_taken_over_the_clip(port, demo, motion, moving, scene):
    """v1: the UNet's residual norms over all frames, against a UNet rebuilt with such norms."""
    v1 = port.load_motion(replace(motion.weights, clip_norm=True))
    noisy = scene.noise() * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1, 1)
    tokens = scene.positive[0][0].expand(4, -1, -1)
    out = raw_unet(scene.moving(demo[0], v1), scene, noisy, tokens)
    per_frame = raw_unet(moving, scene, noisy, tokens)
    assert relative(out, per_frame) > 1e-3
    unet = demo[0].model.diffusion_model
    blocks = [block for block in unet.modules() if isinstance(block, ResBlock)]
    changed = [unet.out, *(layers for block in blocks for layers in (block.in_layers, block.out_layers))]
    originals = [layers[0] for layers in changed]
    try:
        for layers in changed:
            layers[0] = ClipNorm(layers[0])
        assert relative(out, raw_unet(moving, scene, noisy, tokens)) <= 1e-5
    finally:
        for layers, norm in zip(changed, originals, strict=True):
            layers[0] = norm
    assert torch.equal(raw_unet(moving, scene, noisy, tokens), per_frame)


@pytest.fixture
def rescheduled(demo, motion, scene):
    return scene.moving(demo[0], motion, schedule=ANIMATEDIFF)


def test_schedule_is_sampled_on_and_prediction_type_kept(port, demo, moving, rescheduled, scene):
    sampling = rescheduled.get_model_object("model_sampling")
    assert torch.allclose(sampling.sigmas, ANIMATEDIFF.sigmas(), rtol=1e-5)
    assert isinstance(sampling, comfy.model_sampling.V_PREDICTION)
    sigmas = port.sigmas(rescheduled, 3, "normal")
    assert sigmas[0] == pytest.approx(25.146, rel=1e-3)
    assert port.sigmas(demo[0], 3, "normal")[0] == pytest.approx(14.615, rel=1e-3)
    assert not torch.equal(scene.run(rescheduled), scene.run(moving, sigmas=sigmas))


def test_schedule_survives_comfyui_issue_16490(demo, rescheduled, scene):
    """With dynamic VRAM, ComfyUI writes another clone's buffers back by their path; replayed here."""
    plain, moved = scene.drawn(demo[0]), scene.run(rescheduled)
    stale = {key: value.clone() for key, value in demo[0].get_model_object("model_sampling").named_buffers()}

    def restore(executor, *args, **kwargs):
        result = executor(*args, **kwargs)
        for key, value in stale.items():
            comfy.utils.set_attr_buffer(result[0], f"model_sampling.{key}", value)
        return result

    rescheduled.add_wrapper_with_key("prepare_sampling", "test", restore)
    assert torch.equal(scene.run(rescheduled), moved)
    assert torch.equal(scene.run(demo[0]), plain)


def test_lcms_steps_are_those_of_the_schedule(demo, motion, scene):
    """LCM builds a schedule of 1000 and puts every twentieth of it in its place."""
    lcm = ModelSamplingDiscrete().patch(demo[0], "lcm", False)[0]
    moving = scene.moving(lcm, motion, schedule=ANIMATEDIFF)
    sampling = moving.get_model_object("model_sampling")
    torch.testing.assert_close(sampling.sigmas, ANIMATEDIFF.sigmas()[19::20], rtol=1e-5, atol=0)
    assert sampling.timestep(sampling.sigmas[[0, -1]]).tolist() == [19, 999]
    scene.run(moving, sampler="lcm")
    again = scene.moving(moving, motion, schedule=ANIMATEDIFF).get_model_object("model_sampling")
    assert torch.equal(again.sigmas, sampling.sigmas)


def lcm_behind(model, plain):
    return ModelSamplingDiscrete().patch(model, "lcm", False)[0]


def plain_behind(model, plain):
    model.add_object_patch("model_sampling", plain.get_model_object("model_sampling"))
    return model


@pytest.mark.parametrize(("displace", "count"), [(lcm_behind, 50), (plain_behind, 1000)])
def test_a_displaced_schedule_stops_the_run(demo, rescheduled, scene, displace, count):
    displaced = displace(rescheduled, demo[0])
    said = rf"runs with {count} sigmas up to 14\.61.* expected sqrt_linear's 1000 up to 25\.14"
    with pytest.raises(HostError, match=said):
        scene.run(displaced)


def test_nan_stops_the_run_and_says_where(demo, moving, scene):
    spoilt = moving.clone()

    def spoil(arguments):
        late = arguments["sigma"][0] < 14
        denoised = arguments["denoised"].clone()
        denoised[2] = torch.nan if late else denoised[2]
        return denoised

    spoilt.set_model_sampler_post_cfg_function(spoil)
    with pytest.raises(PredictionError, match=r"at step 1, sigma .* in 1 of 4 frames \(first: 2\)"):
        scene.run(spoilt)
    assert torch.isfinite(scene.run(demo[0])).all()


def test_a_single_frame_is_told_once(moving, scene, caplog):
    """A sampler of the graph tells it; a node of ours, which draws one frame on purpose, does not."""
    for frames in (1, 2):
        sample_plain(moving, scene, {"samples": torch.zeros_like(scene.noise(frames))})
    scene.run(moving, frames=1)
    assert [message for message in caplog.messages if message == STILL] == [STILL]


def test_a_terminal_level_without_signal_by_cores_node_stays(port, demo):
    """zsnr of Model Sampling Discrete: the highest level is far above the schedule's own."""
    highest = []
    for zsnr in (False, True):
        model = ModelSamplingDiscrete().patch(demo[0], "v_prediction", zsnr)[0]
        clone = port.install(model, Edit("schedule", schedule=ANIMATEDIFF))
        highest.append(float(clone.get_model_object("model_sampling").sigma_max))
    assert highest[0] == pytest.approx(float(ANIMATEDIFF.sigmas()[-1]), rel=1e-5)
    assert highest[1] > 100 * highest[0]
