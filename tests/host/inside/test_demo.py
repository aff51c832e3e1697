"""The demo model behaves in ComfyUI as any SD model."""

from __future__ import annotations

import pytest
import torch
from frameloom.host.bundled import DEMO_MODEL
from frameloom.host.comfyui.load.demo import load_demo
from frameloom.models.errors import CheckpointError
from safetensors.torch import load_file, save_file

import nodes


def encode(clip, text):
    return nodes.CLIPTextEncode().encode(clip, text)[0][0][0]


def test_samples_through_cores_own_nodes(demo):
    model, clip, vae = demo
    positive, negative = (nodes.CLIPTextEncode().encode(clip, text)[0] for text in ("a red circle", ""))
    latent = nodes.EmptyLatentImage().generate(128, 128, 2)[0]
    latent = nodes.KSampler().sample(model, 1, 3, 3.0, "dpmpp_2m", "karras", positive, negative, latent)[0]
    (images,) = nodes.VAEDecode().decode(vae, latent)
    assert images.shape == (2, 128, 128, 3)
    assert 0 <= images.min() < images.max() <= 1
    assert nodes.VAEEncode().encode(vae, images)[0]["samples"].shape == (2, 4, 16, 16)


def test_prompt_weights_act_and_weight_one_does_not(demo):
    plain = encode(demo[1], "a red circle")
    assert torch.equal(encode(demo[1], "a (red:1.0) circle"), plain)
    heavy = encode(demo[1], "a (red:1.4) circle")
    assert not torch.allclose(heavy, plain)
    place = 2  # start, a, red
    empty = encode(demo[1], "")
    assert torch.allclose(heavy[:, place], (plain - empty)[:, place] * 1.4 + empty[:, place], atol=1e-5)


def test_long_prompts_have_several_chunks(demo):
    assert encode(demo[1], "a red circle " * 60).shape == (1, 3 * 77, 64)


def test_clip_skip_acts(demo):
    skipped = nodes.CLIPSetLastLayer().set_last_layer(demo[1], -2)[0]
    assert not torch.allclose(encode(skipped, "a red circle"), encode(demo[1], "a red circle"))


def test_lora_keys_of_core_patch(demo):
    import comfy.lora

    for model, keys in (
        (demo[0], comfy.lora.model_lora_keys_unet(demo[0].model, {})),
        (demo[1].patcher, comfy.lora.model_lora_keys_clip(demo[1].cond_stage_model, {})),
    ):
        state = model.model.state_dict()
        names = {key for key in keys.values() if key in state}
        assert len(names) > 10
        weights = {key: ("diff", (torch.zeros_like(state[key]),)) for key in names}
        assert set(model.clone().add_patches(weights)) == names


@pytest.mark.parametrize("part", ["model", "clip", "vae"])
def test_comfyui_can_build_a_fresh_one(demo, part):
    patcher = {"model": demo[0], "clip": demo[1].patcher, "vae": demo[2].patcher}[part]
    factory, arguments = patcher.cached_patcher_init
    fresh = factory(*arguments, disable_dynamic=True)
    assert fresh.model is not patcher.model
    for key, value in patcher.model.state_dict().items():
        if not key.endswith("logit_scale"):
            assert torch.equal(fresh.model.state_dict()[key], value), key


DAMAGE = {
    "cut short": (lambda path: path.write_bytes(DEMO_MODEL.read_bytes()[:5000]), "cut short, 5000 of"),
    "a git-lfs pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com"),
        "a git-lfs pointer",
    ),
    "NaN": (
        lambda path: save_file(load_file(DEMO_MODEL) | {OUT: torch.full((4,), torch.nan)}, path),
        "model.diffusion_model.out.2.bias holds NaN",
    ),
}
OUT = "model.diffusion_model.out.2.bias"


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_of_the_pack_is_named(tmp_path, how):
    damage, message = DAMAGE[how]
    damage(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=rf"^model.safetensors: {message}"):
        load_demo(tmp_path / "model.safetensors")
