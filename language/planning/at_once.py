"""The planner for language models that were tuned to write a storyboard in one answer, in the compact form.

Such a model is held to the form's grammar while it writes, so there is nothing to repair: what it may get wrong is what
it says.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...models.errors import LanguageModelError
from ...models.storyboard.scenes import Provenance, Scene, Storyboard
from ..answers import compact
from ..answers.wire import AnswerError
from ..llm.model import Message, TunedModel, Watch
from .assemble import assemble
from .cache import AnswerCache

TASK = "Write the storyboard of the script."


def ask_for_storyboard(script: str) -> list[Message]:
    """Return the question that a model is tuned on, and asked afterwards."""
    return [Message("system", TASK), Message("user", script.strip())]


def plan_at_once(
    script: str,
    model: TunedModel,
    *,
    frames: int,
    fps: float,
    size: tuple[int, int],
    seed: int,
    cache: AnswerCache | None,
    watch: Watch,
) -> Storyboard:
    """Make a storyboard of a script with a model of the compact form; arguments as ``planner.plan_with_model`` has.

    Raises:
        models.errors.LanguageModelError: the model is of a form that this version does not know, or gives no answer.
    """
    if model.form != compact.VERSION:
        raise LanguageModelError(
            f"{model.label}: was tuned for the form {model.form!r}; expected {compact.VERSION!r}; update Frameloom, or "
            "train it again."
        )
    key = ("storyboard", compact.VERSION, script.strip(), model.identity, seed)
    text = cache.read(key) if cache else None
    scenes = None if text is None else _read_kept(text, frames)
    if scenes is None:
        text = model.write(ask_for_storyboard(script), compact.GRAMMAR, seed=seed, watch=watch)
        scenes = compact.read_compact(text, frames)
        if cache:
            cache.write(key, text)
    provenance = Provenance(planner="language model", model=model.label, seed=seed)
    return assemble(scenes, fps=fps, size=size, provenance=provenance)


def _read_kept(text: str, frames: int) -> Sequence[Scene] | None:
    """Return the scenes of an answer that was kept; None: its file was cut or changed."""
    try:
        return compact.read_compact(text, frames)
    except AnswerError:
        return None
