"""Read motion modules for SD1.5 and SDXL from any layout in use, and tell which version each is.

Layouts: AnimateDiff's (with or without ``module.``, nested, or inside a whole UNet), diffusers' MotionAdapter (folder
or file), HotshotXL's, PIA's in AnimateDiff's or diffusers' (of whose first convolution the channels behind the noisy
latents' are kept), ours (AnimateDiff's keys plus metadata, which wins over what keys suggest; encoders under
``mask_encoder.conv.weight`` and ``picture_encoder.conv.weight``, which AnimateDiff-Evolved drops and diffusers warns
about).

Source: key layouts of https://github.com/guoyww/AnimateDiff, https://github.com/hotshotco/Hotshot-XL and of
diffusers' ``MotionAdapter``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..files.weight_file import WeightFile, find_nearest, open_weights
from ..files.weight_kind import Kind, expect
from ..network.layers import positional_encoding
from ..network.unet import SD1, SDXL, UNetSize
from ..video.schedules import ANIMATEDIFF, ANIMATEDIFF_SDXL, ANIMATELCM_I2V, BetaName, BetaSchedule
from .few_steps import CONSISTENCY, FewStepSettings, from_name, read_few_steps, write_few_steps
from .image_encoder import PREFIX
from .mask_adapter import LATENT_CHANNELS, MASK_KEY
from .module import MotionModel, MotionSize
from .pia import PIA_CHANNELS, PIA_KEY, PICTURE_KEY

Family = Literal[
    "v1", "v2", "v3", "animatelcm", "animatelcm_i2v", "pia", "animatediff_sdxl", "hotshotxl", "frameloom"
]
SDXL_KINDS: tuple[Kind, ...] = ("sdxl_motion", "hotshotxl")
MODULE_KINDS: tuple[Kind, ...] = ("motion", "pia", "animatelcm_i2v", *SDXL_KINDS)
WANTED = "an AnimateDiff motion module for SD1.5 or SDXL"
MID_SLOT = "mid_block.motion_modules.0"
# AnimateLCM stores no positional encoding; its longest clip. The sinusoids of a shorter one are a prefix of it.
_LCM_FRAMES = 64
_HOTSHOT_FRAMES = 24

ENCODERS = (MASK_KEY, PICTURE_KEY, PREFIX)  # what keys of encoders begin with

_SLOT_KEY = re.compile(
    r"(?:^|\.)(down_blocks\.\d+|up_blocks\.\d+|mid_block)\.(?:motion_modules|temporal_attentions)\.(\d+)\.(.+)$"
)
_FROM_DIFFUSERS = {
    "attn1": "attention_blocks.0",
    "attn2": "attention_blocks.1",
    "norm1": "norms.0",
    "norm2": "norms.1",
    "norm3": "ff_norm",
}
_TO_DIFFUSERS = {ours: theirs for theirs, ours in _FROM_DIFFUSERS.items()}
_DIFFUSERS_PART = re.compile(r"(transformer_blocks\.\d+\.)(attn1|attn2|norm1|norm2|norm3)(?=\.)")
_OUR_PART = re.compile(
    r"(transformer_blocks\.\d+\.)(attention_blocks\.0|attention_blocks\.1|norms\.0|norms\.1|ff_norm)(?=\.)"
)
_OUR_ENCODING = re.compile(r"attention_blocks\.(\d+)\.pos_encoder\.pe$")
_DIFFUSERS_ENCODING = ".pos_embed.pe"
_FIRST_DOWN = re.compile(r"down_blocks\.\d+\.motion_modules\.0$")


@dataclass(frozen=True)
class MotionWeights:
    """A motion module's weights and what was found out about them.

    Attributes:
        name: name of its file, for messages.
        family: kind of module.
        size: sizes of the module.
        state: tensors keyed as ``MotionModel.state_dict()``, positional encodings included.
        beta_schedule: noise schedule of its training; None: the base model's own.
        clip_norm: True where the UNet's residual norms were taken over the whole clip in training (v1, PIA, HotshotXL).
        few_steps: settings to sample it with, if it is a few-step module.
    """

    name: str
    family: Family
    size: MotionSize
    state: Mapping[str, Tensor]
    beta_schedule: BetaSchedule | None
    clip_norm: bool = False
    few_steps: FewStepSettings | None = field(default=None, compare=False)

    def with_encoder(self, key: str) -> MotionWeights:
        """Return the module with an encoder, ``MASK_KEY`` or ``PICTURE_KEY``: its own, or a new one, which is zero."""
        if key in self.state:
            return self
        like = next(iter(self.state.values()))
        encoder = like.new_zeros(self.size.stem, LATENT_CHANNELS + 1, 3, 3)
        size = replace(self.size, **{key.partition(".")[0]: True})
        return replace(self, size=size, state={**self.state, key: encoder})


def read_motion_weights(path: str | Path) -> MotionWeights:
    """Read a motion module.

    Args:
        path: a weight file, or a diffusers MotionAdapter folder.

    Returns:
        Its weights, on the CPU, in the file's dtypes.

    Raises:
        CheckpointError: the file can't be read, is something else (said which, and where that belongs), or lacks or
            misshapes some weights.
    """
    file = open_weights(path)
    return _read(file, file.load)


def describe_motion_weights(path: str | Path) -> MotionWeights:
    """Return what ``read_motion_weights`` does, with tensors of the meta device: of safetensors a header is read."""
    file = open_weights(path)
    return _read(file, lambda keys: {key: torch.empty(file.shapes[key], device="meta") for key in keys})


def _read(file: WeightFile, load: Callable[[Iterable[str]], dict[str, Tensor]]) -> MotionWeights:
    kind = expect(file.name, file.shapes, MODULE_KINDS, WANTED)
    keys = _find_keys(file)
    state = load(keys.values())
    state = share_encodings({ours: state[key] for ours, key in keys.items()})
    if (widened := state.pop(PIA_KEY, None)) is not None:
        state[PICTURE_KEY] = widened[:, LATENT_CHANNELS:].clone()
    return _build(file, state, kind)


def motion_key(key: str) -> str | None:
    """Return a tensor's name in ``MotionModel``, from AnimateDiff's or diffusers' key; None if it is not of a slot.

    Examples:
        >>> motion_key("module.down_blocks.0.motion_modules.1.transformer_blocks.0.attn2.to_q.weight")
        'down_blocks.0.motion_modules.1.temporal_transformer.transformer_blocks.0.attention_blocks.1.to_q.weight'
    """
    found = _SLOT_KEY.search(key)
    if found is None:
        return None
    part, index, rest = found.groups()
    rest = rest.removeprefix("temporal_transformer.").replace(
        "pos_encoder.positional_encoding", "pos_encoder.pe"
    )
    rest = _DIFFUSERS_PART.sub(lambda part: part.group(1) + _FROM_DIFFUSERS[part.group(2)], rest)
    return f"{part}.motion_modules.{index}.temporal_transformer.{rest}"


def to_diffusers(weights: MotionWeights) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Rename to diffusers' MotionAdapter; nothing but names changes. It has no place for encoders.

    Returns:
        The state dict, and the arguments of ``MotionAdapter`` (its ``config.json``).

    Raises:
        CheckpointError: the module has two different positional encodings in one block, which diffusers can't hold.
    """
    state: dict[str, Tensor] = {}
    for key, tensor in weights.state.items():
        if key.startswith(ENCODERS):
            continue
        name = key.replace(".temporal_transformer.", ".")
        if _OUR_ENCODING.search(name):
            name = _OUR_ENCODING.sub(_DIFFUSERS_ENCODING.removeprefix("."), name)
            if name in state and not torch.equal(state[name], tensor):
                raise CheckpointError(
                    f"{weights.name}: {key} differs from the block's other positional encoding; diffusers holds one "
                    "a block; keep this module in AnimateDiff's layout."
                )
        state[_OUR_PART.sub(lambda part: part.group(1) + _TO_DIFFUSERS[part.group(2)], name)] = tensor
    size = weights.size
    config = {
        "block_out_channels": [width for slot, width in size.channels.items() if _FIRST_DOWN.match(slot)],
        "motion_layers_per_block": 2,
        "motion_mid_block_layers_per_block": 1,
        "motion_num_attention_heads": size.heads,
        "motion_norm_num_groups": 32,
        "motion_max_seq_length": size.max_frames,
        "use_motion_mid_block": MID_SLOT in size.channels,
        "conv_in_channels": None,
    }
    return state, config


def pack_motion(weights: MotionWeights) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a file from which ``read_motion_weights`` reads the same again.

    Keys are AnimateDiff's. A file without positional encodings is one of AnimateLCM's, so they are always in.

    Raises:
        CheckpointError: it reads a camera; its projections have a file of their own.
    """
    if weights.size.camera:
        raise CheckpointError(
            f"motion: got {weights.name} with MotionCtrl's projections, which no loader reads along with a module; "
            "expected one without; save what goes into MotionCtrl Camera."
        )
    metadata = {
        "frameloom.kind": "motion",
        "frameloom.family": weights.family,
        "frameloom.heads": str(weights.size.heads),
    }
    if weights.beta_schedule is not None:
        metadata["frameloom.beta_schedule"] = weights.beta_schedule.name
    metadata |= write_few_steps(weights.few_steps)
    return {key: tensor.contiguous() for key, tensor in weights.state.items()}, metadata


def check_fit(weights: MotionWeights, channels: Mapping[str, int]) -> None:
    """Raise CheckpointError unless a motion module fits a base model of these widths, by slot name."""
    for slot, width in weights.size.channels.items():
        if channels.get(slot) != width:
            raise CheckpointError(
                f"{weights.name}: {slot} is {width} channels wide, the model has {channels.get(slot, 0)} there; "
                "expected a module and a model of one family; use the demo's module with the demo model, others "
                "with SD1.5, or with SDXL if they are for it."
            )


def _find_keys(file: WeightFile) -> dict[str, str]:
    """Map the names of a ``MotionModel``'s tensors to the file's keys."""
    keys: dict[str, str] = {}
    for key in file.shapes:
        bare = key.removeprefix("module.")
        ours = bare if bare.startswith(ENCODERS) else motion_key(key)
        if ours is None and key.endswith(PIA_KEY) and file.shapes[key][1:2] == (PIA_CHANNELS,):
            ours = PIA_KEY
        if ours in keys:
            raise CheckpointError(
                f"{file.name}: holds {ours} twice, as {keys[ours]!r} and as {key!r}; expected one motion module; save "
                "one of the two alone."
            )
        if ours is not None:
            keys[ours] = key
    return keys


def share_encodings(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give every attention of a block the one encoding that diffusers keeps a block."""
    shared = {key: tensor for key, tensor in state.items() if key.endswith(_DIFFUSERS_ENCODING)}
    for key, tensor in shared.items():
        del state[key]
        block = key.removesuffix(_DIFFUSERS_ENCODING)
        for query in [name for name in state if name.startswith(block) and name.endswith(".to_q.weight")]:
            state[query.removesuffix("to_q.weight") + "pos_encoder.pe"] = tensor
    return state


def _build(file: WeightFile, state: dict[str, Tensor], kind: Kind) -> MotionWeights:
    size, stores_encoding = _measure(file, state, SDXL if kind in SDXL_KINDS else SD1)
    if not stores_encoding:
        for query in [key for key in state if key.endswith(".to_q.weight")]:
            width = size.channels.get(query.partition(".temporal_transformer.")[0], 2)
            encoding = positional_encoding(size.max_frames, width)
            state[query.removesuffix("to_q.weight") + "pos_encoder.pe"] = encoding.to(state[query].dtype)
    _check_complete(file, size, state)
    family, beta_schedule = _recognise(file, size, stores_encoding, kind)
    if _is_as_animatediff_sdxl(family, kind):
        size = replace(size, norm_scope="clip")
    few_steps = read_few_steps(file.name, file.metadata) or from_name(file.name)
    if family in ("animatelcm", "animatelcm_i2v"):
        few_steps = CONSISTENCY
    clip_norm = family in ("v1", "pia", "hotshotxl")
    return MotionWeights(file.name, family, size, state, beta_schedule, clip_norm, few_steps)


def _measure(file: WeightFile, state: Mapping[str, Tensor], unet: UNetSize) -> tuple[MotionSize, bool]:
    """Read the sizes off the tensors; the flag says whether positional encodings are stored."""
    channels: dict[str, int] = {}
    for slot in unet.slots:
        norm = state.get(f"{slot}.temporal_transformer.norm.weight")
        if norm is not None and norm.dim() == 1:
            channels[slot] = norm.shape[0]
    absent = [slot for slot in unet.slots if slot not in channels and slot != MID_SLOT]
    if absent:
        raise CheckpointError(
            f"{file.name}: lacks {absent[0]} ({len(channels)} of at least {len(unet.slots) - 1} slots found); "
            "expected a whole motion module; download it again, or choose another."
        )
    encodings = [tensor for key, tensor in state.items() if key.endswith("pos_encoder.pe")]
    heads = _setting(file, "motion_num_attention_heads", file.metadata.get("frameloom.heads", 8))
    longest = _setting(file, "motion_max_seq_length", _LCM_FRAMES)
    narrow = next((slot for slot, width in channels.items() if width % 32 or width % heads), None)
    if narrow is not None or file.config.get("motion_norm_num_groups", 32) != 32:
        raise CheckpointError(
            f"{file.name}: {narrow or 'motion_norm_num_groups'} is {channels.get(narrow or '', file.config)}; expected "
            f"widths that 32 groups and {heads} heads divide; choose another module."
        )
    return MotionSize(
        channels=channels,
        max_frames=encodings[0].shape[1] if encodings and encodings[0].dim() == 3 else longest,
        heads=heads,
        blocks=_count(state, r"transformer_blocks\.(\d+)\."),
        attentions=_count(state, r"attention_blocks\.(\d+)\."),
        mask_encoder=MASK_KEY in state,
        picture_encoder=PICTURE_KEY in state,
        image_encoder=any(key.startswith(PREFIX) for key in state),
    ), bool(encodings)


def _setting(file: WeightFile, name: str, default: int | str) -> int:
    """Return a whole number of the config."""
    value = str(file.config.get(name, default))
    if not value.isdecimal() or len(value) > 4 or int(value) < 1:
        raise CheckpointError(
            f"{file.name}: {name} is {value[:40]!r}; expected a whole number from 1 to 9999; correct its config, or "
            "download it again."
        )
    return int(value)


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """Return how many different numbers keys have in one place; a number beyond them is then a key too many."""
    return max(1, len({found.group(1) for key in state if (found := re.search(pattern, key))}))


def _check_complete(file: WeightFile, size: MotionSize, state: Mapping[str, Tensor]) -> None:
    """Compare with the network these sizes give."""
    name = file.name
    wanted = {key: tuple(value.shape) for key, value in MotionModel(size, device="meta").state_dict().items()}
    missing = [key for key in wanted if key not in state]
    extra = [key for key in state if key not in wanted]
    if missing:
        others = [*extra, *(key for key in file.shapes if motion_key(key) is None)]
        raise CheckpointError(
            f"{name}: lacks {missing[0]} and {len(missing) - 1} more of {len(wanted)} weights"
            f"{find_nearest(missing[0], others)}; expected a whole motion module; download it again."
        )
    if extra:
        raise CheckpointError(
            f"{name}: holds {extra[0]}, which AnimateDiff v1 to v3 don't have ({len(extra)} such keys); choose a plain "
            "AnimateDiff module for SD1.5."
        )
    for key, shape in wanted.items():
        if tuple(state[key].shape) != shape:
            raise CheckpointError(
                f"{name}: {key} is {tuple(state[key].shape)}; expected {shape}; download it again, or choose another "
                "module."
            )


def _is_as_animatediff_sdxl(family: str, kind: Kind) -> bool:
    """Tell whether a module is AnimateDiff's for SDXL, or one that learned here as that one did."""
    return family == "animatediff_sdxl" or (family == "frameloom" and kind in SDXL_KINDS)


def _recognise(
    file: WeightFile, size: MotionSize, stores_encoding: bool, kind: Kind
) -> tuple[Family, BetaSchedule | None]:
    """Tell the version: metadata first, then the rules by which the released files differ."""
    if file.metadata.get("frameloom.kind") == "motion":
        family = file.metadata.get("frameloom.family", "frameloom")
        schedule = file.metadata.get("frameloom.beta_schedule")
        if family not in get_args(Family) or schedule not in (None, *get_args(BetaName)):
            raise CheckpointError(
                f"{file.name}: its metadata says family={family!r}, beta_schedule={schedule!r}; expected one of "
                f"{get_args(Family)} and {get_args(BetaName)}; use a newer Frameloom, or save the module again."
            )
        known = None if schedule is None else BetaSchedule(cast(BetaName, schedule))
        if family == "animatelcm_i2v" and known == ANIMATEDIFF:  # a name does not say where a schedule ends
            known = ANIMATELCM_I2V
        if known is not None and _is_as_animatediff_sdxl(family, kind):
            known = ANIMATEDIFF_SDXL
        return cast(Family, family), known
    if kind in SDXL_KINDS:  # HotshotXL's goes about under AnimateDiff's keys, too; its encoding is shorter
        is_hotshot = kind == "hotshotxl" or size.max_frames == _HOTSHOT_FRAMES
        return ("hotshotxl", None) if is_hotshot else ("animatediff_sdxl", ANIMATEDIFF_SDXL)
    if size.picture_encoder:
        return "pia", ANIMATEDIFF
    if size.image_encoder:
        return "animatelcm_i2v", ANIMATELCM_I2V
    if not stores_encoding or size.max_frames == _LCM_FRAMES:
        return "animatelcm", ANIMATEDIFF
    if MID_SLOT in size.channels:
        return "v2", ANIMATEDIFF
    return ("v3" if size.max_frames == 32 else "v1"), ANIMATEDIFF
