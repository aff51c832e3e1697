"""The tree of a NUWA-XL recursion: its jobs and prompts."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any, NoReturn, get_args

from ...host import api
from ...models.long_video.nuwa_tree import (
    MAX_DEPTH,
    Tree,
    find_makespan,
    read_keyframe_prompts,
    spread_prompts,
)
from ...models.long_video.prompt_text import storyboard_prompts
from ...models.long_video.prompt_travel import Interpolation
from ...models.storyboard.scenes import Storyboard
from ..drawing.plan import Plan, show_tree
from ..drawing.plot import draw_tree
from ..early import UNLINKED, check_early
from ..segments import asking
from ..sockets import LLMType, StoryboardType, TreeType
from ..widgets import SEEDS, choice, lines, number, out, schema, size, socket, whole

io = api.io

WORKERS = (1, 2, 4, 16)


class NuwaPlan(io.ComfyNode):
    """Plan a long video as NUWA-XL does: keyframes over all of it, then the frames between neighbours.

    Then come those between these, (length - 1)^depth + 1 frames in all. Jobs of a level do not depend on each
    other, so several machines can share them. A language model can write the prompts between the keyframes'.
    Nothing is sampled here.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Nuwa Plan", "long video",
            aliases=["long video", "NUWA-XL", "diffusion over diffusion", "coarse to fine", "keyframe interpolation"],
            inputs=[
                lines("prompts", "a red circle on a navy background",
                    "Prompts of the keyframes, one a line, as many as length; or a single one for all. Not "
                    "read where a storyboard is connected."),
                whole("length", 16, 3, 1024,
                    "Frames of a job, and so of keyframes: as many as the motion module was trained on."),
                whole("depth", 2, 1, MAX_DEPTH,
                    "Number of levels. 1: keyframes alone; each more fills all gaps once. 16 frames: 2 makes "
                    "226, 3 makes 3,376."),
                choice("interpolation", get_args(Interpolation),
                    "Mixture of prompts' encodings for frames that have no prompt of their own. hold: a "
                    "prompt stays up to the next. A storyboard's scenes are held in any case."),
                *size("for the report's memory", step=8),
                number("seconds_per_job", 0.0, 0.0, 1_000_000.0, 0.1,
                    "Seconds that one job takes here, as Nuwa Interpolate writes them to the log, for the "
                    "report. 0: not known."),
                socket(StoryboardType, "storyboard",
                    "A storyboard, whose scenes' prompts are used over the video's length "
                    "as they share the storyboard's. A scene's frames have its prompt on "
                    "every level. Its boxes are not used.", optional=True),
                whole("prompt_levels", 2, 2, MAX_DEPTH,
                    "Level down to which the language model writes prompts. It is asked once for each gap, "
                    "at most 256 times: with 16 frames, 2 asks 15 times, 3 240 times. Prompts of finer "
                    "levels are mixed of these.", optional=True),
                whole("prompt_seed", 0, 0, SEEDS - 1,
                    "Seed of the language model: another seed asks for other prompts. What was answered is "
                    "kept on this machine.", optional=True),
                socket(LLMType, "llm",
                    "A language model that writes the prompts between each two keyframes' that differ, in "
                    "place of mixtures of their encodings; if it fails, so does the node. Not together with "
                    "a storyboard, whose scenes change at once.", optional=True),
            ],
            outputs=[
                out(TreeType, "tree", "The tree, for Nuwa Keyframes and Nuwa Interpolate."),
                out(io.Image, "picture", "A picture of levels, jobs and prompts."),
                out(io.String, "report", "Jobs, levels, prompts, expected seconds and memory."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls,
        prompts: str | None,
        length: int | None,
        depth: int | None,
        storyboard: Any = UNLINKED,
        llm: Any = UNLINKED,
    ) -> bool | str:
        """Refuse prompts that can't be laid out, and a model that has nothing to write."""
        if storyboard is UNLINKED:
            return check_early(_check_prompts, prompts, length, depth)
        return llm is UNLINKED or check_early(_refuse_model)

    @classmethod
    def plan(cls, prompts: str, length: int, depth: int, storyboard: Any = UNLINKED) -> Plan:
        """Return the tree, for the editor; without prompts where they are a storyboard's."""
        if storyboard is UNLINKED:
            tree = _plan(prompts, None, length, depth, "hold")
            return show_tree(tree, tree.prompts)
        return show_tree(Tree(length, depth, {0: ""}), ())

    @classmethod
    def execute(
        cls,
        prompts: str,
        length: int,
        depth: int,
        interpolation: Interpolation,
        width: int,
        height: int,
        seconds_per_job: float,
        storyboard: Storyboard | None = None,
        prompt_levels: int = 2,
        prompt_seed: int = 0,
        llm: Any = None,
    ) -> io.NodeOutput:
        """Run the node."""
        given = _plan(prompts, storyboard, length, depth, interpolation)
        notes: list[str] = []
        tree = (
            given if llm is None else _ask(llm, given, prompt_levels, prompt_seed, storyboard, notes.append)
        )
        written = tree.prompts.keys() - given.prompts.keys()
        report = _describe(tree, width, height, seconds_per_job) + notes + _list_prompts(tree, written, llm)
        return io.NodeOutput(tree, draw_tree(tree, written), "\n".join(report))


def _plan(
    prompts: str, storyboard: Storyboard | None, length: int, depth: int, interpolation: Interpolation
) -> Tree:
    if storyboard is None:
        return Tree(length, depth, read_keyframe_prompts(prompts, length, depth), interpolation)
    scenes, frames = storyboard_prompts(storyboard)
    return Tree(length, depth, spread_prompts(scenes, frames, length, depth), "hold")


def _check_prompts(prompts: str, length: int, depth: int) -> None:
    _plan(prompts, None, length, depth, "hold")


def _refuse_model() -> NoReturn:
    raise ValueError(
        "llm: got one beside a storyboard, whose scenes change at once, so that nothing is between them; expected "
        "one of the two; disconnect llm, or the storyboard and write keyframes' prompts."
    )


def _ask(
    llm: Any,
    tree: Tree,
    levels: int,
    seed: int,
    storyboard: Storyboard | None,
    tell: Callable[[str], None],
) -> Tree:
    """Return a tree with a language model's prompts between those it has, unless they are a storyboard's."""
    from ...language.planning.in_between import write_between

    if storyboard is not None:
        _refuse_model()
    return write_between(tree, levels, llm, seed=seed, tell=tell, **asking("prompt_cache"))


def _describe(tree: Tree, width: int, height: int, seconds: float) -> list[str]:
    jobs, latent, picture = tree.local_jobs + 1, width * height // 64 * 4 * 4, width * height * 3 * 4
    levels = ", ".join(f"{(tree.length - 1) ** level:,} on level {level + 1}" for level in range(tree.depth))
    unit, job = ("s", seconds) if seconds else ("jobs' time", 1)
    times = [f"{workers}: {find_makespan(tree, workers) * job:,.0f} {unit}" for workers in WORKERS]
    return [
        f"{tree.frames:,} frames at {width} x {height}, from {jobs:,} jobs of {tree.length} frames: {levels}",
        f"one after the other by workers, {'; '.join(times)}; at least {tree.depth * job:,.0f} {unit}",
        f"all latents {_size(tree.frames * latent)}, a job's {_size(tree.length * latent)}; all pictures "
        f"{_size(tree.frames * picture)}, which Decode To Video does not hold at once",
    ]


def _list_prompts(tree: Tree, written: Set[int], llm: Any) -> list[str]:
    """Return how many prompts there are, and each; those that were written stand further in, the finer their level."""
    answers = len(written) // (tree.length - 2)
    writer = [] if llm is None else [f"{len(written)} of them by {llm.label}, in {answers} answers"]
    lines = [
        f"{'  ' * (tree.level(frame) - 1 if frame in written else 0)}{frame}: {' '.join(prompt.split())}"
        for frame, prompt in tree.prompts.items()
    ]
    return [f"prompts: {len(tree.prompts)}, {tree.interpolation} between", *writer, *lines]


def _size(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"


NODES: list[type] = [NuwaPlan]
