"""Prompts between keyframes, written by a language model, for the finer levels of a NUWA-XL tree.

A question holds two neighbouring prompts, and asks for L - 2 prompts between them, for jobs of L frames. The coarsest
level comes first; the next level asks about the prompts that it got. Two equal prompts are not asked about.

Source: NUWA-XL (Yin et al. 2023), https://arxiv.org/abs/2303.12346, section 3.2: every job has L prompts, at finer
intervals on each level. There they are captions of the video; here they are made up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...models.errors import LanguageModelError
from ...models.long_video.nuwa_tree import Job, Tree
from ...models.long_video.prompt_text import Keys
from ..answers import wire
from ..llm.model import LanguageModel, Tell, TunedModel, Watch
from .cache import AnswerCache
from .conversation import Conversation

MAX_QUESTIONS = 256  # questions about one tree; AnswerCache holds twice as many answers

ROLE = "You write prompts for the pictures of a video."
REMEDY = "try another seed or model, or write more keyframes yourself; what was answered is kept, and not asked again"
TASK = (
    "Two pictures of a video are given by their prompts for a text-to-image model: before and after. Write the prompts "
    "of the pictures between them: count of them, in the order of time, at equal distances. Each is one line that "
    "describes, by itself, what one still picture shows, as long as the given two and in their manner. What both have "
    "in common stands in each, in the same words. What differs changes step by step, so that the first is close to "
    "before and the last is close to after; nothing else comes in."
)
EXAMPLE = (
    {
        "before": "a small boat on a calm sea, bright noon, oil painting",
        "after": "a small boat on a stormy sea, dusk, oil painting",
        "count": 3,
    },
    {
        "prompts": [
            "a small boat on a sea with light waves, afternoon, oil painting",
            "a small boat on a sea with high waves, late afternoon, oil painting",
            "a small boat on a rough sea under dark clouds, evening, oil painting",
        ]
    },
)


def write_between(
    tree: Tree,
    levels: int,
    model: LanguageModel,
    *,
    seed: int = 0,
    repairs: int = 2,
    cache: AnswerCache | None = None,
    watch: Watch = lambda characters: None,
    progress: Callable[[float], None] = lambda share: None,
    tell: Tell = lambda sentence: None,
) -> Tree:
    """Return a tree with prompts between those of its keyframes.

    Args:
        tree: tree with prompts at its keyframes alone.
        levels: number of the finest level on which frames get prompts; at most the tree's depth.
        model: language model that answers.
        seed: seed of the model's sampling.
        repairs: number of times that a wrong answer goes back to the model, with its fault.
        cache: store of right answers, asked before the model; None: every question is asked.
        watch: callback of ``LanguageModel.complete``.
        progress: callback that takes the share that is done, 0..1.
        tell: callback that takes one sentence about an answer that was read in another way than asked for.

    Raises:
        ValueError: it would take more than ``MAX_QUESTIONS``, or answers of more than ``wire.MAX_PROMPTS`` prompts.
        models.errors.LanguageModelError: there is no answer, or none that can be used.
    """
    if isinstance(model, TunedModel) and model.form:
        raise LanguageModelError(
            f"{model.label}: was tuned to write storyboards, and nothing else; expected a model that answers "
            "questions; choose another for prompts between keyframes."
        )
    levels = min(levels, tree.depth)
    most = count_questions(tree, levels)
    _check_numbers(tree, levels, most)
    conversation = Conversation(model, ROLE, "question", REMEDY, seed, repairs, cache, watch, tell)
    longest = max(wire.MAX_TEXT, *(2 * len(prompt) for prompt in tree.prompts.values()))
    prompts, asked = dict(tree.prompts), 0
    for level in range(2, levels + 1):
        for job in _gaps(tree, level, prompts):
            progress(asked / most)
            asked += 1
            written = _ask(conversation, job, prompts, longest)
            prompts.update(zip(job.frame_ids[1:-1], written, strict=True))
    progress(1.0)
    return replace(tree, prompts=dict(sorted(prompts.items())))


def count_questions(tree: Tree, levels: int) -> int:
    """Return how many questions ``write_between`` asks at most: fewer where an answer has a prompt twice in a row.

    Examples:
        >>> tree = Tree(4, 3, {0: "a", 9: "b", 18: "b", 27: "c"})
        >>> count_questions(tree, 2), count_questions(tree, 3)
        (2, 8)
    """
    if levels < 2:
        return 0
    gaps = len(_gaps(tree, 2, tree.prompts))
    return gaps * sum((tree.length - 1) ** level for level in range(levels - 1))


def _gaps(tree: Tree, level: int, prompts: Keys) -> list[Job]:
    """Return the jobs of a level whose ends have prompts that differ."""
    jobs = [tree.job(level, index) for index in range((tree.length - 1) ** (level - 1))]
    ends = [(prompts.get(job.frame_ids[0]), prompts.get(job.frame_ids[-1])) for job in jobs]
    return [
        job
        for job, (first, last) in zip(jobs, ends, strict=True)
        if first != last and None not in (first, last)
    ]


def _ask(conversation: Conversation, job: Job, prompts: Keys, longest: int) -> list[str]:
    first, *between, last = job.frame_ids
    count = len(between)
    return conversation.ask(
        "prompts between two",
        f"{TASK} None is longer than {longest} characters.",
        EXAMPLE,
        {"before": prompts[first], "after": prompts[last], "count": count},
        wire.prompts_schema(count),
        lambda value: wire.read_prompts(value, count, longest),
        where=f", {job}",
    )


def _check_numbers(tree: Tree, levels: int, most: int) -> None:
    if most and tree.length - 2 > wire.MAX_PROMPTS:
        raise ValueError(
            f"length={tree.length}: a language model would write {tree.length - 2} prompts in one answer; expected at "
            f"most {wire.MAX_PROMPTS}; lower length, and raise depth for as many frames."
        )
    if most > MAX_QUESTIONS:
        counts = {level: count_questions(tree, level) for level in range(2, levels)}
        fits = max(level for level, count in counts.items() if count <= MAX_QUESTIONS)
        raise ValueError(
            f"prompt_levels={levels}: a language model would be asked {most:,} times; expected at most "
            f"{MAX_QUESTIONS}; lower prompt_levels to {fits}, which asks {counts[fits]} times."
        )
