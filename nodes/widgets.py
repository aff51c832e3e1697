"""What the nodes' schemas are made of: ``schema``, and a row for each kind of input that recurs.

A node's ``define_schema`` is one table. A row is an input: its name, what it may be, and last the help that users read:

    whole("steps", 20, 1, 10_000, "Steps of the schedule.")    # name, default, least, most, help
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from ..host import api
from ..models.video.curve import Easing

io = api.io

SEEDS = 2**64
SCHEDULERS = ("normal", "simple", "karras", "ddim_uniform")


def schema(
    node: type,
    name: str,
    menu: str,
    *,
    aliases: list[str],
    inputs: list[Any],
    outputs: list[Any],
    **more: Any,
) -> Any:
    """Return a node's schema.

    Args:
        node: the class. ``Frameloom_`` and its name are the id, its docstring is the description that users read.
        name: name that the editor shows.
        menu: place in the menu, below Frameloom's.
        aliases: other names to find it by.
        inputs: the rows of the table.
        outputs: the outputs, each by ``out``.
        **more: options of ComfyUI's schema.
    """
    return io.Schema(
        node_id=f"Frameloom_{node.__name__}",
        display_name=name,
        category=f"frameloom/{menu}",
        description=" ".join((node.__doc__ or "").split()),
        search_aliases=aliases,
        inputs=inputs,
        outputs=outputs,
        **more,
    )


def socket(kind: Any, name: str, about: str, **more: Any) -> Any:
    """Return an input that takes a link: ``socket(io.Model, "model", "The model to sample with.")``."""
    return kind.Input(name, tooltip=about, **more)


def out(kind: Any, name: str, about: str, **more: Any) -> Any:
    """Return an output, which shows its name: ``out(io.Latent, "latent", "The frames.")``."""
    return kind.Output(name, **{"display_name": name, "tooltip": about, **more})


def whole(name: str, default: int, least: int, most: int, about: str, **more: Any) -> Any:
    """Return an input of a whole number."""
    return io.Int.Input(name, default=default, min=least, max=most, tooltip=about, **more)


def number(name: str, default: float, least: float, most: float, step: float, about: str, **more: Any) -> Any:
    """Return an input of a number; ``step`` is what one click of its arrows adds, and what the editor rounds to."""
    return io.Float.Input(name, default=default, min=least, max=most, step=step, tooltip=about, **more)


def share(name: str, default: float, about: str, **more: Any) -> Any:
    """Return an input of a share, 0 to 1."""
    return number(name, default, 0.0, 1.0, 0.01, about, **more)


def percent(name: str, default: float, about: str, **more: Any) -> Any:
    """Return an input of a point of sampling, from 0, pure noise, to 1, the end. ComfyUI calls such points percents."""
    return number(name, default, 0.0, 1.0, 0.001, about, **more)


def seed(about: str, name: str = "seed", most: int = SEEDS - 1, after: Any = True) -> Any:
    """Return an input of a seed. After a run the editor changes it as its user says, unless ``after`` fixes it."""
    return whole(name, 0, 0, most, about, control_after_generate=after)


def cfg(about: str) -> Any:
    """Return the input of guidance."""
    return number("cfg", 7.5, 0.0, 100.0, 0.1, about)


def fps(about: str = "Frames a second.") -> Any:
    """Return the input of a video's frames a second."""
    return number("fps", 8.0, 0.01, 1000.0, 0.01, about)


def factors(strength: str) -> list[Any]:
    """Return the inputs of factors by frame and by step, as ``models.video.curve`` reads them.

    Args:
        strength: default of those by frame.
    """
    return [
        whole("frames", 16, 1, 100_000,
            "Number of frames of the clip. Behind its end the last strength goes on."),
        lines("strength", strength,
            "Factor by frame. 1 is for all frames; 1, 0.8, 0.5 is a list; 0: 1, 8: 0.5, -1: 0 has keys, negative ones "
            "from the end (-1 is the last frame), or shares of the clip (50%: 0.5)."),
        choice("between", get_args(Easing),
            "Way from key to key. hold: each key counts until the next. these alone: frames without a key get 0."),
        lines("by_step", "1",
            "Factor by share of sampling, 0 for pure noise and 1 for the end: 0: 1, 0.5: 0.3. Each counts until the "
            "next."),
    ]  # fmt: skip


def size(purpose: str, step: int | None = None) -> list[Any]:
    """Return the inputs of a picture's width and height; ``purpose`` ends their help: "in pixels"."""
    return [
        whole(name.lower(), 512, 8, 16_384, f"{name} of the picture, {purpose}.", step=step)
        for name in ("Width", "Height")
    ]


def switch(name: str, default: bool, about: str, **more: Any) -> Any:
    """Return an input that is on or off."""
    return io.Boolean.Input(name, default=default, tooltip=about, **more)


def lines(name: str, default: str | None, about: str, **more: Any) -> Any:
    """Return an input of a text of several lines; a default of None asks for one."""
    return io.String.Input(name, default=default, multiline=True, tooltip=about, **more)


def line(name: str, default: str | None, about: str, **more: Any) -> Any:
    """Return an input of one line of text; a default of None asks for one."""
    return io.String.Input(name, default=default, tooltip=about, **more)


def choice(
    name: str, options: Iterable[str], about: str, default: str | None = None, *, optional: bool = False
) -> Any:
    """Return a list to choose from; without another default, its first is chosen."""
    first, *_ = options = list(options)
    return io.Combo.Input(name, options=options, default=default or first, tooltip=about, optional=optional)


def found(name: str, options: Iterable[str], about: str) -> Any:
    """Return a list of what is found on this machine, such as files. There may be nothing, so nothing is chosen."""
    return io.Combo.Input(name, options=list(options), tooltip=about)
