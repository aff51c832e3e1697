"""Put edits on a diffusers UNet for one run, by forward hooks, and take them off again whatever happens.

The weights of the UNet are never touched. Hooks ask the ``EditedRun`` that the denoise loop holds what acts in the call
that is on, so nothing is global.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ...models.edits.active import Active, RunEdits
from ...models.edits.call import Call, Held, training_call
from ...models.edits.edit import Edit, Observer
from ...models.edits.lockstep import InPart, Lockstep
from ...models.training import check_trainable
from ..seams import between, cross_attention, input, merge, observe, self_attention, skips, slots
from ..seams.layers import Network
from .added import added_options, beside_tokens

_SEAMS = (input, slots, skips, self_attention, merge, between, cross_attention, observe)


class EditedRun(RunEdits):
    """Edits on a UNet during one run, and what of them acts in the call that is on: None before the first."""

    active: Active | None = None

    def begin(self, call: Call, instead: Mapping[str, Sequence[Any]] | None = None) -> Active:
        """Begin a model call; arguments and result are those of ``at``."""
        self.active = self.at(call, instead)
        return self.active

    @contextmanager
    def aside(self, call: Call, observer: Observer) -> Iterator[None]:
        """Let one observer, and no edit's, see what the UNet is asked in this context, beside the call that is on.

        Args:
            call: the question.
            observer: observer that sees it.
        """
        with self._having(self.at(call, {"observe": [observer]})):
            yield

    @contextmanager
    def in_parts(self, lockstep: Lockstep) -> Iterator[None]:
        """Have the call that is on made in parts in this context."""
        assert self.active is not None
        with self._having(InPart(self.active, lockstep)):
            yield

    @contextmanager
    def _having(self, active: Active) -> Iterator[None]:
        earlier, self.active = self.active, active
        try:
            yield
        finally:
            self.active = earlier

    @contextmanager
    def crossed(self, network: Network, call: Call, control: Hashable, lockstep: Lockstep) -> Iterator[None]:
        """Let a ControlNet's self-attention read other frames, as the edits say, in this context.

        Args:
            network: network whose layers get hooks.
            call: the question.
            control: mark that tells it from others that may use the same network.
            lockstep: parts that the network is asked in.
        """
        active = InPart(self.at(call, in_control=True), lockstep)
        with ExitStack() as after:
            if active.acts_at("self_attention"):
                _keep(after, self_attention.put_on(network, self, lambda: active, control))
            yield


@contextmanager
def edited(
    unet: UNet2DConditionModel, edits: Sequence[Edit], conditions: Sequence[Mapping[str, Any]] = ()
) -> Iterator[EditedRun]:
    """Put edits on a UNet while the context lasts. Edits act in their order.

    Args:
        unet: network whose blocks get forward hooks; its weights stay as they are.
        edits: edits to put on it.
        conditions: options of every condition of the run.

    Yields:
        The run; ``begin`` it before each call of the UNet.

    Raises:
        ValueError: edits do not go together, or with the conditions, or have a slot that this UNet lacks.
    """
    run = EditedRun(edits, conditions)
    with ExitStack() as after:
        for seam in _SEAMS:
            _keep(after, seam.put_on(unet, run, lambda: run.active))
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
        edits: edits to put on it.
        frames: frames per video, F.

    Yields:
        Function of noisy latents [B*F, 4, H, W] (variance preserving), timesteps [B*F], tokens [B*F, L, D]
        or [B, L, D], where a mask adapter is told something ``given``, and for SDXL ``pooled`` text [B, D], that
        returns the raw prediction, [B*F, 4, H, W].
    """
    check_trainable(edits)
    with edited(unet, edits) as run:

        def forward(
            noisy: Tensor,
            timesteps: Tensor,
            tokens: Tensor,
            given: Held | None = None,
            pooled: Tensor | None = None,
        ) -> Tensor:
            call = training_call(noisy, frames, given)
            run.begin(call)
            added = added_options(None if pooled is None else beside_tokens(pooled, call.size), len(noisy))
            return unet(noisy, timesteps, encoder_hidden_states=tokens, return_dict=False, **added)[0]

        yield forward


def _keep(after: ExitStack, handles: Iterator[RemovableHandle]) -> None:
    for handle in handles:
        after.callback(handle.remove)
