"""Conditions that are asked as several in ComfyUI, and whose answers become one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from comfy.samplers import encode_model_conds
from torch import Tensor

from ....models.edits.active import check_composed
from ....models.edits.edit import Conditions, Question

Side = Sequence[dict[str, Any]] | None
Ask = Callable[[list[Side]], list[Tensor]]


def ask_composed(
    ask: Ask,
    sides: Sequence[Side],
    composition: Conditions,
    payloads: dict[Any, dict[str, Any]],
    model: Any,
    noisy: Tensor,
    *,
    sigma: float,
    progress: float,
    frame_ids: Sequence[int],
) -> list[Tensor]:
    """Return every side's answer.

    A side keeps its number in every question, so that whoever tells positive from negative by it still can.

    Args:
        ask: ComfyUI's batch of conditions: an answer, [F, C, H, W], for each side.
        sides: lists of conditions.
        composition: composition of an edit.
        payloads: payloads of the run's conditions by their uuid; those of variants are added.
        model: ComfyUI's model that is asked.
        noisy: [F, C, H, W]. Batch that it is asked about.
        sigma: noise level.
        progress: share of sampling, as ``Call.progress``.
        frame_ids: absolute number of each frame.

    Raises:
        ValueError: two conditions of one side are to be asked as several.
    """
    found: dict[int, tuple[dict[str, Any], list[Side]]] = {}
    for number, side in enumerate(sides):
        several = {
            place: variants
            for place, condition in enumerate(side or ())
            if _is_active(condition, sigma)
            and (variants := composition.variants(payloads.get(condition["uuid"], {}), progress))
        }
        place = check_composed(composition, list(several))
        if side is not None and place is not None:
            questions: list[Side] = []
            for index, question in enumerate(several[place]):
                variant = _variant(side[place], index, question, model, noisy)
                payloads[variant["uuid"]] = question.payload
                questions.append([*side[:place], variant, *side[place + 1 :]])
            found[number] = side[place], questions
    answers = list(
        ask([found[number][1][0] if number in found else side for number, side in enumerate(sides)])
    )
    for number, (condition, questions) in found.items():
        parts = [answers[number]]
        for question in questions[1:]:
            parts.append(ask([question if other == number else None for other in range(len(sides))])[number])
        answers[number] = composition.compose(payloads[condition["uuid"]], parts, frame_ids, progress)
    return answers


def _is_active(condition: dict[str, Any], sigma: float) -> bool:
    """Tell whether a condition counts at a noise level, by its range of timesteps."""
    return condition.get("timestep_end", 0.0) <= sigma <= condition.get("timestep_start", float("inf"))


def _variant(
    condition: dict[str, Any], number: int, question: Question, model: Any, noisy: Tensor
) -> dict[str, Any]:
    """Return a condition with another prompt, and an id of its own that is the same in every step.

    Where the network reads prompts as one vector too, with sizes behind it (SDXL), sizes stay the condition's.
    """
    conds = condition["model_conds"]
    attended, pooled = conds["c_crossattn"], question.pooled
    asked = {**condition, "uuid": uuid.uuid5(condition["uuid"], str(number))}
    asked["model_conds"] = {**conds, "c_crossattn": type(attended)(question.tokens.to(attended.cond))}
    if pooled is None or "y" not in conds:
        return asked

    def encode(**given: Any) -> dict[str, Any]:
        return {"y": type(conds["y"])(model.encode_adm(**given).to(conds["y"].cond))}

    asked["pooled_output"] = pooled
    return encode_model_conds(encode, [asked], noisy, noisy.device, "")[0]
