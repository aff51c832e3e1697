"""Every wrong file is named for what it is, in one line that says what, got, expected and what to do."""

from __future__ import annotations

import io
import os
import struct
import zipfile

import pytest
import torch
from frameloom.models.errors import CheckpointError
from frameloom.models.files.weight_file import fingerprint, open_weights
from frameloom.models.files.weight_kind import identify
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.lora import read_motion_lora
from frameloom.tests.support.motion import save, tiny_lora, tiny_state
from safetensors.torch import save as to_bytes

SOME = torch.zeros(4, 4)
CONV = torch.zeros(32, 4, 3, 3)
BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
SLOT = "down_blocks.0.motion_modules.0"


def renamed(old: str, new: str):
    return {key.replace(old, new): value for key, value in tiny_state().items()}


def sdxl():
    return {key: value for key, value in tiny_state().items() if "blocks.3." not in key}


# What a file holds -> how the error names it and what it advises.
OTHER_KINDS = {
    "motion LoRA": (
        tiny_lora(),
        r"is a motion LoRA; expected an AnimateDiff motion module.*Load Motion LoRA",
    ),
    "domain adapter": (
        {f"{BLOCK}.processor.to_q_lora.down.weight": SOME},
        r"domain adapter, a LoRA of the base model.*put it into loras",
    ),
    "kohya LoRA": (
        {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": SOME},
        r"is a LoRA of the base model.*put it into loras",
    ),
    "PEFT LoRA": (
        {f"unet.{BLOCK}.to_q.lora_A.weight": SOME},
        r"is a LoRA of the base model.*put it into loras",
    ),
    "SparseCtrl": (
        tiny_state() | {"controlnet_cond_embedding.weight": SOME},
        r"is a SparseCtrl network for pictures \(rgb\); expected an AnimateDiff motion module.*v3",
    ),
    "diffusers ControlNet": (
        {"controlnet_cond_embedding.conv_in.weight": CONV, "down_blocks.0.resnets.0.conv1.weight": CONV},
        r"is a ControlNet.*put it into controlnet",
    ),
    "LDM ControlNet": ({"control_model.input_blocks.0.0.weight": CONV}, r"is a ControlNet"),
    "Control-LoRA": (
        {"lora_controlnet": SOME, "input_hint_block.0.weight": CONV},
        r"is a Control-LoRA, a ControlNet that needs its base model's weights",
    ),
    "ControlNet for a transformer": (
        {"controlnet_blocks.0.weight": SOME},
        r"is a ControlNet for a transform",
    ),
    "T2I-Adapter": ({"body.0.in_conv.weight": CONV}, r"is a T2I-Adapter"),
    "diffusers T2I-Adapter": ({"adapter.body.0.resnets.0.block1.weight": CONV}, r"is a T2I-Adapter"),
    "PIA": (tiny_state() | {"conv_in.weight": torch.zeros(32, 9, 3, 3)}, r"is a PIA module.*v1, v2 or v3"),
    "HotshotXL": (
        renamed("motion_modules", "temporal_attentions"),
        r"is a HotshotXL module for SDXL.*module for SD1.5",
    ),
    "SDXL module": (sdxl(), r"is an AnimateDiff module for SDXL.*module for SD1.5"),
    "SD checkpoint": (
        {
            "model.diffusion_model.input_blocks.0.0.weight": CONV,
            "first_stage_model.decoder.conv_in.weight": CONV,
        },
        r"is a whole Stable Diffusion checkpoint.*put it into checkpoints",
    ),
    "SDXL checkpoint": (
        {"model.diffusion_model.input_blocks.0.0.weight": CONV, "conditioner.embedders.0.x": SOME},
        r"is a whole SDXL checkpoint.*put it into checkpoints",
    ),
    "SVD": (
        {"model.diffusion_model.input_blocks.1.1.time_stack.0.norm1.weight": SOME},
        r"is a Stable Video Diffusion model",
    ),
    "diffusers UNet": ({"down_blocks.0.resnets.0.conv1.weight": CONV}, r"is a UNet without motion modules"),
    "VAE": ({"encoder.conv_in.weight": CONV, "decoder.conv_in.weight": CONV}, r"is a VAE.*put it into vae"),
    "text encoder": ({"text_model.embeddings.position_ids": SOME}, r"is a text encoder.*text_encoders"),
    "GPT-2": ({"transformer.h.0.attn.c_attn.weight": SOME}, r"is a GPT-2 model; .*choose it in Layout Prior"),
    "language model": ({"model.embed_tokens.weight": SOME}, r"is the weights of a language .*Local LLM"),
    "unknown": (
        {"blocks.0.self_attn.q.weight": SOME},
        r"no kind we know \(its first key is 'blocks.0.self_attn",
    ),
    "nothing": ({}, r"a file without tensors.*download it again"),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_file_of_another_kind_is_named_and_its_place_told(tmp_path, kind):
    state, message = OTHER_KINDS[kind]
    path = save(tmp_path / "wrong.safetensors", state)
    with pytest.raises(CheckpointError, match=rf"^wrong.safetensors .*{message}"):
        read_motion_weights(path)


@pytest.mark.parametrize("kind", sorted(set(OTHER_KINDS) - {"motion LoRA"}))
def test_the_lora_loader_names_other_kinds_too(tmp_path, kind):
    path = save(tmp_path / "wrong.safetensors", OTHER_KINDS[kind][0])
    with pytest.raises(
        CheckpointError, match=r"^wrong.safetensors is .*; expected a motion LoRA of AnimateDiff; "
    ):
        read_motion_lora(path)


def test_the_lora_loader_names_a_motion_module(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"is an AnimateDiff motion module; expected a motion LoRA.*Load Motion"
    ):
        read_motion_lora(save(tmp_path / "mm.safetensors", tiny_state()))


def truncated_safetensors(share: float) -> bytes:
    whole = to_bytes(tiny_state())
    return whole[: int(len(whole) * share)]


def pickled(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


class Shell:
    """Runs a command when unpickled."""

    def __reduce__(self):
        return os.system, ("echo owned",)


def zip_of_text() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "weights are elsewhere")
    return buffer.getvalue()


def torchscript() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("net/data.pkl", b"")
        archive.writestr("net/code/__torch__/net.py", b"")
    return buffer.getvalue()


NO_WEIGHTS = {
    "empty": (b"", r"the file is empty \(0 bytes\)"),
    "web page": (
        b"\n<!DOCTYPE html><html><body>Sign in</body></html>",
        r"a web page \(HTML, 49 bytes\).*signed in",
    ),
    "web page without doctype": (b"<HTML lang=en></HTML>", r"a web page"),
    "XML error": (b'<?xml version="1.0"?><Error>denied</Error>', r"a web page"),
    "git-lfs pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
        r"a git-lfs pointer of 65 bytes.*git lfs pull",
    ),
    "JSON answer": (b'{"error":"Access to model is restricted"}', r"a text file that begins '\{\"error\""),
    "text answer": (b"Entry not found", r"a text file that begins 'Entry not found'"),
    "truncated safetensors": (truncated_safetensors(0.6), r"cut short, \d+ of \d+ bytes; download it again"),
    "truncated header": (truncated_safetensors(0.01), r"cut short, \d+ of \d+ bytes"),
    "half an offset": (
        struct.pack("<Q", 55) + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0.4]}} ' + bytes(4),
        r"damaged safetensors of 67 bytes",
    ),
    "damaged header": (struct.pack("<Q", 16) + b"{not json at all", r"damaged safetensors of 24 bytes"),
    "truncated pickle": (pickled(tiny_state())[:20_000], r"a torch file of 20000 bytes that can't be read"),
    "pickle with code": (
        pickled({"state_dict": Shell()}),
        r"more than tensors.*could run code.*\.safetensors",
    ),
    "picture": (
        b"\x89PNG\r\n\x1a\n" + bytes(64),
        r"its first bytes are b'\\x89PNG.*neither safetensors nor a torch",
    ),
    "other archive": (zip_of_text(), r"a zip archive that holds 'readme.txt' \(1 files\).*unpack it"),
    "few bytes": (b"\x00\x01\x02", r"its first bytes are"),
    "room without content": (bytes(5000), r"begins with zeros alone, so room was made for its 5000 bytes"),
    "GGUF": (
        b"GGUF\x03\0\0\0" + bytes(99),
        r"\(a GGUF file of quantised weights\), neither safetensors nor a torch",
    ),
    "gzip": (b"\x1f\x8b\x08" + bytes(range(99)), r"\(a gzip archive\)"),
    "deep header": (struct.pack("<Q", 50_002) + b"{" + b"[" * 50_001, r"damaged safetensors of 50010 bytes"),
    "TorchScript": (torchscript(), r"a TorchScript program; expected plain tensors"),
    "a tensor alone": (pickled(SOME), r"a file without tensors"),
    "numbers": (pickled({"epoch": 3}), r"a file without tensors"),
}


@pytest.mark.parametrize("read", [read_motion_weights, read_motion_lora])
@pytest.mark.parametrize("kind", NO_WEIGHTS)
def test_what_is_no_weight_file_is_named(tmp_path, capfd, kind, read):
    content, message = NO_WEIGHTS[kind]
    path = tmp_path / "mm.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"^mm.ckpt.*{message}") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert "owned" not in capfd.readouterr().out


def test_a_legacy_pickle_cut_short_is_named(tmp_path):
    torch.save(tiny_state(), tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "old.ckpt").read_bytes()
    (tmp_path / "old.ckpt").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"old.ckpt: a torch file .*cut short"):
        read_motion_weights(tmp_path / "old.ckpt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone.safetensors: no such file"):
        read_motion_weights(tmp_path / "gone.safetensors")


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"a folder without diffusion_pytorch_model.safetensors"):
        read_motion_weights(tmp_path)


def test_a_folder_of_many_models_is_named(tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "text_encoder").mkdir()
    with pytest.raises(CheckpointError, match=r"the folder of a whole diffusers pipeline \(model_index.json"):
        read_motion_weights(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"^text_encoder: the part text_encoder of a diffusers pipeline"
    ):
        read_motion_weights(tmp_path / "text_encoder")


def test_a_file_that_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "mm.ckpt")
    with pytest.raises(CheckpointError, match=r"mm.ckpt: a device or a pipe; expected a weight file"):
        read_motion_weights(tmp_path / "mm.ckpt")


@pytest.mark.parametrize("name", ["pickle.safetensors", "safetensors.ckpt"])
def test_the_content_decides_not_the_ending(tmp_path, name):
    content = pickled(tiny_state()) if name.startswith("pickle") else to_bytes(tiny_state())
    (tmp_path / name).write_bytes(content)
    state = read_motion_weights(tmp_path / name).state
    assert all(torch.equal(state[key], value) for key, value in tiny_state().items())


NESTED = {
    "known": {"state_dict": tiny_state(), "epoch": 3, "animatediff_config": {"x": 1}},
    "twice": {"checkpoint": {"state_dict": tiny_state()}, "step": 1},
    "unknown": {"generator": tiny_state(), "hyper": {"rate": 0.1}},
    "beside an optimizer": {"model": tiny_state(), "optimizer": {"state": {0: {"exp_avg": SOME}}}},
}


@pytest.mark.parametrize("way", NESTED)
def test_nested_pickles_are_read(tmp_path, way):
    torch.save(NESTED[way], tmp_path / "mm.ckpt")
    state = read_motion_weights(tmp_path / "mm.ckpt").state
    assert all(torch.equal(state[key], value) for key, value in tiny_state().items())


def test_two_modules_in_one_pickle_are_named_by_key(tmp_path):
    torch.save({"model": tiny_state(), "ema": tiny_state(1)}, tmp_path / "mm.ckpt")
    with pytest.raises(
        CheckpointError, match=r"holds down_blocks.* twice, as 'model.down_blocks.* and as 'ema.down"
    ):
        read_motion_weights(tmp_path / "mm.ckpt")


def test_a_pickle_that_holds_itself_ends(tmp_path):
    content: dict = {"epoch": 3}
    content["state_dict"] = content
    torch.save(content, tmp_path / "mm.ckpt")
    with pytest.raises(CheckpointError, match="a file without tensors"):
        read_motion_weights(tmp_path / "mm.ckpt")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "got text that is not JSON"),
        ("[" * 50_000, "got JSON with thousands of lists"),
        ("[]", "got a list; expected an object"),
    ],
)
def test_a_folder_with_a_broken_config_is_named(tmp_path, config, message):
    save(tmp_path / "diffusion_pytorch_model.safetensors", tiny_state())
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=rf"config.json: {message}"):
        read_motion_weights(tmp_path)


QUERY = f"{SLOT}.temporal_transformer.transformer_blocks.0.attention_blocks.0.to_q.weight"
VALUE = QUERY.replace("to_q", "to_v")
ENCODING = QUERY.replace("to_q.weight", "pos_encoder.pe")


def without(part: str):
    return {key: value for key, value in tiny_state().items() if part not in key}


MALFORMED = {
    "a slot is missing": (
        without("up_blocks.1.motion_modules.2"),
        r"lacks up_blocks.1.motion_modules.2 \(20 of",
    ),
    "a weight is missing": (without(QUERY), rf"lacks {QUERY} and 0 more of"),
    "an encoding is missing": (without(ENCODING), rf"lacks {ENCODING}"),
    "a shape is wrong": (
        tiny_state() | {QUERY: torch.zeros(32, 16)},
        rf"{QUERY} is \(32, 16\).*expected \(32, 32\)",
    ),
    "a weight is quantised": (
        tiny_state() | {QUERY: torch.zeros(32, 32, dtype=torch.int8)},
        r"to_q.weight is int8, of shape \(32, 32\); expected weights of a float type",
    ),
    "a weight is empty": (
        tiny_state() | {QUERY: torch.zeros(0, 32)},
        rf"{QUERY} is empty, of shape \(0, 32\)",
    ),
    "a number is NaN": (
        tiny_state() | {QUERY: torch.full((32, 32), torch.nan)},
        rf"{QUERY} holds NaN or infinity \(1,024 of 1,024 numbers\)",
    ),
    "a number is infinite": (
        tiny_state() | {QUERY: torch.full((32, 32), -torch.inf).half()},
        rf"{QUERY} holds NaN or infinity",
    ),
    "a float8 number is NaN": (
        tiny_state() | {QUERY: torch.full((32, 32), torch.nan).to(torch.float8_e4m3fn)},
        rf"{QUERY} holds NaN or infinity",
    ),
    "a key is misspelt": (
        {key.replace("to_v", "to_w") if key == VALUE else key: value for key, value in tiny_state().items()},
        rf"lacks {VALUE} and 0 more of .*\(it holds '{VALUE.replace('to_v', 'to_w')}', which belongs to nothing",
    ),
    "a number in a key is huge": (
        {
            key.replace("blocks.0.norms", "blocks.99999999.norms"): value
            for key, value in tiny_state().items()
        },
        r"lacks .* more of \d+ weights",
    ),
    "an encoding is shorter": (
        tiny_state() | {ENCODING: torch.zeros(1, 16, 32)},
        r"expected \(1, 16, 32\)|\(1, 16, 32\)",
    ),
    "a convolution in place of a linear": (
        tiny_state() | {f"{SLOT}.temporal_transformer.proj_in.weight": torch.zeros(32, 32, 1, 1)},
        r"proj_in.weight is \(32, 32, 1, 1\)",
    ),
    "an unknown part": (
        tiny_state() | {f"{SLOT}.temporal_transformer.camera.weight": SOME},
        r"holds .*camera.weight, which AnimateDiff v1 to v3 don't have \(1 such keys\)",
    ),
    "a width no group divides": (
        {
            key: torch.zeros([30 if n == 32 else n for n in value.shape])
            for key, value in tiny_state().items()
        },
        r"is 30; expected widths that 32 groups and 8 heads divide",
    ),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_module_is_refused_by_key_and_shape(tmp_path, fault):
    state, message = MALFORMED[fault]
    with pytest.raises(CheckpointError, match=rf"^mm.safetensors: .*({message})"):
        read_motion_weights(save(tmp_path / "mm.safetensors", state))


NO_DENSE = {
    "sparse": (torch.eye(32).to_sparse(), r"is float32 \(sparse\)"),
    "meta": (torch.zeros(32, 32, device="meta"), r"is float32 \(without values\)"),
    "quantised": (torch.quantize_per_tensor(torch.ones(32, 32), 0.1, 0, torch.qint8), "is qint8"),
    "complex": (torch.zeros(32, 32, dtype=torch.complex64), "is complex64"),
}


@pytest.mark.parametrize("what", NO_DENSE)
def test_tensors_of_a_pickle_that_are_no_numbers_are_refused(tmp_path, what):
    tensor, message = NO_DENSE[what]
    torch.save(tiny_state() | {QUERY: tensor}, tmp_path / "mm.ckpt")
    with pytest.raises(CheckpointError, match=rf"^mm.ckpt: {QUERY} {message}"):
        read_motion_weights(tmp_path / "mm.ckpt")


def test_a_refused_safetensors_file_is_not_loaded(tmp_path):
    """Only the header of a many-gigabyte checkpoint may be read to refuse it."""
    file = open_weights(save(tmp_path / "sd.safetensors", OTHER_KINDS["SD checkpoint"][0]))
    assert identify(file.shapes) == "sd_checkpoint"
    assert file._tensors == {}


def test_a_header_length_that_looks_like_text_is_no_text(tmp_path):
    """0x20 is a blank and the low byte of one in 32 header lengths."""
    state = {"a": torch.zeros(1)}
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(0x20 + 0x100 * 0x7B)
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    assert torch.equal(open_weights(tmp_path / "a.safetensors").load(["a"])["a"], state["a"])


def test_the_fingerprint_changes_with_the_file_and_with_a_folders_files(tmp_path):
    path = save(tmp_path / "mm.safetensors", {"a": SOME})
    before, folder_before = fingerprint(path), fingerprint(tmp_path)
    assert fingerprint(path) == before
    save(path, {"a": SOME, "b": SOME})
    assert fingerprint(path) != before
    assert fingerprint(tmp_path) != folder_before
