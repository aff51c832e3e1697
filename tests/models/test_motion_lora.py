"""Motion LoRAs: every layout gives the same change of the same weights."""

from __future__ import annotations

import logging

import pytest
import torch
from frameloom.models.errors import CheckpointError
from frameloom.models.motion.checkpoint import MID_SLOT
from frameloom.models.motion.lora import merge_loras, read_motion_lora
from frameloom.tests.support.motion import linears, save, tiny_lora, tiny_state, tiny_weights

BLOCK = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0"
OUT = f"{BLOCK}.attention_blocks.1.to_out.0.weight"


def to_diffusers_names(key: str) -> str:
    key = key.replace(".temporal_transformer.", ".").replace(".processor.", ".")
    return key.replace("attention_blocks.0", "attn1").replace("attention_blocks.1", "attn2")


def to_peft(key: str) -> str:
    key = to_diffusers_names(key).replace("to_out_lora", "to_out.0_lora")
    return "unet." + key.replace("_lora.down", ".lora_A").replace("_lora.up", ".lora_B")


def to_old_diffusers(key: str) -> str:
    return "unet." + to_diffusers_names(key).replace("_lora.", ".lora.").replace(
        "to_out.lora", "to_out.0.lora"
    )


def to_kohya(key: str) -> str:
    layer, side = to_diffusers_names(key).replace("to_out_lora", "to_out.0_lora").split("_lora.")
    return f"lora_unet_{layer.replace('.', '_')}.lora_{side}"


LAYOUTS = {
    "AnimateDiff's": lambda key: key,
    "AnimateDiff's trainer's": lambda key: f"module.{key}",
    "diffusers' processors": lambda key: key.replace(".temporal_transformer.", "."),
    "PEFT's": to_peft,
    "diffusers' older": to_old_diffusers,
    "kohya's": to_kohya,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_pairs(tmp_path, layout):
    state = tiny_lora()
    path = save(tmp_path / "lora.safetensors", {LAYOUTS[layout](key): value for key, value in state.items()})
    pairs = read_motion_lora(path).pairs
    # 21 slots, two attentions, four layers
    assert len(pairs) == 21 * 2 * 4
    assert set(pairs) <= set(tiny_state())
    down, up = pairs[OUT]
    assert torch.equal(down, state[f"{BLOCK}.attention_blocks.1.processor.to_out_lora.down.weight"])
    assert torch.equal(up, state[f"{BLOCK}.attention_blocks.1.processor.to_out_lora.up.weight"])


@pytest.mark.parametrize("name_of", [lambda key: key, to_diffusers_names], ids=["ours", "diffusers"])
def test_kohyas_keys_change_every_linear_layer(tmp_path, name_of):
    """Projections and feed-forwards, too: W + strength * alpha / rank * up @ down, computed here in float64."""
    state, made = {}, tiny_weights()
    for layer, (down, up) in linears().items():
        kohya = f"lora_unet_{name_of(layer).replace('.', '_')}"
        names = (f"{kohya}.lora_up.weight", f"{kohya}.lora_down.weight", f"{kohya}.alpha")
        state |= dict(zip(names, (up, down, torch.tensor(2.0)), strict=True))
    lora = read_motion_lora(save(tmp_path / "lora.safetensors", state)).fit(made)
    merged = merge_loras(made, [(lora, -0.5)]).state
    assert {key.rsplit(".", 2)[1] for key in lora.pairs} >= {"proj_in", "proj_out", "proj", "2", "to_q"}
    for layer, (down, up) in linears().items():
        wanted = made.state[f"{layer}.weight"].double() - 0.5 * 2.0 / 4 * (up.double() @ down.double())
        torch.testing.assert_close(merged[f"{layer}.weight"].double(), wanted, rtol=1e-5, atol=1e-5)
    assert sorted(lora.pairs) == sorted(f"{layer}.weight" for layer in linears())


def test_half_precision_pairs_multiply_in_float32(tmp_path):
    path = save(tmp_path / "lora.safetensors", {key: value.half() for key, value in tiny_lora().items()})
    assert {delta.dtype for _, delta in read_motion_lora(path).deltas(1.0)} == {torch.float32}


def test_middle_weights_are_left_out_with_a_warning_where_the_module_has_no_middle(tmp_path, caplog):
    lora = read_motion_lora(save(tmp_path / "pan.safetensors", tiny_lora()))
    with caplog.at_level(logging.WARNING):
        fitted = lora.fit(tiny_weights(middle=False))
    assert not any(name.startswith(MID_SLOT) for name in fitted.pairs)
    assert len(fitted.pairs) == 160
    assert (
        "pan.safetensors: 8 of 168 weights are for the middle block, which mm.safetensors (v2) does not have"
        in caplog.text
    )


def test_a_lora_that_fits_is_unchanged_and_says_nothing(tmp_path, caplog):
    lora = read_motion_lora(save(tmp_path / "pan.safetensors", tiny_lora()))
    assert lora.fit(tiny_weights()) == lora
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (tiny_lora(width=64), r"is \(64, 64\), mm.safetensors has \(32, 32\)"),
        (
            {key.replace("former_blocks.0", "former_blocks.1"): each for key, each in tiny_lora().items()},
            r"changes .*transformer_blocks.1.*, which mm.safetensors does not have",
        ),
    ],
    ids=["another width", "other layers"],
)
def test_a_lora_that_does_not_fit_is_refused(tmp_path, state, message):
    lora = read_motion_lora(save(tmp_path / "pan.safetensors", state))
    with pytest.raises(CheckpointError, match=rf"^pan.safetensors: .*{message}"):
        lora.fit(tiny_weights())


TO_Q = f"{BLOCK}.attention_blocks.0.to_q"
DOWN = f"{BLOCK}.attention_blocks.0.processor.to_q_lora.down.weight"
ELSEWHERE = "lora_unet_down_blocks_0_motion_modules_0_elsewhere.lora_down.weight"
OF_THE_BASE = "down_blocks.0.attentions.0.proj_in_lora.down.weight"
# What is put into a file, and what is then said of it.
BROKEN = {
    "half a pair": ({DOWN: None}, r"attention_blocks.0.to_q.weight has no down matrix; expected pairs"),
    "ranks that differ": ({DOWN: torch.zeros(8, 32)}, r"has down \(8, 32\) and up \(32, 4\); expected \["),
    "a convolution": ({DOWN: torch.zeros(4, 32, 1, 1)}, r"has down \(4, 32, 1, 1\)"),
    "a magnitude": ({f"{TO_Q}.dora_scale": torch.ones(32)}, r"to_q.dora_scale is a DoRA, .* \(1 such keys\)"),
    "a Hadamard product": ({f"{TO_Q}.hada_w1_a": torch.ones(32, 4)}, r"to_q.hada_w1_a is a LoHa"),
    "a difference": ({f"{BLOCK}.ff_norm.diff": torch.ones(32)}, r"ff_norm.diff is no part of a LoRA's"),
    "integers": ({DOWN: torch.ones(4, 32, dtype=torch.int8)}, rf"{DOWN} is int8, of shape \(4, 32\)"),
    "NaN": ({DOWN: torch.full((4, 32), torch.nan)}, rf"{DOWN} holds NaN or infinity"),
    "an unknown layer": ({ELSEWHERE: torch.zeros(4, 32)}, r"elsewhere.lora_down.weight names no layer of"),
    "a layer of the base": ({OF_THE_BASE: torch.zeros(4, 32)}, r"proj_in_lora.down.weight names no layer"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_lora_is_refused_by_key(tmp_path, fault):
    change, message = BROKEN[fault]
    state = {key: value for key, value in (tiny_lora() | change).items() if value is not None}
    with pytest.raises(CheckpointError, match=rf"^pan.safetensors: .*{message}"):
        read_motion_lora(save(tmp_path / "pan.safetensors", state))
