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
from ....models.video.frames import pick_frames
from ....models.video.windows import Window

HANDLER = "context_handler"
# Where Advanced-ControlNet and others look for a window, in the form that AnimateDiff-Evolved gave it.
SHARED_KEY = "ad_params"


class FrameWindows(IndexListContextHandler):
    """ComfyUI's handler with a plan of ours.

    Windows are of frames, which are ComfyUI's batch, and see no frame but their own: its causal fix, which puts one
    more before a window, is for models that start with a frame of another kind.
    """

    def __init__(self, plan: Windows) -> None:
        """Take a plan."""
        known = inspect.signature(IndexListContextHandler).parameters
        super().__init__(
            ContextSchedule("frameloom", self._windows),
            ContextFuseMethod("frameloom", self._weights),
            context_length=plan.length,
            context_overlap=plan.overlap,
            dim=0,
            **({"causal_window_fix": False} if "causal_window_fix" in known else {}),
        )
        self._plan = plan

    def should_use_context(self, _model: Any, _conds: Any, x_in: Tensor, *_: Any) -> bool:
        """Tell whether the plan has windows for a clip."""
        return self._plan.is_needed(len(x_in))

    def get_resized_cond(self, cond_in: Any, x_in: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return a window's part of conditions; ComfyUI takes that of tensors with a row for each frame.

        Masks in another number begin again after their last, as they do without windows.
        """
        frames = range(len(x_in))
        spread = [
            {**each, "mask": pick_frames(each["mask"], frames)} if each.get("mask") is not None else each
            for each in cond_in or ()
        ]
        return super().get_resized_cond(None if cond_in is None else spread, x_in, *args, **kwargs)

    def _windows(self, frames: int, _handler: Any, _options: Any) -> list[list[int]]:
        return [list(window) for window in self._plan.windows(frames, self._step)]

    def _weights(self, _length: int, *, full_length: int, idxs: list[int], **_: Any) -> list[float]:
        return self._plan.weigh(tuple(idxs), full_length)


def put_on(clone: Any, plan: Windows) -> None:
    """Give a clone windows, in place of any that it had."""
    clone.model_options[HANDLER] = FrameWindows(plan)
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
