"""Storyboards from scripts."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, NoReturn

from ...host import api
from ...models.storyboard.scenes import Storyboard
from ..early import UNLINKED, check_early
from ..segments import asking
from ..sockets import LLMType, StoryboardType
from ..widgets import choice, fps, lines, out, schema, seed, size, socket, whole

logger = logging.getLogger(__name__)
io = api.io

RULES, LANGUAGE_MODEL = "rules (no LLM)", "language model"
EXAMPLE = "A red circle on a navy background moves to the right. Then it falls."


class LayoutFromLLM(io.ComfyNode):
    """Make a storyboard of a script: its scenes, what is in them, and where that is in each frame.

    The rules read plain English without a model. A language model is asked twice, as in VideoDirectorGPT: for
    the scenes, then for each scene's boxes. Its answers are checked, and kept on this machine.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Layout From LLM", "layout",
            aliases=["boxes", "VideoDirectorGPT", "LVD", "script to video", "storyboard", "LLM layout", "planner"],
            inputs=[
                lines("script", EXAMPLE,
                    "The story: what happens, in words. Scenes begin at `Scene 2:`; without that, at each "
                    "line; in a single line, at each sentence; and at *then*. A thing keeps its looks where "
                    "it is named again. The rules read English alone. They leave out Markdown, captions and "
                    "speech, and the summary says so."),
                choice("planner", [RULES, LANGUAGE_MODEL],
                    "Reader of the script. rules: English in simple sentences, no model, the same result "
                    "every time. language model: the one connected to llm; if it fails, so does the node."),
                whole("frames", 16, 1, 100_000, "Frames of each scene."),
                fps(),
                *size("in pixels", step=8),
                seed(
                    "Seed of the language model: another seed asks for another answer. The rules draw "
                    "nothing at random."),
                whole("repairs", 2, 0, 2,
                    "Number of times that a wrong answer of the language model goes back to it, with what is "
                    "wrong."),
                socket(LLMType, "llm",
                    "The language model that is asked. The rules do not use it.", optional=True),
            ],
            outputs=[
                out(StoryboardType, "storyboard",
                    "A storyboard of all scenes; Scene List or Select Scene makes one of them."),
                out(io.String, "json", "The storyboard as text, to keep or edit."),
                out(io.String, "summary",
                    "Number of scenes and things, and who planned them; then what was not read as it stands: "
                    "sentences that the rules left out, several answers, other units."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls, script: str | None, planner: str | None, frames: int | None, llm: Any = UNLINKED
    ) -> bool | str:
        """Refuse a script that the rules can't plan, and a language model that is not there."""
        return check_early(_check_planner, script, planner, frames, llm is not UNLINKED)

    @classmethod
    def execute(
        cls,
        script: str,
        planner: str,
        frames: int,
        fps: float,
        width: int,
        height: int,
        seed: int,
        repairs: int,
        llm: Any = None,
    ) -> io.NodeOutput:
        """Run the node."""
        from ...language.english.rules import plan_by_rules

        notes: list[str] = []
        video = {"fps": fps, "size": (width, height), "tell": notes.append}
        if planner == RULES:
            board = plan_by_rules(script, frames=frames, seed=seed, **video)
        else:
            board = _ask(llm, script, frames, seed, repairs, **video)
        return io.NodeOutput(board, board.to_json(), _summarize(board, notes))


def _check_planner(script: str, planner: str, frames: int, has_model: bool) -> None:
    from ...language.english.rules import plan_by_rules

    if planner == RULES:
        plan_by_rules(script, frames=frames, fps=8.0, size=(512, 512), seed=0)
    elif not has_model:
        _refuse_none()


def _refuse_none() -> NoReturn:
    raise ValueError(
        "llm: nothing is connected; expected a language model for planner='language model'; connect LLM Endpoint "
        "or Local LLM, or choose the rules."
    )


def _ask(llm: Any, script: str, frames: int, seed: int, repairs: int, **video: Any) -> Any:
    """Return a language model's storyboard of a script."""
    from ...language.planning.planner import plan_with_model

    if llm is None:
        _refuse_none()
    given = {"frames": frames, "seed": seed, "repairs": repairs, **video}
    return plan_with_model(script, llm, **given, **asking("layout_cache"))


def _summarize(board: Storyboard, notes: list[str]) -> str:
    """Return what a storyboard holds and what is to be known of how it was read, which the log tells, too."""
    for note in notes:
        logger.warning("Layout From LLM: %s.", note)
    made = board.provenance
    by = ", ".join(filter(None, (made.planner, made.model))) if made else "nobody"
    things = {entity.id for scene in board.scenes for entity in scene.entities}
    scenes = [f"scene {scene.id}: {scene.prompt}" for scene in board.scenes]
    return "\n".join([f"{_count(scenes, 'scene')} with {_count(things, 'thing')} by {by}", *notes, *scenes])


def _count(items: Collection[object], noun: str) -> str:
    return f"{len(items)} {noun}" + "s" * (len(items) != 1)


NODES: list[type] = [LayoutFromLLM]
