"""Every file that is no weights, or not whole, is named for what it is, in one line that says what to do."""

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
from frameloom.tests.support.motion import equal_states, save, tiny_state
from safetensors.torch import save as to_bytes

SOME = torch.zeros(4, 4)


def pickled(content: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return buffer.getvalue()


def headed(text: bytes) -> bytes:
    """A safetensors file's header."""
    return struct.pack("<Q", len(text)) + text


class Shell:
    """Runs a command when unpickled."""

    def __reduce__(self):
        return os.system, ("echo owned",)


WHOLE = to_bytes(tiny_state())
LEGACY = pickled(tiny_state(), _use_new_zipfile_serialization=False)
HALF = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0.4]}} '
PAGE = b"\n<!DOCTYPE html><html><body>Sign in</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"

NO_WEIGHTS = {
    "empty": (b"", r"the file is empty \(0 bytes\)"),
    "web page": (PAGE, r"a web page \(HTML, 49 bytes\).*signed in"),
    "web page without doctype": (b"<HTML lang=en></HTML>", r"a web page"),
    "XML error": (b'<?xml version="1.0"?><Error>denied</Error>', r"a web page"),
    "git-lfs pointer": (POINTER, r"a git-lfs pointer of 65 bytes.*git lfs pull"),
    "JSON answer": (b'{"error":"Access to model is restricted"}', r"a text file that begins '\{\"error\""),
    "text answer": (b"Entry not found", r"a text file that begins 'Entry not found'"),
    "truncated safetensors": (WHOLE[:400_000], r"cut short, \d+ of \d+ bytes; download it again"),
    "truncated header": (WHOLE[:5000], r"cut short, \d+ of \d+ bytes"),
    "half an offset": (headed(HALF) + bytes(4), r"damaged safetensors of 67 bytes"),
    "damaged header": (headed(b"{not json at all"), r"damaged safetensors of 24 bytes"),
    "deep header": (headed(b"{" + b"[" * 50_001), r"damaged safetensors of 50010 bytes"),
    "truncated pickle": (pickled(tiny_state())[:20_000], r"a torch file of 20000 bytes that can't be read"),
    "truncated legacy pickle": (LEGACY[: len(LEGACY) // 2], r": a torch file .*cut short"),
    "pickle with code": (pickled({"x": Shell()}), r"more than tensors.*could run code.*\.safetensors"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(64), r"first bytes are b'\\x89PNG.*neither safetensors nor"),
    "other archive": (zipped("readme.txt"), r"a zip archive that holds 'readme.txt' \(1 files\).*unpack it"),
    "few bytes": (b"\x00\x01\x02", r"its first bytes are"),
    "room without content": (bytes(5000), r"begins with zeros alone, so room was made for its 5000 bytes"),
    "GGUF": (b"GGUF\x03\0\0\0" + bytes(99), r"\(a GGUF file of quantised weights\), neither"),
    "gzip": (b"\x1f\x8b\x08" + bytes(range(99)), r"\(a gzip archive\)"),
    "TorchScript": (zipped("net/data.pkl", "net/code/__torch__/net.py"), r"a TorchScript program; expected"),
    "a tensor alone": (pickled(SOME), r"a file without tensors"),
    "numbers": (pickled({"epoch": 3}), r"a file without tensors"),
}


@pytest.mark.parametrize("kind", NO_WEIGHTS)
def test_what_is_no_weight_file_is_named(tmp_path, capfd, kind):
    content, message = NO_WEIGHTS[kind]
    path = tmp_path / "mm.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"^mm.ckpt.*{message}") as caught:
        read_motion_weights(path)
    assert "\n" not in str(caught.value)
    assert "owned" not in capfd.readouterr().out


def test_a_path_without_a_weight_file_is_named_and_not_waited_for(tmp_path):
    (tmp_path / "text_encoder").mkdir()
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "text_encoder" / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe.ckpt")
    said = {
        "gone.safetensors": r"^gone.safetensors: no such file",
        "text_encoder/empty": r"a folder without diffusion_pytorch_model.safetensors",
        "": r"the folder of a whole diffusers pipeline \(model_index.json",
        "text_encoder": r"^text_encoder: the part text_encoder of a diffusers pipeline",
        "pipe.ckpt": r"^pipe.ckpt: a device or a pipe; expected a weight file",
    }
    for name, message in said.items():
        with pytest.raises(CheckpointError, match=message):
            read_motion_weights(tmp_path / name)


@pytest.mark.parametrize("content", [pickled(tiny_state()), WHOLE, LEGACY], ids=["pickle", "whole", "legacy"])
@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
def test_the_content_decides_not_the_ending(tmp_path, content, ending):
    path = tmp_path / f"mm.{ending}"
    path.write_bytes(content)
    assert equal_states(read_motion_weights(path).state, tiny_state())


NESTED = {
    "known": {"state_dict": tiny_state(), "epoch": 3, "animatediff_config": {"x": 1}},
    "twice": {"checkpoint": {"state_dict": tiny_state()}, "step": 1},
    "unknown": {"generator": tiny_state(), "hyper": {"rate": 0.1}},
    "beside an optimizer": {"model": tiny_state(), "optimizer": {"state": {0: {"exp_avg": SOME}}}},
}


@pytest.mark.parametrize("way", NESTED)
def test_nested_pickles_are_read(tmp_path, way):
    torch.save(NESTED[way], tmp_path / "mm.ckpt")
    assert equal_states(read_motion_weights(tmp_path / "mm.ckpt").state, tiny_state())


def test_two_modules_in_one_pickle_are_named_by_key(tmp_path):
    torch.save({"model": tiny_state(), "ema": tiny_state(1)}, tmp_path / "mm.ckpt")
    with pytest.raises(
        CheckpointError, match=r"holds down_blocks.* twice, as 'model.down.* and as 'ema.down"
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


SLOT = "down_blocks.0.motion_modules.0.temporal_transformer"
QUERY = f"{SLOT}.transformer_blocks.0.attention_blocks.0.to_q.weight"
VALUE = QUERY.replace("to_q", "to_v")
ENCODING = QUERY.replace("to_q.weight", "pos_encoder.pe")


def without(part: str):
    return {key: value for key, value in tiny_state().items() if part not in key}


def with_query(value: float, dtype: torch.dtype = torch.float32, shape: tuple[int, ...] = (32, 32)):
    return tiny_state() | {QUERY: torch.full(shape, value).to(dtype)}


def renamed(old: str, new: str):
    return {key.replace(old, new): value for key, value in tiny_state().items()}


MALFORMED = {
    "a slot is missing": (
        without("up_blocks.1.motion_modules.2"),
        r"lacks up_blocks.1.motion_modules.2 \(20",
    ),
    "a weight is missing": (without(QUERY), rf"lacks {QUERY} and 0 more of"),
    "an encoding is missing": (without(ENCODING), rf"lacks {ENCODING}"),
    "a shape is wrong": (with_query(0, shape=(32, 16)), rf"{QUERY} is \(32, 16\).*expected \(32, 32\)"),
    "a weight is quantised": (with_query(0, torch.int8), r"is int8, of shape \(32, 32\); expected weights"),
    "a weight is empty": (with_query(0, shape=(0, 32)), rf"{QUERY} is empty, of shape \(0, 32\)"),
    "a number is NaN": (with_query(torch.nan), rf"{QUERY} holds NaN or infinity \(1,024 of 1,024 numbers\)"),
    "a number is infinite": (with_query(-torch.inf, torch.float16), rf"{QUERY} holds NaN or infinity"),
    "a float8 number is NaN": (with_query(torch.nan, torch.float8_e4m3fn), rf"{QUERY} holds NaN or infinity"),
    "a key is misspelt": (
        renamed(VALUE, VALUE.replace("to_v", "to_w")),
        rf"lacks {VALUE} and 0 more of .*\(it holds '{VALUE.replace('to_v', 'to_w')}', which belongs to nothing",
    ),
    "a number in a key is huge": (renamed("blocks.0.norms", "blocks.99999999.norms"), r"lacks .* of \d+ wei"),
    "an encoding is shorter": (tiny_state() | {ENCODING: torch.zeros(1, 16, 32)}, r"\(1, 16, 32\)"),
    "a convolution in place of a linear": (
        tiny_state() | {f"{SLOT}.proj_in.weight": torch.zeros(32, 32, 1, 1)},
        r"proj_in.weight is \(32, 32, 1, 1\)",
    ),
    "an unknown part": (
        tiny_state() | {f"{SLOT}.camera.weight": SOME},
        r"holds .*camera.weight, which AnimateDiff v1 to v3 don't have \(1 such keys\)",
    ),
    "a width no group divides": (
        {key: torch.zeros([30 if n == 32 else n for n in each.shape]) for key, each in tiny_state().items()},
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
    file = open_weights(save(tmp_path / "sd.safetensors", {"model.diffusion_model.out.2.bias": SOME}))
    assert identify(file.shapes) == "sd_checkpoint"
    assert file._tensors == {}


def test_a_header_length_that_looks_like_text_is_no_text(tmp_path):
    """0x20 is a blank and the low byte of one in 32 header lengths."""
    state = {"a": torch.zeros(1)}
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(0x20 + 0x100 * 0x7B)
    (tmp_path / "a.safetensors").write_bytes(headed(header) + bytes(4))
    assert torch.equal(open_weights(tmp_path / "a.safetensors").load(["a"])["a"], state["a"])


def test_the_fingerprint_changes_with_the_file_and_with_a_folders_files(tmp_path):
    path = save(tmp_path / "mm.safetensors", {"a": SOME})
    before, folder_before = fingerprint(path), fingerprint(tmp_path)
    assert fingerprint(path) == before
    save(path, {"a": SOME, "b": SOME})
    assert fingerprint(path) != before
    assert fingerprint(tmp_path) != folder_before
