"""Scene Start: do scenes take their anchor's look, and does an entity look more alike when its noise goes with it?

Every scene is drawn as the nodes do, with Layout Conditioning's defaults. Prompts say color and shape and leave the
background open, so that nothing but the anchor can tell a scene which one to take.
"""

from __future__ import annotations

import torch
from frameloom.headless.weights.model import Model
from frameloom.models.storyboard.scene_start import SceneNoise, empty_latent, with_lead
from frameloom.tools.detector import measure
from frameloom.tools.evidence.layout import FRAMES, SIDE, Task, lay_out, make_tasks, overlap
from frameloom.tools.evidence.rows import Row, agreement, table
from frameloom.tools.evidence.studio import LATENT_SIDE, MODEL, Section, Studio
from frameloom.tools.evidence.zero_shot import with_anchor
from frameloom.training import shapes
from torch import Tensor

ANCHORED, ENTITY_NOISE, NEITHER = "anchor and entity noise", "entity noise", "neither"
SIZE = (shapes.IMAGE_SIZE, shapes.IMAGE_SIZE)


def scene_rows(studio: Studio, samples: int) -> list[Row]:
    """Draw each scene with both, with the noise alone, and with neither. Controls: the last two."""
    figures: dict[str, list[Tensor]] = {ANCHORED: [], ENTITY_NOISE: [], NEITHER: []}
    crossed = with_anchor(studio)
    for task in make_tasks(max(8, samples // 2)):
        anchor = _draw_anchor(studio, task)
        wanted = measure(studio.decode(anchor)).background
        for arm, values in figures.items():
            given = anchor if arm == ANCHORED else None
            images = _draw(
                studio, crossed if given is not None else studio.model, task, given, float(arm != NEITHER)
            )
            values.append(_look(images, task, wanted))
    claims = (
        "background as the anchor's",
        "color as the prompt's",
        "IoU with the box",
        "change of the thing",
    )
    targets = {claims[0]: ">= 0.90"}
    every = torch.stack([torch.stack(values) for values in figures.values()])
    return table("scene", list(figures), claims, every, targets, ANCHORED)


def _prompt(task: Task) -> str:
    return f"a {task.things[0].text}"


def _draw_anchor(studio: Studio, task: Task) -> Tensor:
    """Return a picture of the task's thing by itself, [1, 4, h, w]."""
    noise = SceneNoise(task.storyboard(prompt=_prompt(task)), task.seed + 1).generate_noise(
        {"samples": torch.zeros(1, 4, LATENT_SIDE, LATENT_SIDE)}
    )
    return studio.denoise(studio.model, _prompt(task), noise)


def _draw(studio: Studio, model: Model, task: Task, anchor: Tensor | None, share: float) -> Tensor:
    """Return the scene's frames behind the anchor, without it: [F, 3, H, W] in -1..1."""
    board, lead = task.storyboard(prompt=_prompt(task)), int(anchor is not None)
    latent = empty_latent(FRAMES, SIZE, anchor)
    noise = SceneNoise(board, task.seed, entity_share=share, lead=lead).generate_noise(latent)
    model, positive = lay_out(studio, model, with_lead(board) if lead else board)
    mask = latent.get("noise_mask")
    return studio.decode(studio.denoise(model, positive, noise, latent=latent["samples"], mask=mask))[lead:]


def _look(images: Tensor, task: Task, background: Tensor) -> Tensor:
    """Return the background's and the color's agreement, the IoU, and how much the thing in its box changes: [4]."""
    found, thing = measure(images), task.things[0]
    side = round(SIDE * images.shape[-1])
    corners = ((thing.centers - SIDE / 2) * images.shape[-1]).round().long().tolist()
    crops = torch.stack(
        [picture[:, y : y + side, x : x + side] for picture, (x, y) in zip(images, corners, strict=True)]
    )
    return torch.stack(
        [
            agreement(found.background, background).mean(),
            agreement(found.color, thing.color).mean(),
            overlap(found, thing).mean().double(),
            ((crops[1:] - crops[:1]).abs().mean() / 2).double(),
        ]
    )


SECTIONS = {
    "scenes": Section(
        scene_rows,
        (MODEL,),
        "Scene Start behind Cross Frame Attention. An anchor is a picture of the same thing, by itself and "
        "from other noise. The change of the thing is the mean difference, of a range of 1, between what its "
        "box shows in the first frame and in the others.",
    ),
}
