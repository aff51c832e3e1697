"""Prompts that a video transformer reads by frame: a hook of the condition, which ComfyUI runs in its calls alone.

The hook brings a wrapper of the network, which puts an override of attention before any that is there. Inside of the
layers that read the prompt, each place asks for the tokens of its frame's prompts, through the override that was found.
So the model itself carries nothing, and other packs' patches and overrides stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from comfy.hooks import EnumHookScope, HookGroup, TransformerOptionsHook
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ....models.errors import HostError
from ....models.video.prompt_shares import PromptShares, read_by_shares
from ....models.video.tokens import frames_of_tokens
from .live import KEY
from .video_network import PromptAttention, VideoCall

_BEHIND = ("heads", "mask", "attn_precision")  # arguments of ComfyUI's attention functions behind q, k and v


def read_by_frame(joined: Sequence[tuple[list[Any], PromptShares]]) -> list[list[Any]]:
    """Return what ``contract.Host.read_by_frame`` says."""
    conditions: list[list[Any]] = []
    for (tokens, options), shares in joined:
        wrapper = partial(_read, shares=shares)
        hook = TransformerOptionsHook(
            {"wrappers": {WrappersMP.DIFFUSION_MODEL: {f"{KEY}.prompts": [wrapper]}}},  # type: ignore[arg-type]
            hook_scope=EnumHookScope.HookedOnly,
        )
        group = HookGroup()
        group.add(hook)
        others = options.get("hooks")
        hooks = group if others is None else HookGroup.combine_all_hooks([others, group])
        conditions.append([tokens, {**options, "hooks": hooks}])
    return conditions


def _read(executor: Any, *args: Any, shares: PromptShares, **kwargs: Any) -> Any:
    """Have the network read prompts by frame; ComfyUI's DIFFUSION_MODEL wrapper."""
    call = VideoCall.of(executor.class_obj, args, kwargs)
    if call.tokens != shares.tokens:
        raise HostError(
            f"prompts: got {call.tokens} tokens; expected the {shares.tokens} of Prompt Travel's prompts; take nodes "
            "out that join or change conditions behind it (Conditioning (Concat), say)."
        )
    return _Reader(call, shares).ask(executor, "prompts", "")


class _Reader(PromptAttention):
    """To the prompts of each place's frame, where the prompt is read."""

    def __init__(self, call: VideoCall, shares: PromptShares) -> None:
        super().__init__(call)
        self._shares = shares
        self._frame_ids = call.frame_ids(shares.latents)
        self._of_tokens: dict[int, Tensor] = {}

    def attend(self, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Attend, to the prompts of each place's frame where the prompt is read."""
        ask = function if self._earlier is None else partial(self._earlier, function)
        if not self._inside or args[1].shape[-2] != self._shares.tokens:
            return ask(*args, **kwargs)
        self.asked = True
        query, key, value, *rest = args
        named = dict(zip(_BEHIND, rest, strict=False)) | kwargs
        mask = named.pop("mask", None)

        def read(places: Tensor | slice, span: slice) -> Tensor:
            part = _part(mask, places, span)
            return ask(query[:, places], key[:, span], value[:, span], mask=part, **named)

        count = query.shape[1]
        if count not in self._of_tokens:
            rows, columns = self._call.grid
            frames = frames_of_tokens(count, self._frame_ids, rows * columns, self._call.front)
            self._of_tokens[count] = self._shares.of_tokens(frames).to(query.device)
        return read_by_shares(read, self._shares.spans, self._of_tokens[count])


def _part(mask: Tensor | None, places: Tensor | slice, span: slice) -> Tensor | None:
    """Return the part of a mask, [..., N or 1, S], for some places and tokens."""
    if mask is None:
        return None
    return (mask if mask.shape[-2] == 1 else mask[..., places, :])[..., span]
