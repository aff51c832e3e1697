"""Progress bars: of any work that can be cancelled, of a language model's, and of several runs of the sampler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..host import api
from ..host.contract import Conditioning

# Samplers whose step depends on nothing but the latents it starts from: no earlier steps, no noise of their own. So a
# run may be cut anywhere, between steps and between frames.
MEMORYLESS = ("ddim", "euler")


def check_sampler(name: str) -> None:
    """Refuse a sampler whose run can't be cut into segments, by a ValueError."""
    if name not in MEMORYLESS:
        raise ValueError(
            f"sampler_name={name!r} remembers earlier steps or draws noise of its own, which the joints of the "
            f"segments would break; expected one of {', '.join(MEMORYLESS)}; choose one."
        )


def show_progress(total: int, noun: str = "step") -> Callable[[int], None]:
    """Return what shows how much of a total is done, and notices a cancel; ``noun`` is what is counted."""
    port = api.port()
    bar = port.progress(max(total, 1), noun)

    def watch(done: int) -> None:
        port.check_interrupt()
        bar.update(done)

    return watch


def asking(folder: str) -> dict[str, Any]:
    """Return what a question to a language model takes of the host: answers kept in a folder, a cancel, a bar."""
    from ..language.planning.cache import AnswerCache

    port = api.port()
    bar = port.progress(100)
    return {
        "cache": AnswerCache(port.user_dir() / folder),
        "watch": lambda _: port.check_interrupt(),
        "progress": lambda share: bar.update(round(100 * share)),
    }


class Segments:
    """Runs that follow each other: the bar of each goes on where that of the last one stopped.

    Args:
        show: function that draws the bar, from the number of steps done and a preview or None; None: there is no bar.
    """

    def __init__(self, show: Callable[[int, Tensor | None], None] | None = None) -> None:
        self._show, self._before = show, 0

    def update(self, done: int, preview: Tensor | None = None) -> None:
        """Show how far the present run is; the host calls this."""
        if self._show is not None:
            self._show(self._before + done, preview)

    def sample(
        self,
        model: Any,
        sides: tuple[Conditioning, Conditioning],
        start: Tensor,
        sigmas: Tensor,
        **options: Any,
    ) -> Tensor:
        """Return the latents that a run ends with, [F, C, H, W].

        Args:
            model: model that samples.
            sides: positive and negative conditions.
            start: latents, [F, C, H, W].
            sigmas: the noise levels of this run, [steps + 1].
            **options: options of the port's ``sample``: noise, sampler, cfg, mask.
        """
        positive, negative = sides
        drawn = api.port().sample(
            model, positive, negative, {"samples": start}, sigmas=sigmas, progress=self, **options
        )
        self._before += len(sigmas) - 1
        return drawn["samples"]
