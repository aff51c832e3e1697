"""ControlNets: self-attention inside them, where no patch reaches, and hints for some of the frames.

While a batch of conditions is worked on, each has a copy of its ControlNet that tells when it is asked, and the
networks carry hooks on their self-attention that act then. Under context windows the copy has the window's hints:
ComfyUI itself gives every window those of the first frames. Hooks go with the batch, copies with the run or the window;
a user's ControlNet is never written to, but for the chain of Advanced-ControlNet's while one is asked.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from einops import rearrange
from torch import Tensor, nn

from ....models.edits.active import Active
from ....models.edits.lockstep import Cut, InPart, Lockstep
from ....models.errors import HostError
from ....models.files.keys import plain
from ....models.network.unet import Layer
from ....models.video.frames import PER_FRAME, pick_frames
from ....models.video.windows import Window
from .control_schedule import Scheduled
from .network import layers_in, size_of
from .windows import follows_windows

Conditions = Sequence[Sequence[dict[str, Any]] | None]
# (the batch, ComfyUI's options of the call) -> what acts in it, and how it is cut
Ask = Callable[[Tensor, dict[str, Any]], tuple[Active, Cut]]


class ControlCopies:
    """Copies of one run's ControlNets; each has one, so that conditions which share a ControlNet share a batch.

    Attributes:
        asked: edits that act in the ControlNet that is asked right now, and the key that tells it from others of the
            run, also from those of one network.
    """

    def __init__(self) -> None:
        # By id; the original is kept, so that its id stays its own.
        self._copies: dict[int, tuple[Any, Any]] = {}
        self._window: Window | None = None
        self._ask: Ask | None = None
        self.asked: tuple[Active | None, int] = (None, 0)

    @contextmanager
    def exchanged(
        self, conditions: Conditions, window: Window | None, ask: Ask | None, *, crossed: bool
    ) -> Iterator[Conditions]:
        """Exchange the ControlNets of conditions for copies, while the context lasts.

        Args:
            conditions: ComfyUI's lists of conditions.
            window: frames that the conditions are asked about, whose hints the copies have; None: the whole clip.
            ask: function that says what acts in a ControlNet's call, and how it is cut; None: nothing, and it isn't.
            crossed: True where a ControlNet's self-attention reads other frames.

        Yields:
            The conditions with their ControlNets exchanged.
        """
        if window is None and ask is None:
            yield conditions
            return
        if window != self._window:
            self._copies.clear()  # hints of one window at a time
        self._window, self._ask = window, ask
        exchanged = [side and [self._exchange(condition) for condition in side] for side in conditions]
        links = [
            link
            for side in exchanged
            for condition in side or ()
            for link in _chain(condition.get("control"))
        ]
        # A T2I-adapter has none of this kind.
        found = (getattr(link, "control_model", None) for link in links)
        networks = {id(network): network for network in found if isinstance(network, nn.Module)}
        with ExitStack() as hooks:
            for network in networks.values() if crossed else ():
                size = size_of(network)
                for layer, block in () if size is None else layers_in(network, size):
                    reading = _Reading(self, layer)
                    hooks.callback(
                        block.attn1.register_forward_pre_hook(reading.read, with_kwargs=True).remove
                    )
                    hooks.callback(block.attn1.register_forward_hook(reading.unfold).remove)
            yield exchanged

    def _exchange(self, condition: dict[str, Any]) -> dict[str, Any]:
        control = condition.get("control")
        return condition if control is None else {**condition, "control": self._copy(control)}

    def _copy(self, control: Any) -> Any:
        if id(control) not in self._copies:
            link = copy_link(control, None if follows_windows(control) else self._window, self._copy)
            link.get_control = self._tell(link, id(control))
            self._copies[id(control)] = control, link
        return self._copies[id(control)][1]

    def _tell(self, link: Any, number: int) -> Callable[..., Any]:
        ask = link.get_control
        # Advanced-ControlNet's carry their methods with them: a copy's are the user's, with its chain and state.
        owner = getattr(ask, "__self__", link)
        network = getattr(link, "control_model", None) if owner is link else None

        def get_control(
            x_noisy: Tensor, t: Tensor, cond: Any, batched_number: int, transformer_options: dict[str, Any]
        ) -> Any:
            earlier, chained = self.asked, owner.previous_controlnet
            if self._ask is not None:
                active, cut = self._ask(x_noisy, transformer_options)
                self.asked = active, number
                if network is not None and len(cut.parts) > 1:
                    link.control_model = _InParts(network, self, cut)
            owner.previous_controlnet = link.previous_controlnet
            try:
                return ask(x_noisy, t, cond, batched_number, transformer_options)
            finally:
                self.asked, owner.previous_controlnet = earlier, chained
                if network is not None:
                    link.control_model = network

        return get_control


def copy_link(control: Any, frame_ids: Sequence[int] | None, copy_of: Callable[[Any], Any]) -> Any:
    """Return a copy of a ControlNet with the hints of some frames; the user's stays as it is.

    Args:
        control: a ControlNet, T2I-adapter or another pack's.
        frame_ids: absolute number of each frame; None: all hints.
        copy_of: function that returns a copy of the control that this one is chained to.
    """
    link = copy.copy(control)
    if frame_ids is not None:
        hints = control.cond_hint_original
        link.cond_hint_original = None if hints is None else pick_frames(hints, frame_ids)
        link.cond_hint = None
        link.extra_concat_orig = [pick_frames(each, frame_ids) for each in control.extra_concat_orig]
    if control.previous_controlnet is not None:
        link.previous_controlnet = copy_of(control.previous_controlnet)
    return link


def select_frames(conditioning: list[list[Any]], frame_ids: Sequence[int]) -> list[list[Any]]:
    """Return conditions for some frames of a clip: of what they have for each frame, these frames' part.

    ControlNets are copied, so that the user's stay as they are; conditions that share one share the copy.

    Raises:
        HostError: one is Advanced-ControlNet's, whose hints and strengths by frame are its own.
    """
    picked: dict[int, Any] = {}

    def of_control(control: Any) -> Any:
        if follows_windows(control):
            raise HostError(
                f"conditioning: got Advanced-ControlNet's {type(control).__name__} for a clip that is sampled in "
                "parts; expected a ControlNet of core's, whose hints follow their frames; use Load ControlNet Model "
                "and Apply ControlNet."
            )
        if id(control) not in picked:
            picked[id(control)] = link = copy_link(control, frame_ids, of_control)
            if isinstance(link, Scheduled):
                link.schedules = tuple(schedule.pick(frame_ids) for schedule in link.schedules)
        return picked[id(control)]

    def of(name: str, value: Any) -> Any:
        if value is not None and name == "control":
            return of_control(value)
        return pick_frames(value, frame_ids) if value is not None and name in PER_FRAME else value

    return [
        [
            None if tokens is None else pick_frames(tokens, frame_ids),
            {name: of(name, value) for name, value in options.items()},
        ]
        for tokens, options in conditioning
    ]


def describe_conditions(conditioning: list[list[Any]]) -> list[Any]:
    """Return what stands for conditions in a key, as ``contract.Host.describe`` says."""

    def of_control(control: Any) -> Any:
        return control and {
            "hints": control.cond_hint_original,
            "more": plain(control.extra_concat_orig),
            "strength": control.strength,
            "percents": list(control.timestep_percent_range),
            "previous": of_control(control.previous_controlnet),
            **({"schedules": plain(control.schedules)} if isinstance(control, Scheduled) else {}),
        }

    return [
        [
            tokens,
            {name: of_control(each) if name == "control" else plain(each) for name, each in options.items()},
        ]
        for tokens, options in conditioning
    ]


class _InParts:
    """A ControlNet's network that is asked about a few frames at a time."""

    def __init__(self, network: Any, copies: ControlCopies, cut: Cut) -> None:
        self._network, self._copies, self._cut = network, copies, cut

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def __call__(self, **given: Any) -> Any:
        """Return what the network adds to the UNet: tensors with rows for all pictures."""
        step, (active, number) = Lockstep(self._cut), self._copies.asked
        if active is not None:
            self._copies.asked = InPart(active, step), number
        return step.run(lambda part: self._network(**part), given)


class _Reading:
    """Hooks of one layer."""

    def __init__(self, copies: ControlCopies, layer: Layer) -> None:
        self._copies, self._layer = copies, layer
        self._frames = 1

    def read(
        self, _layer: nn.Module, inputs: tuple[Tensor, ...], options: dict[str, Any]
    ) -> tuple[tuple[Tensor, ...], dict[str, Any]] | None:
        """Give the layer other frames' tokens; queries of all frames are laid end to end where they share an anchor."""
        active, asked = self._copies.asked
        source = active and active.read(inputs[0], self._layer, asked)
        if active is None or source is None:
            return None
        query = inputs[0]
        if source.is_shared:
            self._frames = len(query) // len(source.tokens)
            query = rearrange(query, "(b f) l c -> b (f l) c", f=self._frames)
        return (query,), {**options, "context": source.tokens}

    def unfold(self, _layer: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        """Return the layer's output with a row for each frame."""
        frames, self._frames = self._frames, 1
        return rearrange(output, "b (f l) c -> (b f) l c", f=frames)


def _chain(control: Any) -> Iterator[Any]:
    while control is not None:
        yield control
        control = control.previous_controlnet
