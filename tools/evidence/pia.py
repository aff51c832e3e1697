"""A PIA adapter: a clip that is given the picture of one frame, beside another's picture and none.

Prompts say what moves and which way, and neither background nor place, which only the picture tells.
"""

from __future__ import annotations

from functools import partial

import torch
from frameloom.models.motion.lora import read_motion_lora
from frameloom.models.motion.pia import AS_WRITTEN, PiaPicture, read_affinity
from frameloom.models.video import metrics
from frameloom.tools.detector import measure
from frameloom.tools.evidence.motion import follow, moving_clips, read_direction
from frameloom.tools.evidence.rows import Row, agreement, table
from frameloom.tools.evidence.studio import ASSETS, MOVING, Section, Studio, draw_noise
from frameloom.training import shapes
from torch import Tensor

ADAPTER = ASSETS / "pia.safetensors"
GIVEN, OTHER, NONE, ITSELF = "its picture", "another clip's picture", "no adapter", "the clip itself"
ARMS = (GIVEN, OTHER, NONE, ITSELF)
AFFINITY = "1, 0.4"
CLAIMS = (
    "first frame's distance from the picture",
    "first frame's background as the picture's",
    "first frame's color as the picture's",
    "first frame's shape: distance from its place in the picture",
    "other frames' background as the picture's",
    "other frames' color as the picture's",
    "shape as the prompt's",
    "direction as the prompt's (of five)",
    "motion, % a frame",
)


def pia_rows(studio: Studio, samples: int) -> list[Row]:
    """Draw each clip in every way, from one noise."""
    count = max(8, samples // 4)
    figures = torch.stack(studio.each("PIA", count, partial(_clip, count)), 1)
    return table("picture of frame 0", ARMS, CLAIMS, figures, {}, GIVEN)


def _clip(count: int, studio: Studio, number: int) -> Tensor:
    """Return the figures of one clip by every arm, [arms, claims]."""
    clips = moving_clips(count)
    truth, other = (clips.select(torch.tensor([index % count])) for index in (number, number + count // 2))
    pictures = {name: shapes.render(each)[0] for name, each in ((GIVEN, truth), (OTHER, other))}
    latents = {
        name: studio.host.encode(studio.vae, each.movedim(1, -1) / 2 + 0.5)["samples"]
        for name, each in pictures.items()
    }
    prompt = f"{shapes.name_thing(truth, 0)} {shapes.name_motion(truth, 0)}"
    noise = draw_noise(shapes.FRAMES, 70_000 + number)
    adapted = studio.motion.with_lora(read_motion_lora(ADAPTER), 1.0)
    near = read_affinity(AS_WRITTEN, AFFINITY, shapes.FRAMES)
    given = [adapted.with_picture(PiaPicture.of(latents[arm][:1], [0], near)) for arm in (GIVEN, OTHER)]
    drawn = [studio.denoise(studio.with_motion(each), prompt, noise) for each in (*given, studio.motion)]
    drawn.append(latents[GIVEN])
    return torch.stack([_figures(studio.decode(clip), pictures[GIVEN][0], truth) for clip in drawn])


def _figures(images: Tensor, picture: Tensor, truth: shapes.Clips) -> Tensor:
    """Return the figures of one clip, [F, 3, H, W] in -1..1, in the order of the claims."""
    found = measure(images)
    background, color, shape = (
        agreement(getattr(found, name), getattr(truth, name)) for name in ("background", "color", "shape")
    )
    there = bool(found.shape[0] >= 0)
    apart = (found.centers[0] - truth.centers[0, 0]).norm().double() if there else torch.tensor(0.5).double()
    way = agreement(read_direction(*follow([found])), truth.direction)[0]
    motion = metrics.measure((images.movedim(1, -1) + 1) / 2).video.motion
    distance = ((images[0] - picture) / 2).abs().mean().double()
    return torch.stack(
        [
            distance,
            background[0],
            color[0],
            apart,
            background[1:].mean(),
            color[1:].mean(),
            shape.mean(),
            way,
            torch.tensor(motion).double(),
        ]
    )


SECTIONS = {
    "PIA": Section(
        pia_rows,
        (*MOVING, ADAPTER),
        "Clips of the training set's kind, drawn anew, whose first frame is given to PIA Picture. Prompts say what "
        "moves and which way, neither background nor place, which the picture alone tells. A control has the picture "
        "of another clip, and the same prompt and noise. Affinity is 1 for the first frame and 0.4 for the others; "
        "that of clips that move was 0.4 to 0.8 in training. The clip itself went through the VAE, and is as good as "
        "one can be.",
    ),
}
