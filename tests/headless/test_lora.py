"""LoRAs on the UNet in every key form, and the network left as it was."""

from __future__ import annotations

import re

import pytest
import torch
from frameloom.headless.weights.lora import layer_names, merge, read_lora
from frameloom.headless.weights.networks import build_unet
from frameloom.models.errors import CheckpointError
from frameloom.models.network.sizes import DEMO
from frameloom.tests.support.random_demo import write_lora
from safetensors.torch import save_file

LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
LDM = "input_blocks.1.1.transformer_blocks.0.attn1.to_out.0"
FORMS = {
    "kohya, LDM": (f"lora_unet_{LDM.replace('.', '_')}", ".lora_up.weight", ".lora_down.weight"),
    "kohya, diffusers": (f"lora_unet_{LAYER.replace('.', '_')}", ".lora_up.weight", ".lora_down.weight"),
    "plain": (f"diffusion_model.{LDM}", ".lora_up.weight", ".lora_down.weight"),
    "diffusers": (
        f"unet.{LAYER.replace('.to_out.0', '.processor.to_out')}",
        "_lora.up.weight",
        "_lora.down.weight",
    ),
    "peft": (f"unet.{LAYER}", ".lora_B.weight", ".lora_A.weight"),
    "peft, adapter": (f"unet.{LAYER}", ".lora_B.default.weight", ".lora_A.default.weight"),
}


PAIR = {f"unet.{LAYER}.lora_A.weight": torch.ones(4, 32), f"unet.{LAYER}.lora_B.weight": torch.ones(32, 4)}


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return build_unet(DEMO.unet).requires_grad_(False).eval()


def pair():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(32, 4, generator=generator), torch.randn(4, 32, generator=generator)


@pytest.mark.parametrize("form", list(FORMS))
def test_every_key_form_names_the_same_weight(unet, tmp_path, form):
    name, up_key, down_key = FORMS[form]
    up, down = pair()
    save_file({name + up_key: up, name + down_key: down}, tmp_path / "lora.safetensors")
    lora = read_lora(tmp_path / "lora.safetensors", unet, DEMO.unet)
    merged = merge(unet, [(lora, 0.5)])
    assert list(merged) == [f"{LAYER}.weight"]
    assert torch.allclose(merged[f"{LAYER}.weight"], unet.get_parameter(f"{LAYER}.weight") + 0.5 * up @ down)


def test_alpha_over_rank_scales_the_change(unet, tmp_path):
    name, up_key, down_key = FORMS["kohya, LDM"]
    up, down = pair()
    save_file(
        {name + up_key: up, name + down_key: down, f"{name}.alpha": torch.tensor(1.0)},
        tmp_path / "lora.safetensors",
    )
    merged = merge(unet, [(read_lora(tmp_path / "lora.safetensors", unet, DEMO.unet), 1.0)])
    assert torch.allclose(merged[f"{LAYER}.weight"], unet.get_parameter(f"{LAYER}.weight") + 0.25 * up @ down)


def test_loras_add_up_and_the_network_stays(unet, tmp_path):
    before = {key: value.clone() for key, value in unet.state_dict().items()}
    lora = read_lora(write_lora(tmp_path / "lora.safetensors"), unet, DEMO.unet)
    twice, once = merge(unet, [(lora, 1.0), (lora, 0.5)]), merge(unet, [(lora, 1.5)])
    assert all(torch.allclose(twice[key], once[key], atol=1e-5) for key in once)
    back = merge(unet, [(lora, 1.0), (lora, -1.0)])
    assert all(torch.allclose(back[key], before[key], atol=1e-5) for key in back)
    assert all(torch.equal(value, before[key]) for key, value in unet.state_dict().items())


def test_what_is_left_out_is_logged_once(unet, tmp_path, caplog):
    name, up_key, down_key = FORMS["kohya, LDM"]
    up, down = pair()
    wanted = {name + up_key: up, name + down_key: down, f"{name}.alpha": torch.tensor(1.0)}
    text = ("lora_te_x.lora_up.weight", "lora_te_x.dora_scale")
    save_file(wanted | {key: torch.zeros(4) for key in text}, tmp_path / "whole.safetensors")
    read_lora(tmp_path / "whole.safetensors", unet, DEMO.unet)
    assert caplog.messages == []
    kinds = ("lora_unet_a.hada_w1_a", "lora_unet_b.diff", "lora_unet_c.alpha")
    save_file(wanted | {key: torch.zeros(4) for key in kinds}, tmp_path / "some.safetensors")
    read_lora(tmp_path / "some.safetensors", unet, DEMO.unet)
    (message,) = caplog.messages
    assert re.match(
        r"some.safetensors: 3 tensors are left out \(first: .*\): they change no layer of this UNet", message
    )


def test_convolutions_are_changed_too(unet, tmp_path):
    lora = read_lora(write_lora(tmp_path / "lora.safetensors"), unet, DEMO.unet)
    changed = merge(unet, [(lora, 1.0)])["down_blocks.0.resnets.0.conv1.weight"]
    assert changed.shape == (32, 32, 3, 3)
    assert not torch.equal(changed, unet.get_parameter("down_blocks.0.resnets.0.conv1.weight"))


def test_every_weight_has_a_name_of_each_kind(unet):
    named = set(layer_names(unet, DEMO.unet).values())
    assert named == {key for key in unet.state_dict() if key.endswith(".weight")}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"lora_unet_nothing.lora_up.weight": torch.zeros(4, 4)}, "none of its 1 tensors changes this UNet"),
        ({"lora_te_x.lora_up.weight": torch.zeros(4, 4)}, "none of its 1 tensors changes this UNet"),
        (
            {
                f"unet.{LAYER}.lora_B.weight": torch.zeros(64, 4),
                f"unet.{LAYER}.lora_A.weight": torch.zeros(4, 64),
            },
            r"up \(64, 4\).*the model has \(32, 32\)",
        ),
        (
            {f"unet.{LAYER}.lora_B.weight": torch.zeros(32, 4), f"unet.{LAYER}.dora_scale": torch.zeros(32)},
            "dora_scale makes it a DoRA, which is not built headless; expected a plain LoRA",
        ),
        (
            {f"unet.{LAYER}.hada_w1_a": torch.zeros(32, 4)},
            "hada_w1_a makes it a LoHa, which is not built headless",
        ),
        (
            {f"lora_unet_{LDM.replace('.', '_')}.diff_b": torch.zeros(32), **PAIR},
            "diff_b makes it a LoRA with .diff_b, which is not built headless",
        ),
        (
            {f"unet.{LAYER}.lora_B.weight": torch.zeros(32, 4)},
            ".lora_B.weight has no .lora_A.weight beside it",
        ),
        (
            {f"unet.{LAYER}.lora_A.weight": torch.zeros(4, 32)},
            ".lora_A.weight has no .lora_B.weight beside it",
        ),
        ({"head.modulation": torch.zeros(2, 2)}, "is a Wan video model; expected a LoRA for SD1.5"),
        ({"lora_te2_x.lora_up.weight": torch.zeros(4, 4)}, "is a LoRA of SDXL; expected a LoRA for SD1.5"),
    ],
    ids=[
        "unknown",
        "text only",
        "another width",
        "DoRA",
        "LoHa",
        "difference",
        "no down",
        "no up",
        "another model",
        "SDXL",
    ],
)
def test_wrong_loras_are_named(unet, tmp_path, state, message):
    save_file(state, tmp_path / "bad.safetensors")
    with pytest.raises(CheckpointError, match=f"bad.safetensors.*{message}"):
        read_lora(tmp_path / "bad.safetensors", unet, DEMO.unet)
