"""GLIGEN: an entity's text and box as a token that the UNet's self-attention reads, frame by frame.

Owns the networks in the key layout of ``gligen_sd14_textbox_pruned`` and its like, the boxes of a clip as they read
them, and when they act. Between self- and cross-attention of each transformer of the UNet comes

    x <- x + tanh(alpha_attn) A(LN([x; W t]));    x <- x + tanh(alpha_dense) FF(LN(x))

with x a picture's tokens, A self-attention, of whose answer x's places are kept, and t = MLP([text, features(box)]) a
token for each entity; features are sin(100^(i/8) c), cos(100^(i/8) c), i = 0 .. 7, of each coordinate c of a box.

Source: GLIGEN (Li et al. 2023), https://arxiv.org/abs/2301.07093, sections 3 and 4; boxes for each frame as in
VideoDirectorGPT (Lin et al. 2023), https://arxiv.org/abs/2309.15091.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..edits.call import Call
from ..edits.edit import Change, Edit, Part
from ..errors import CheckpointError
from ..files.weight_file import open_weights, require
from ..files.weight_kind import expect
from ..network.layers import FeedForward, attend
from ..network.unet import UNetSize
from ..video.frames import check_length
from ..video.shapes import Boxes, Ids, Presence

MAX_ENTITIES = 30  # boxes a picture in GLIGEN's training
GROUNDING = "grounding"  # key of a condition's payload
SD1_WIDTH = 768  # of SD1.x's text; GLIGEN's files do not store heads, and with this width there are 8
HEADS, HEAD_WIDTH = 8, 64
FREQUENCIES, TEMPERATURE = 8, 100.0
INNER = 512
_FUSER = re.compile(r"(input_blocks|middle_block|output_blocks)\.(\d+)\..*fuser\.(.+)")
_POSITION = "position_net."
_PARTS = ("input_blocks", "middle_block", "output_blocks")
_WANTED = "a GLIGEN file for text and boxes"

Track = tuple[Boxes, Presence]


@dataclass(frozen=True, eq=False)
class Grounding:
    """Entities of a clip as GLIGEN reads them."""

    boxes: Tensor  # [F, N, 4] float, as ``Boxes``
    present: Tensor  # [F, N] bool
    embeddings: Tensor  # [N, D] float, of each entity's text as a whole

    def __post_init__(self) -> None:
        """Check the number of entities."""
        if len(self.embeddings) > MAX_ENTITIES:
            raise ValueError(
                f"GLIGEN: got {len(self.embeddings)} boxes in a frame; expected at most {MAX_ENTITIES}, as it was "
                "trained with; leave some out."
            )

    @classmethod
    def of(cls, entities: Iterable[tuple[Tensor, Track]]) -> Grounding:
        """Put entities together, at least one: each its embedding, [1, D], and its track."""
        embeddings, tracks = zip(*entities, strict=True)
        boxes, present = zip(*tracks, strict=True)
        return cls(torch.stack(boxes, 1), torch.stack(present, 1), torch.cat(embeddings))

    def at(self, frame_ids: Ids) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes [F, 30, 4], 1 where there is one [F, 30], and embeddings [F, 30, D] of some frames, float32."""
        check_length(frame_ids, len(self.boxes))
        chosen, room = list(frame_ids), MAX_ENTITIES - len(self.embeddings)
        pad = nn.functional.pad
        embeddings = pad(self.embeddings.float(), (0, 0, 0, room)).to(self.boxes.device)
        return (
            pad(self.boxes[chosen].float(), (0, 0, 0, room)),
            pad(self.present[chosen].float(), (0, room)),
            embeddings.expand(len(chosen), -1, -1),
        )


def ground(network: Any, groundings: Sequence[Grounding | None], frame_ids: Ids) -> Change:
    """Return what a ``Gligen``, or ComfyUI's, does to a batch of clips; its tokens t are made once.

    A clip without a grounding reads the null set, as prompts without boxes did in training.

    Raises:
        ValueError: a frame lies behind the scene's end, or the texts' width is not the network's.
    """
    width, frames = network.position_net.in_dim, len(frame_ids)
    null = torch.zeros(frames, MAX_ENTITIES, 4), torch.zeros(frames, MAX_ENTITIES)
    for each in groundings:
        if each is not None and each.embeddings.shape[-1] != width:
            raise ValueError(
                f"GLIGEN: got texts {each.embeddings.shape[-1]} wide; expected {width}; choose a GLIGEN file for this "
                "text encoder."
            )
    rows = [
        (*null, torch.zeros(frames, MAX_ENTITIES, width)) if each is None else each.at(frame_ids)
        for each in groundings
    ]
    inputs = [torch.cat(part) for part in zip(*rows, strict=True)]
    made: list[Tensor] = []

    def change(tokens: Tensor, number: int) -> Tensor:
        if not made:
            made.append(network.position_net(*(part.to(tokens.device) for part in inputs)))
        return network.module_list[number](tokens, made[0].to(tokens))

    return change


@dataclass(frozen=True)
class GligenEdit(Part):
    """Ground entities in their boxes; an ``Edit``'s ``between``."""

    network: Any  # value of the host's GLIGEN socket
    end_percent: float = 0.3  # part of sampling after which it is over, as ``Call.progress``; 0: never acts
    strength: float = 1.0  # factor on the change; 0 leaves the model bit-identical

    KEY: ClassVar[Mapping[str, str]] = {"type": "GligenEdit", "network": "Gligen"}

    @property
    def networks(self) -> tuple[Any, ...]:
        """The layers."""
        return (self.network,)

    def with_networks(self, networks: Sequence[Any]) -> GligenEdit:
        """Return the same edit with other layers."""
        (network,) = networks
        return replace(self, network=network)

    def check_fit(self, network: UNetSize) -> None:
        """Check that the layers are for a network."""
        check_fit(self.network, network)

    def check(self, edits: Sequence[Edit], conditions: Sequence[Mapping[str, Any]]) -> None:
        """Refuse boxes that core's node hung on a condition: both would act."""
        hung = [options["gligen"] for options in conditions if options.get("gligen") is not None]
        for kind, *_ in hung:
            check_boxes(kind)
        if hung:
            raise ValueError(
                "conditioning: got boxes of GLIGENTextBoxApply on a model with GLIGEN from Layout Conditioning; "
                "expected one of the two; leave one out."
            )

    def change(self, call: Call) -> Change | None:
        """Return what it does in a model call, as ``ground``; None: nothing."""
        if self.strength == 0 or self.end_percent == 0 or call.progress > self.end_percent:
            return None
        chunks = [
            condition.payload.get(GROUNDING) for condition in call.conditions for _ in range(call.videos)
        ]
        change = ground(self.network, chunks, call.frame_ids)
        if self.strength == 1:
            return change
        return lambda tokens, number: tokens + self.strength * (change(tokens, number) - tokens)


def check_boxes(kind: str) -> None:
    """Refuse boxes of a kind that another node hung on a condition, where they would not do what they say.

    Raises:
        ValueError: ComfyUI does not know the kind.
    """
    if kind != "position":
        raise ValueError(
            f"conditioning: got GLIGEN boxes of kind {kind!r} (of KJNodes' GLIGENTextBoxApplyBatchCoords, say), which "
            "ComfyUI leaves out without a word; expected 'position'; give boxes that move to Layout Conditioning, as a "
            "storyboard."
        )


def check_fit(network: Any, unet: UNetSize) -> None:
    """Check that the layers of a ``Gligen``, or of ComfyUI's, are for a UNet.

    Raises:
        CheckpointError: they are not.
    """
    widths = [layer.place.width for layer in unet.layers if layer.depth == 0]
    own = [layer.norm1.normalized_shape[0] for layer in network.module_list]
    if own != widths:
        raise CheckpointError(
            f"GLIGEN: got {len(own)} layers of widths {sorted(set(own))}; expected {len(widths)} of widths "
            f"{sorted(set(widths))} for this model; choose a GLIGEN file for SD1.5."
        )


class PositionNet(nn.Module):
    """Texts and boxes to tokens.

    Shape:
        [B, N, 4], [B, N], [B, N, D] -> [B, N, D'].

    State:
        null_positive_feature [D], null_position_feature [64], linears.0, linears.2, linears.4.
    """

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        places = 4 * 2 * FREQUENCIES
        self.in_dim = in_dim
        self.null_positive_feature = nn.Parameter(torch.zeros(in_dim))
        self.null_position_feature = nn.Parameter(torch.zeros(places))
        self.linears = nn.Sequential(
            nn.Linear(in_dim + places, INNER),
            nn.SiLU(),
            nn.Linear(INNER, INNER),
            nn.SiLU(),
            nn.Linear(INNER, out_dim),
        )

    def forward(self, boxes: Tensor, masks: Tensor, embeddings: Tensor) -> Tensor:
        """Return the tokens; where a mask is 0, the learned null features stand for both text and box."""
        present = masks[..., None]
        text = torch.lerp(self.null_positive_feature.expand_as(embeddings), embeddings, present)
        places = fourier_features(boxes)
        places = torch.lerp(self.null_position_feature.expand_as(places), places, present)
        return self.linears(torch.cat([text, places], -1))


def fourier_features(boxes: Tensor) -> Tensor:
    """Return features(box) of boxes [..., 4], [..., 64]: the four sines of a frequency, then its four cosines."""
    frequencies = TEMPERATURE ** (torch.arange(FREQUENCIES, device=boxes.device) / FREQUENCIES)
    angles = frequencies[:, None] * boxes[..., None, :]
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, tokens: Tensor) -> Tensor:
        return self.to_out[0](attend(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens), self.heads))


class GatedSelfAttentionDense(nn.Module):
    """A gated self-attention over a picture's tokens and its entities', and a gated feed-forward.

    Shape:
        [N, L, C], [N, 30, D] -> [N, L, C].

    State:
        linear, attn, ff, norm1, norm2, alpha_attn, alpha_dense.
    """

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.linear = nn.Linear(context, width)
        self.attn = _Attention(width, HEADS if context == SD1_WIDTH else width // HEAD_WIDTH)
        self.ff = FeedForward(width, nn)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.alpha_attn, self.alpha_dense = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def forward(self, tokens: Tensor, entities: Tensor) -> Tensor:
        """Return the picture's tokens."""
        both = self.norm1(torch.cat([tokens, self.linear(entities)], 1))
        tokens = tokens + self.alpha_attn.tanh() * self.attn(both)[:, : tokens.shape[1]]
        return tokens + self.alpha_dense.tanh() * self.ff(self.norm2(tokens))


class Gligen(nn.Module):
    """The layers of a file, in the order in which a UNet runs its transformers."""

    def __init__(self, widths: Sequence[int], context: int, text: int) -> None:
        """Build it with weights of any values, by the widths of the UNet's transformers, of t, and of a text."""
        super().__init__()
        self.module_list = nn.ModuleList(GatedSelfAttentionDense(width, context) for width in widths)
        self.position_net = PositionNet(text, context)


def read_gligen(path: str | Path) -> tuple[Gligen, Mapping[str, Tensor]]:
    """Read a GLIGEN file: a network without values, on the meta device, and its state.

    Raises:
        CheckpointError: it is not such a file, or lacks something.
    """
    file = open_weights(path)
    expect(file.name, file.shapes, ("gligen",), _WANTED)
    if any(key.endswith("linears_text.0.weight") for key in file.shapes):
        raise CheckpointError(
            f"{file.name}: a GLIGEN for texts and pictures; expected {_WANTED}; choose the text box one."
        )
    places = {key: found for key in file.shapes if (found := _FUSER.search(key))}
    order = sorted({(_PARTS.index(found[1]), int(found[2])) for found in places.values()})
    names = {
        key: f"module_list.{order.index((_PARTS.index(found[1]), int(found[2])))}.{found[3]}"
        for key, found in places.items()
    }
    names |= {key: key[key.index(_POSITION) :] for key in file.shapes if _POSITION in key}
    network = _build({name: file.shapes[key] for key, name in names.items()})
    keys = {name: key for key, name in names.items()}
    begins = {names[key].removesuffix(found[3]): key.removesuffix(found[3]) for key, found in places.items()}
    for name in network.state_dict():
        block = next((each for each in begins if name.startswith(each)), "")
        keys.setdefault(name, begins.get(block, "") + name.removeprefix(block))
    wanted = {keys[name]: tuple(value.shape) for name, value in network.state_dict().items()}
    require(file, wanted, _WANTED)
    state = file.load(names)
    return network, {name: state[key] for key, name in names.items()}


def _build(shapes: Mapping[str, tuple[int, ...]]) -> Gligen:
    """Build the network of a file's sizes, on the meta device; impossible sizes are left to the check behind it."""
    blocks = {name.split(".")[1] for name in shapes if name.startswith("module_list.")}
    linears = [shapes.get(f"module_list.{number}.linear.weight", ()) for number in range(len(blocks))]
    linears = [
        each if len(each) == 2 and 0 not in each and each[0] % HEADS == 0 else (HEADS, SD1_WIDTH)
        for each in linears
    ]
    null = shapes.get("position_net.null_positive_feature", ())
    context = next((each[1] for each in linears), SD1_WIDTH)
    with torch.device("meta"):
        return Gligen(
            [width for width, _ in linears], context, null[0] if len(null) == 1 and null[0] else SD1_WIDTH
        )
