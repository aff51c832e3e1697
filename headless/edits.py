"""Put edits on a diffusers UNet for one run, by forward hooks, and take them off again whatever happens.

Owns where each slot of an edit lies in diffusers' blocks; not what an edit does. The weights of the UNet are never
touched. Hooks read the current ``Call`` from the ``EditedRun`` that the denoise loop holds, so nothing is global.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from einops import rearrange
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..models.cross_frame import AnchorMemory, CrossFrameEdit, Source
from ..models.edit import (
    AttentionBias,
    AttentionObserver,
    Call,
    CallBias,
    Edit,
    Given,
    TemporalEdit,
    training_call,
)
from ..models.energy import check_trainable
from ..models.free_noise import WindowFusion, find_fusion
from ..models.gligen import Change, GligenEdit
from ..models.mask_adapter import MaskEncoder, given_in
from .gligen import between_attentions
from .observe import observer_hooks
from .shared_attention import attention_layers


class EditedRun:
    """What the hooks of one run read. Set ``call`` before every call of the UNet.

    Numbers that hooks need are worked out here once a call, so that a compiled UNet is guarded on them alone.
    """

    def __init__(
        self,
        temporal: Sequence[TemporalEdit],
        crossing: Sequence[CrossFrameEdit],
        biases: Sequence[AttentionBias] = (),
        gligen: GligenEdit | None = None,
        fusion: WindowFusion | None = None,
    ) -> None:
        self._temporal = tuple(temporal)
        self._crossing = [(edit, AnchorMemory()) for edit in crossing]
        self._biases = tuple(biases)
        self._gligen = gligen
        self.fusion = fusion
        self.bias: CallBias | None = None
        self.ground: Change | None = None
        self.given: Tensor | None = None
        self._has_encoder = any(_mask_encoder(edit) is not None for edit in temporal)
        self._call: Call | None = None
        self.is_aside = False
        self.frames = 1
        self.norm_frames = 1
        self.strengths = [0.0] * len(self._temporal)

    @property
    def call(self) -> Call | None:
        """The model call that is being made; None before the first."""
        return self._call

    @call.setter
    def call(self, call: Call) -> None:
        self._call = call
        self.frames = call.frames
        self.strengths = [edit.strength_at(call) for edit in self._temporal]
        over_clip = any(
            strength != 0 and _has_clip_norm(edit)
            for edit, strength in zip(self._temporal, self.strengths, strict=True)
        )
        self.norm_frames = call.frames if over_clip else 1
        self.bias = CallBias(call, self._biases) if self._biases else None
        self.ground = None if self._gligen is None else self._gligen.start(call)
        self.given = given_in(call) if self._has_encoder else None

    @contextmanager
    def aside(self, unet: nn.Module, call: Call, observer: AttentionObserver) -> Iterator[None]:
        """Let one observer, and no edit's, see what the UNet is asked in this context, beside the call that is on.

        Args:
            unet: that the edits are on.
            call: the question.
            observer: who sees it.
        """
        earlier = self._call
        with ExitStack() as after:
            for handle in observer_hooks(unet, observer, lambda: call):
                after.callback(handle.remove)
            self.call, self.is_aside = call, True
            try:
                yield
            finally:
                self.is_aside = False
                if earlier is not None:
                    self.call = earlier

    @contextmanager
    def crossed(self, network: nn.Module, control: Hashable = None) -> Iterator[None]:
        """Let the self-attention of a UNet or ControlNet read other frames, as the edits say, in this context.

        Args:
            network: whose layers get hooks.
            control: tells a ControlNet from others that may use the same network; None: this is the UNet.
        """
        with ExitStack() as hooks:
            for edit, memory in self._crossing:
                for name, level, attention in attention_layers(network, "attn1"):
                    if level in edit.levels and (control is None or edit.in_control):
                        hook = _cross_frame_hook(self, edit, memory, (control, name))
                        hooks.callback(attention.register_forward_pre_hook(hook, with_kwargs=True).remove)
            yield


@contextmanager
def edited(unet: UNet2DConditionModel, edits: Sequence[Edit]) -> Iterator[EditedRun]:
    """Put edits on a UNet while the context lasts. Edits act in their order.

    Args:
        unet: whose blocks get forward hooks; its weights stay as they are.
        edits: a temporal edit's ``motion`` has ``slots`` and is called as ``motion(slot, hidden, frames, strength,
            fusion)``, as a ``MotionModel`` is; it may have a ``mask_encoder``.

    Yields:
        The run; set its ``call`` before each call of the UNet.

    Raises:
        ValueError: a motion module has a slot that this UNet lacks.
    """
    temporal = [edit.temporal for edit in edits if edit.temporal is not None]
    biases = [edit.bias for edit in edits if edit.bias is not None]
    crossing = [edit.cross_frame for edit in edits if edit.cross_frame is not None]
    grounding = [edit.gligen for edit in edits if edit.gligen is not None]
    run = EditedRun(temporal, crossing, biases, grounding[-1] if grounding else None, find_fusion(edits))
    with ExitStack() as hooks:
        for index, part in enumerate(temporal):
            for slot in part.motion.slots:
                handle = temporal_place(unet, slot).register_forward_hook(
                    _temporal_hook(run, index, part.motion, slot)
                )
                hooks.callback(handle.remove)
            encoder = _mask_encoder(part)
            if encoder is not None:
                hook = unet.conv_in.register_forward_hook(_given_hook(run, index, encoder))
                hooks.callback(hook.remove)
        for observer in (edit.observe for edit in edits if edit.observe is not None):
            for handle in observer_hooks(unet, observer, lambda: None if run.is_aside else run.call):
                hooks.callback(handle.remove)
        if any(_has_clip_norm(part) for part in temporal):
            for norm in _residual_norms(unet):
                for handle in _clip_norm_hooks(run, norm):
                    hooks.callback(handle.remove)
        if biases:
            for _, level, attention in attention_layers(unet, "attn2"):
                hook = attention.register_forward_pre_hook(_bias_hook(run, level), with_kwargs=True)
                hooks.callback(hook.remove)
        if grounding:
            hooks.enter_context(between_attentions(unet, lambda: run.ground))
        hooks.enter_context(run.crossed(unet))
        yield run


@contextmanager
def forward_with_edits(
    unet: UNet2DConditionModel,
    edits: Sequence[Edit],
    frames: int,
) -> Iterator[Callable[..., Tensor]]:
    """Put edits on a UNet while the context lasts, as one differentiable function. Meant for training.

    Edits with a start or end percent see progress 0.

    Args:
        unet: the UNet.
        edits: what to put on it.
        frames: frames per video, F.

    Yields:
        Function of noisy latents [B*F, 4, H, W] (variance preserving), timesteps [B*F], tokens [B*F, L, D]
        or [B, L, D] and, where a mask adapter is told something, ``given`` that returns the raw prediction,
        [B*F, 4, H, W].
    """
    check_trainable(edits)
    with edited(unet, edits) as run:

        def forward(noisy: Tensor, timesteps: Tensor, tokens: Tensor, given: Given | None = None) -> Tensor:
            run.call = training_call(noisy, frames, given)
            return unet(noisy, timesteps, encoder_hidden_states=tokens, return_dict=False)[0]

        yield forward


def temporal_place(unet: UNet2DConditionModel, slot: str) -> nn.Module:
    """Return the module after which a temporal slot runs.

    That is the spatial transformer of its block if there is one, else the residual block; upsamplers come later.

    Raises:
        ValueError: the UNet has no such slot.
    """
    block_name, _, index = slot.rpartition(".motion_modules.")
    try:
        block = unet.get_submodule(block_name)
        attentions = getattr(block, "attentions", None)
        places = block.resnets if attentions is None else attentions
        return places[int(index)]  # type: ignore[index,return-value]
    except (AttributeError, IndexError, ValueError) as error:
        raise ValueError(
            f"motion module: got a slot {slot!r}, which this UNet lacks; expected slots of an SD1.x UNet; load a "
            "motion module made for this base model."
        ) from error


def _temporal_hook(
    run: EditedRun, index: int, motion: Any, slot: str
) -> Callable[[nn.Module, Any, Any], Any]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        strength = run.strengths[index]
        if strength == 0:
            return None
        if isinstance(output, Tensor):
            return motion(slot, output, run.frames, strength, run.fusion)
        if isinstance(output, tuple):
            return (motion(slot, output[0], run.frames, strength, run.fusion), *output[1:])
        return type(output)(sample=motion(slot, output.sample, run.frames, strength, run.fusion))

    return hook


def _given_hook(run: EditedRun, index: int, encoder: MaskEncoder) -> Callable[[nn.Module, Any, Tensor], Any]:
    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
        strength = run.strengths[index]
        return None if run.given is None or strength == 0 else encoder(output, run.given, strength)

    return hook


def _cross_frame_hook(
    run: EditedRun, edit: CrossFrameEdit, memory: AnchorMemory, layer: Hashable
) -> Callable[..., Any]:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], options: dict[str, Any]) -> Any:
        call = run.call
        if call is None or edit.strength_at(call) == 0:
            return None
        earlier = options.get("encoder_hidden_states")
        own = (
            inputs[0]
            if earlier is None
            else Source(earlier, len(earlier) < len(inputs[0])).per_frame(call.frames)
        )
        return inputs, {**options, "encoder_hidden_states": edit.read(own, call, memory, layer).tokens}

    return hook


def _bias_hook(run: EditedRun, level: int) -> Callable[..., Any]:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], options: dict[str, Any]) -> Any:
        bias = run.bias and run.bias.at(level, inputs[0], options["encoder_hidden_states"].shape[1])
        return None if bias is None else (inputs, {**options, "attention_mask": bias})

    return hook


def _mask_encoder(edit: TemporalEdit) -> MaskEncoder | None:
    return getattr(edit.motion, "mask_encoder", None)


def _has_clip_norm(edit: TemporalEdit) -> bool:
    """Tell whether a module was trained with the UNet's residual norms over whole clips (AnimateDiff v1)."""
    weights = getattr(edit.motion, "weights", None)
    return weights is not None and weights.clip_norm


def _residual_norms(unet: Any) -> list[nn.Module]:
    blocks = [module for module in unet.modules() if isinstance(module, ResnetBlock2D)]
    return [*(norm for block in blocks for norm in (block.norm1, block.norm2)), unet.conv_norm_out]


def _clip_norm_hooks(run: EditedRun, norm: nn.Module) -> tuple[RemovableHandle, RemovableHandle]:
    """Lay a clip's frames out as one tall picture before a norm, and undo it after."""

    def fold(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if run.norm_frames == 1:
            return None
        return (rearrange(inputs[0], "(b f) c h w -> b c (f h) w", f=run.norm_frames),)

    def unfold(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if run.norm_frames == 1:
            return None
        return rearrange(output, "b c (f h) w -> (b f) c h w", f=run.norm_frames)

    return norm.register_forward_pre_hook(fold), norm.register_forward_hook(unfold)
