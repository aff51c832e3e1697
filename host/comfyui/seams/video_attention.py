"""A video transformer's attention to its prompt, whose logits are added to as a mask of ComfyUI's attention functions.

As in ``cross_attention``, an override of attention in the options of a model call gives the layers that read the prompt
their bias, and calls the override it found. A function that attends without heeding masks is found by asking it about
three vectors of which one is masked.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ....models.edits.active import Active
from ....models.errors import HostError
from .cross_attention import attend_with
from .video_network import PromptAttention, VideoCall

HEAD = 64  # width of the vectors that a function is asked about; all of them take heads of 64


class FrameLayer:
    """Any layer of a video transformer, of which the grid is that of a latent frame."""

    number, depth, level = 0, 0, 0

    def __init__(self, grid: tuple[int, int]) -> None:
        """Take the rows and columns of tokens of a frame."""
        self._grid = grid

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of its tokens."""
        del size
        return self._grid


def ask_biased(executor: Any, call: VideoCall, active: Active, proven: set[Any]) -> Any:
    """Call a network, with what parts add to its attention to the prompt.

    Args:
        executor: ComfyUI's, which calls the network.
        call: the call.
        active: parts that act in it.
        proven: functions that are known to heed masks; more are put into it.

    Raises:
        HostError: no layer was asked for a bias that there is, or one can't take it.
    """
    biased = _Biased(call, active, proven)
    return biased.ask(executor, "layout", ", or set Layout Conditioning's strength to 0")


def check_heeds_masks(function: Any, like: Tensor) -> None:
    """Check that a function of ComfyUI's that attends heeds masks.

    Args:
        function: the function.
        like: tensor of the dtype and on the device that it is asked in.

    Raises:
        HostError: it leaves them out.
    """
    zeros = like.new_zeros(1, 2, HEAD)
    value = torch.stack([like.new_zeros(HEAD), like.new_ones(HEAD)])[None]
    mask = like.new_tensor([[0.0, -1e4], [0.0, -1e4]])[None, None]
    answer = function(zeros, zeros, value, 1, mask=mask, low_precision_attention=False)
    if float(answer.abs().max()) > 0.1:  # it would be a half
        raise HostError(
            f"layout: got {getattr(function, '__name__', function)}, a way of attending that leaves masks out; "
            "expected one that takes them, since boxes are masks of attention to the prompt; start ComfyUI with "
            "--use-pytorch-cross-attention, or take the node that chose it out."
        )


class _Biased(PromptAttention):
    """With a bias where the prompt is read."""

    def __init__(self, call: VideoCall, active: Active, proven: set[Any]) -> None:
        super().__init__(call)
        self._active, self._proven = active, proven
        self._biases: dict[Any, Tensor | None] = {}

    def attend(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Attend, with the bias where the prompt is read."""
        bias = None
        if self._inside and args[1].shape[-2] == self._call.tokens:
            self.asked = True
            bias = self._bias(args[0])
        if bias is None:
            ask = function if self._earlier is None else partial(self._earlier, function)
            return ask(*args, **kwargs)
        if function not in self._proven:
            check_heeds_masks(function, args[0])
            self._proven.add(function)
        return attend_with(bias, self._earlier, function, args, kwargs)

    def _bias(self, query: Tensor) -> Tensor | None:
        """Return the bias for some queries, [B, 1, N, S] with zeros for places of references; None: none."""
        key = (query.shape, query.dtype, query.device)
        if key not in self._biases:
            call, grid = self._active.call, self._call.grid
            front, own = self._call.front, call.frames * grid[0] * grid[1]
            places = query[:, front : front + own].unflatten(1, (call.frames, -1)).flatten(0, 1)
            bias = self._active.bias(FrameLayer(grid), places, self._call.tokens)
            if bias is not None:
                bias = bias.unflatten(0, (len(query), call.frames)).flatten(1, 2)
                bias = functional.pad(bias, (0, 0, front, query.shape[1] - front - own))[:, None]
            self._biases[key] = bias
        return self._biases[key]
