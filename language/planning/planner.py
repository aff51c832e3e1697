"""The planner that asks a language model: for the scenes, then for the boxes of each (VideoDirectorGPT, 2023).

If the model fails, so does the planner: the rules do not step in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...models.storyboard.scenes import Provenance, Scene, Storyboard
from ..answers import wire
from ..answers.places import Unit
from ..llm.model import LanguageModel, Tell, TunedModel, Watch
from .assemble import assemble
from .at_once import plan_at_once
from .cache import AnswerCache
from .conversation import Conversation

MAX_SCRIPT = 20_000

ROLE = "You plan video layouts."
REMEDY = "try another seed or model, a simpler script, or the rules"
SCENES_TASK = (
    "Split the script into scenes, in order. For each scene write: prompt, a short caption of the picture for a "
    "text-to-image model, without words for places in the frame and for motion; background, the place or color behind "
    "everything, as it stands in the prompt; entities, the things to be placed, each with an id and a text, the words "
    "that name it in the prompt. The same thing keeps its id and its text in all scenes. At most "
    f"{wire.MAX_SCENES} scenes and {wire.MAX_ENTITIES} entities a scene."
)
_SCRIPT = "A red ball rolls to the right in a park. Then a dog catches it."
_BALL = {"id": "ball", "text": "a red ball"}
SCENES_EXAMPLE = (
    {"script": _SCRIPT},
    {
        "scenes": [
            {"prompt": "a red ball in a park", "background": "a park", "entities": [_BALL]},
            {
                "prompt": "a brown dog and a red ball in a park",
                "background": "a park",
                "entities": [{"id": "dog", "text": "a brown dog"}, _BALL],
            },
        ]
    },
)
BOXES_TASK = (
    "Place the entities of one scene of the script. Each gets 2 to 4 keys: t, the time in percent of the scene, "
    "rising; x and y, the left and top of its box, and w and h, its width and height, in percent of the picture, from "
    "the top left corner, whole numbers in steps of 5. x + w and y + h are at most 100. Between keys a box moves in a "
    "straight line: x falls when it goes left, y falls when it goes up. Boxes do not overlap at the start. Give "
    "every entity, by its id."
)
BOXES_EXAMPLE = (
    {"script": _SCRIPT, "scene": 1, "prompt": "a red ball in a park", "entities": [_BALL]},
    {
        "entities": [
            {
                "id": "ball",
                "keys": [
                    {"t": 0, "x": 5, "y": 55, "w": 30, "h": 30},
                    {"t": 100, "x": 60, "y": 55, "w": 30, "h": 30},
                ],
            }
        ]
    },
)


def plan_with_model(
    script: str,
    model: LanguageModel,
    *,
    frames: int,
    fps: float = 8.0,
    size: tuple[int, int] = (512, 512),
    seed: int = 0,
    repairs: int = 2,
    cache: AnswerCache | None = None,
    watch: Watch = lambda characters: None,
    progress: Callable[[float], None] = lambda share: None,
    tell: Tell = lambda sentence: None,
) -> Storyboard:
    """Make a storyboard of a script with a language model.

    Args:
        script: text that says what happens, in any words.
        model: language model that answers.
        frames: length of each scene.
        fps: frames a second.
        size: width and height in pixels.
        seed: seed of the model's sampling.
        repairs: number of times that a wrong answer goes back to the model, with its fault.
        cache: store of right answers, asked before the model; None: every question is asked.
        watch: callback of ``LanguageModel.complete``.
        progress: callback that takes the share that is done, 0..1.
        tell: callback that takes one sentence about an answer that was read in another way than asked for.

    Raises:
        ValueError: the script is empty or too long.
        models.errors.LanguageModelError: there is no answer, or none that can be used.
    """
    if not script.strip() or len(script) > MAX_SCRIPT:
        raise ValueError(
            f"script: got {len(script):,} characters; expected 1 to {MAX_SCRIPT:,}, and some words; write or split it."
        )
    if isinstance(model, TunedModel) and model.form:
        return plan_at_once(
            script, model, frames=frames, fps=fps, size=size, seed=seed, cache=cache, watch=watch
        )
    conversation = Conversation(model, ROLE, "script", REMEDY, seed, repairs, cache, watch, tell)
    question, schema = {"script": script}, wire.scenes_schema()
    answer = conversation.ask(
        "scenes", SCENES_TASK, SCENES_EXAMPLE, question, schema, wire.read_scenes, also=(frames,)
    )
    planned: list[Scene] = []
    unit: Unit | None = None
    for number, scene in enumerate(answer, 1):
        progress(number / (len(answer) + 1))
        boxes = _ask_boxes(conversation, script, number, scene, frames, unit)
        planned.append(wire.to_scene(number, scene, boxes.keys, frames))
        unit = boxes.unit if boxes.keys else unit
    progress(1.0)
    provenance = Provenance(planner="language model", model=model.label, seed=seed)
    return assemble(planned, fps=fps, size=size, provenance=provenance)


def _ask_boxes(
    conversation: Conversation,
    script: str,
    number: int,
    scene: Mapping[str, Any],
    frames: int,
    before: Unit | None,
) -> wire.Boxes:
    ids = [entity["id"] for entity in scene["entities"]]
    if not ids:
        return wire.Boxes({}, "percent", "percent")
    question = {"script": script, "scene": number, "prompt": scene["prompt"], "entities": scene["entities"]}
    stage = f"boxes of scene {number}"
    boxes = conversation.ask(
        stage,
        BOXES_TASK,
        BOXES_EXAMPLE,
        question,
        wire.boxes_schema(ids),
        lambda value: wire.read_boxes(value, ids, before),
        also=(frames,),
    )
    for what, unit in (("places", boxes.unit), ("times", boxes.times)):
        if unit != "percent":
            conversation.tell(f"{stage}: {what} are read as {unit}, where percent was asked for")
    return boxes
