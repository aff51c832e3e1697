"""Read CameraCtrl's files: its authors' (two dicts, which may say ``module.``), or flat as AnimateDiff-Evolved has it.

Source: key layouts of https://github.com/hehao13/CameraCtrl.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import CheckpointError
from ..files.weight_file import WeightFile, open_weights, require
from ..files.weight_kind import bare_key, expect
from ..network.unet import SD1
from .camera_ctrl import CameraNetwork, CameraSize, CameraWeights

_MERGE = re.compile(
    r"(?P<slot>[\w.]+\.motion_modules\.\d+)\.temporal_transformer\.transformer_blocks\.0\.attention_blocks\.0\.processor"
    r"\.qkv_merge\.(?P<part>weight|bias)"
)
_FIRST = "encoder_conv_in.weight"
WANTED = "CameraCtrl's camera encoder and its projections"


def read_camera_weights(path: str | Path) -> CameraWeights:
    """Read a file of CameraCtrl's.

    Raises:
        CheckpointError: the file can't be read, is something else (said which, and where that belongs), or lacks,
            misshapes or has too much of something.
    """
    file = open_weights(path)
    expect(file.name, file.shapes, ("cameractrl",), WANTED)
    keys = {camera_key(key): key for key in file.shapes}
    size = _measure(file, keys)
    wanted = {
        key: tuple(tensor.shape) for key, tensor in CameraNetwork(size, device="meta").state_dict().items()
    }
    extra = next((key for ours, key in keys.items() if ours not in wanted), None)
    if extra is not None or len(keys) < len(file.shapes):
        raise CheckpointError(
            f"{file.name}: holds {extra or 'a tensor twice'}, which CameraCtrl for SD1.5 doesn't have; expected "
            f"{WANTED} alone; choose its authors' file, or download it again."
        )
    require(file, {keys.get(ours, ours): shape for ours, shape in wanted.items()}, WANTED)
    state = file.load(keys.values())
    return CameraWeights(file.name, size, {ours: state[key] for ours, key in keys.items()})


def camera_key(key: str) -> str:
    """Return a tensor's name in ``CameraNetwork``, from its name in a file.

    Examples:
        >>> camera_key("module.encoder_conv_in.bias")
        'encoder_conv_in.bias'
    """
    key = bare_key(key)
    found = _MERGE.fullmatch(key)
    return key if found is None else f"merges.{found['slot'].replace('.', '-')}.{found['part']}"


def _measure(file: WeightFile, keys: dict[str, str]) -> CameraSize:
    """Return the sizes of what a file holds."""
    shapes = {ours: file.shapes[key] for ours, key in keys.items()}
    merges = {slot: shapes.get(f"merges.{slot.replace('.', '-')}.bias", ())[:1] for slot in SD1.slots}
    levels = len({key.split(".")[1] for key in shapes if key.startswith("encoder_down_conv_blocks.")})
    firsts = [
        shapes.get(f"encoder_down_conv_blocks.{level}.0.block1.weight", ())[:1] for level in range(levels)
    ]
    blocks = len({key.split(".")[2] for key in shapes if key.startswith("encoder_down_conv_blocks.0.")})
    encoding = "encoder_down_attention_blocks.0.0.attention_blocks.0.pos_encoder.pe"
    if _FIRST not in shapes or levels != len(SD1.levels) or not all(firsts) or not any(merges.values()):
        lacks = (
            "encoder"
            if _FIRST not in shapes or levels != len(SD1.levels) or not all(firsts)
            else "projections"
        )
        raise CheckpointError(
            f"{file.name}: holds only a part of CameraCtrl, without its {lacks}; expected {WANTED}; download the whole "
            "file again."
        )
    return CameraSize(
        widths=tuple(width for (width,) in firsts),
        merges={slot: width[0] for slot, width in merges.items() if width},
        blocks=blocks,
        max_frames=shapes.get(encoding, (1, 16))[1],
    )
