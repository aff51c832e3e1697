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
from frameloom.tests.support.tensors import draw
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


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return build_unet(DEMO.unet).requires_grad_(False).eval()


UP, DOWN = draw(32, 4, seed=3), draw(4, 32, seed=4)


@pytest.fixture
def read(unet, tmp_path):
    """Read the LoRA of a file with these tensors."""

    def call(state, name="lora.safetensors"):
        save_file(state, tmp_path / name)
        return read_lora(tmp_path / name, unet, DEMO.unet)

    return call


def of_form(form):
    name, up, down = FORMS[form]
    return name, {name + up: UP, name + down: DOWN}


@pytest.mark.parametrize("form", FORMS)
def test_every_key_form_names_the_same_weight(unet, read, form):
    merged = merge(unet, [(read(of_form(form)[1]), 0.5)])
    assert list(merged) == [f"{LAYER}.weight"]
    assert torch.allclose(merged[f"{LAYER}.weight"], unet.get_parameter(f"{LAYER}.weight") + 0.5 * UP @ DOWN)


def test_alpha_over_rank_scales_the_change(unet, read):
    name, state = of_form("kohya, LDM")
    merged = merge(unet, [(read(state | {f"{name}.alpha": torch.tensor(1.0)}), 1.0)])
    assert torch.allclose(merged[f"{LAYER}.weight"], unet.get_parameter(f"{LAYER}.weight") + 0.25 * UP @ DOWN)


def test_loras_add_up_and_the_network_stays(unet, tmp_path):
    before = {key: value.clone() for key, value in unet.state_dict().items()}
    lora = read_lora(write_lora(tmp_path / "lora.safetensors"), unet, DEMO.unet)
    twice, once = merge(unet, [(lora, 1.0), (lora, 0.5)]), merge(unet, [(lora, 1.5)])
    assert all(torch.allclose(twice[key], once[key], atol=1e-5) for key in once)
    back = merge(unet, [(lora, 1.0), (lora, -1.0)])
    assert all(torch.allclose(back[key], before[key], atol=1e-5) for key in back)
    assert all(torch.equal(value, before[key]) for key, value in unet.state_dict().items())


def test_what_is_left_out_is_logged_once(read, caplog):
    name, state = of_form("kohya, LDM")
    state[f"{name}.alpha"] = torch.tensor(1.0)
    text = ("lora_te_x.lora_up.weight", "lora_te_x.dora_scale")
    read(state | {key: torch.zeros(4) for key in text})
    assert caplog.messages == []
    kinds = ("lora_unet_a.hada_w1_a", "lora_unet_b.diff", "lora_unet_c.alpha")
    read(state | {key: torch.zeros(4) for key in kinds}, "some.safetensors")
    (message,) = caplog.messages
    said = r"some.safetensors: 3 tensors are left out \(first: .*\): they change no layer of this UNet"
    assert re.match(said, message)


def test_convolutions_are_changed_too(unet, tmp_path):
    lora = read_lora(write_lora(tmp_path / "lora.safetensors"), unet, DEMO.unet)
    changed = merge(unet, [(lora, 1.0)])["down_blocks.0.resnets.0.conv1.weight"]
    assert changed.shape == (32, 32, 3, 3)
    assert not torch.equal(changed, unet.get_parameter("down_blocks.0.resnets.0.conv1.weight"))


def test_every_weight_has_a_name_of_each_kind(unet):
    named = set(layer_names(unet, DEMO.unet).values())
    assert named == {key for key in unet.state_dict() if key.endswith(".weight")}


NO_UP, NO_DOWN = {f"unet.{LAYER}.lora_A.weight": DOWN}, {f"unet.{LAYER}.lora_B.weight": UP}
WRONG = {
    "unknown": ({"lora_unet_nothing.lora_up.weight": UP}, "none of its 1 tensors changes this UNet"),
    "text only": ({"lora_te_x.lora_up.weight": UP}, "none of its 1 tensors changes this UNet"),
    "another width": (
        {
            f"unet.{LAYER}.lora_B.weight": torch.zeros(64, 4),
            f"unet.{LAYER}.lora_A.weight": torch.zeros(4, 64),
        },
        r"up \(64, 4\).*the model has \(32, 32\)",
    ),
    "DoRA": (
        NO_DOWN | {f"unet.{LAYER}.dora_scale": torch.zeros(32)},
        "dora_scale makes it a DoRA, which is not built headless; expected a plain LoRA",
    ),
    "LoHa": ({f"unet.{LAYER}.hada_w1_a": UP}, "hada_w1_a makes it a LoHa, which is not built headless"),
    "difference": (
        NO_UP | NO_DOWN | {f"lora_unet_{LDM.replace('.', '_')}.diff_b": torch.zeros(32)},
        "diff_b makes it a LoRA with .diff_b, which is not built headless",
    ),
    "no down": (NO_DOWN, ".lora_B.weight has no .lora_A.weight beside it"),
    "no up": (NO_UP, ".lora_A.weight has no .lora_B.weight beside it"),
    "another model": ({"head.modulation": UP}, "is a Wan video model; expected a LoRA for SD1.5"),
    "SDXL": ({"lora_te2_x.lora_up.weight": UP}, "is a LoRA of SDXL; expected a LoRA for SD1.5"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_loras_are_named(read, fault):
    state, message = WRONG[fault]
    with pytest.raises(CheckpointError, match=f"bad.safetensors.*{message}"):
        read({key: value.clone() for key, value in state.items()}, "bad.safetensors")
