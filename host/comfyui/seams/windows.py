"""Context windows in ComfyUI: its own handler, over frames, with our plan of windows."""

from __future__ import annotations

import inspect
from typing import Any

from comfy.context_windows import (
    ContextFuseMethod,
    ContextSchedule,
    IndexListContextHandler,
    create_prepare_sampling_wrapper,
)
from torch import Tensor

from ....models.edits.edit import Windows
from ....models.errors import HostError
from ....models.video.frames import pick_frames
from ....models.video.windows import Window

HANDLER = "context_handler"
TIME = 2  # axis of frames in the latents of models of video
# Where Advanced-ControlNet and others look for a window, in the form that AnimateDiff-Evolved gave it.
SHARED_KEY = "ad_params"


class FrameWindows(IndexListContextHandler):
    """ComfyUI's handler with a plan of ours.

    In models of pictures frames are ComfyUI's batch, and a window sees no frame but its own. In models of video they
    are an axis of the latents; ComfyUI's causal fix puts the frame before a window first in it, if the plan says so.
    """

    def __init__(self, plan: Windows, dim: int = 0) -> None:
        """Take a plan, and the axis of frames.

        Raises:
            HostError: the plan wants the frame before a window, which this ComfyUI has no way for.
        """
        has_fix = "causal_window_fix" in inspect.signature(IndexListContextHandler).parameters
        if plan.anchored and not has_fix:
            raise HostError(
                "context windows: got an anchor on a ComfyUI whose windows have none; expected ComfyUI 0.25 or newer; "
                "set anchor to off, or update ComfyUI."
            )
        super().__init__(
            ContextSchedule("frameloom", self._windows),
            ContextFuseMethod("frameloom", self._weights),
            context_length=plan.length,
            context_overlap=plan.overlap,
            dim=dim,
            **({"causal_window_fix": plan.anchored} if has_fix else {}),
        )
        self._plan = plan

    def should_use_context(self, _model: Any, _conds: Any, x_in: Tensor, *_: Any) -> bool:
        """Tell whether the plan has windows for a clip."""
        return self._plan.is_needed(x_in.shape[self.dim])

    def get_resized_cond(self, cond_in: Any, x_in: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return a window's part of conditions; ComfyUI takes that of tensors with a row for each frame.

        Masks of pictures in another number begin again after their last, as they do without windows. Of what a model of
        video is given, ComfyUI takes any tensor's third axis for time where it has as many rows as the clip frames: a
        mask's height too, or a reference's. What is no clip is kept from it here, and masks are cut by their own axis.
        """
        if cond_in is None:
            return None
        if self.dim == 0:
            frames = range(len(x_in))
            spread = [
                {**each, "mask": pick_frames(each["mask"], frames)} if each.get("mask") is not None else each
                for each in cond_in
            ]
            return super().get_resized_cond(spread, x_in, *args, **kwargs)
        return [self._resized(each, x_in, *args, **kwargs) for each in cond_in]

    def _resized(
        self, condition: dict[str, Any], x_in: Tensor, window: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Return a window's part of one condition of a model of video."""
        kept = {name: value for name, value in condition.items() if _is_no_clip(value, x_in)}
        if kept.get("mask") is not None:
            kept["mask"] = _mask_of(kept["mask"], x_in.shape[self.dim], window)
        inputs = {
            name: value
            for name, value in condition["model_conds"].items()
            if name != "audio_embed"
            and _is_no_clip(getattr(value, "cond", None), x_in)
            and not self._is_known(name, value, window, x_in)
        }
        rest = {name: value for name, value in condition.items() if name not in kept}
        rest["model_conds"] = {name: v for name, v in condition["model_conds"].items() if name not in inputs}
        (resized,) = super().get_resized_cond([rest], x_in, window, *args, **kwargs)
        return {**resized, **kept, "model_conds": {**resized["model_conds"], **inputs}}

    def _is_known(self, name: str, value: Any, window: Any, x_in: Tensor) -> bool:
        """Tell whether the model itself says how one of its inputs is cut."""
        cut = getattr(getattr(self, "_model", None), "resize_cond_for_context_window", None)
        return (
            cut is not None and cut(name, value, window, x_in, x_in.device, retain_index_list=[]) is not None
        )

    def _windows(self, frames: int, _handler: Any, _options: Any) -> list[list[int]]:
        return [list(window) for window in self._plan.windows(frames, self._step)]

    def _weights(self, _length: int, *, full_length: int, idxs: list[int], **_: Any) -> list[float]:
        return self._plan.weigh(tuple(idxs), full_length)


def _is_no_clip(value: Any, x_in: Tensor) -> bool:
    """Tell whether a value is a tensor of fewer axes than a clip, [B, C, T, H, W], has."""
    return isinstance(value, Tensor) and value.ndim < x_in.ndim


def _mask_of(mask: Tensor, frames: int, window: Any) -> Tensor:
    """Return a window's part of a condition's mask, [1, T or 1, H, W].

    Raises:
        ValueError: it has neither one frame nor one for each latent frame.
    """
    if mask.shape[1] not in (1, frames):
        raise ValueError(
            f"conditioning: got a mask of {mask.shape[1]} frames; expected 1, or {frames}, one for each latent frame; "
            "make it so (Layout To Masks can)."
        )
    return mask if mask.shape[1] == 1 else window.get_tensor(mask, mask.device, dim=1)


def put_on(clone: Any, plan: Windows) -> None:
    """Give a clone windows, in place of any that it had."""
    axes = clone.get_model_object("latent_format").latent_dimensions
    clone.model_options[HANDLER] = FrameWindows(plan, TIME if axes == TIME + 1 else 0)
    create_prepare_sampling_wrapper(clone)


def find_window(options: dict[str, Any], frames: int, dim: int = 0) -> Window | None:
    """Return the frames of the window that a batch of conditions is asked about; None: it is a whole clip's.

    ComfyUI leaves the last window in its options after the windows are done: it is on only if its length fits the call.

    Args:
        options: ComfyUI's ``transformer_options``.
        frames: number of frames in the batch.
        dim: axis of the latents that frames are on; 2 for models of video.
    """
    window = options.get("context_window")
    ids = list(getattr(window, "index_list", ())) if getattr(window, "dim", 0) == dim else []
    anchor = getattr(window, "causal_anchor_index", None)
    if anchor is not None and anchor >= 0:
        ids.insert(0, anchor)
    return tuple(ids) if len(ids) == frames else None


def follows_windows(control: Any) -> bool:
    """Tell whether a ControlNet takes a window's hints by itself, from what is published: Advanced-ControlNet's."""
    return hasattr(control, "sub_idxs")


def publish(options: dict[str, Any], window: Window) -> dict[str, Any]:
    """Return options with the window as other packs read it."""
    told = {
        "sub_idxs": list(window),
        "full_length": options["context_window"].total_frames,
        "context_length": len(window),
    }
    return {**options, SHARED_KEY: told}
