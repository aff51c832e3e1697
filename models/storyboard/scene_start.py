"""What a scene is sampled from, so that what recurs in other scenes starts alike: its noise, and an anchor frame.

Start noise decides much of a picture where the prompt leaves it open. With e_k the noise of frame k, e_i a picture of
noise of entity i's own, W_ik what moves its middle to the middle of i's box in frame k, and s the entity's share:

    e_k <- sqrt(s) W_ik e_i + sqrt(1 - s) e_k    inside of i's box, entity by entity

So an entity's noise goes where its box goes, as Text2Video-Zero moves noise with what it draws (Khachatryan et al.
2023, https://arxiv.org/abs/2303.13439). It is the same in all scenes of its consistency group; so is a background's.

The anchor is a finished picture before the scene's frames, kept as it is while they are sampled: with cross-frame
attention to the first frame, they take their looks from it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from ..video.latents import NOISE_OF_OTHERS, frames_of, number_frames
from ..video.noise import NoiseMode, draw_noise
from ..video.shapes import Clip, Frame
from .scenes import BoxKey, Entity, PointsKey, Scene, Storyboard

Key = TypeVar("Key", BoxKey, PointsKey)


@dataclass(frozen=True)
class SceneNoise:
    """A NOISE socket's value for the frames of a scene; each frame is standard normal, and white.

    Attributes:
        storyboard: one scene, and groups that say what recurs.
        seed: number that the noise of all scenes depends on.
        mode: relation between frames outside of boxes, as in ``noise``.
        entity_share: s, 0..1, of the variance.
        lead: frames before the scene's.
    """

    storyboard: Storyboard
    seed: int
    mode: NoiseMode = "independent"
    entity_share: float = 1.0
    lead: int = 0

    def generate_noise(self, latent: dict[str, Any]) -> Clip:
        """Return noise for a LATENT of the lead and the scene, on the CPU, in the dtype of its samples."""
        samples, scene = frames_of(latent, NOISE_OF_OTHERS), self.storyboard.only_scene()
        frame_ids = number_frames(latent)
        numbers, shape = [frame - self.lead for frame in frame_ids], samples.shape[1:]
        background = self._seed_of(scene, "background", scene.background)
        noise = draw_noise(background, [max(number, 0) for number in numbers], shape, self.mode)
        for entity in scene.entities:
            self._put(noise, scene, entity, numbers)
        before = [place for place, number in enumerate(numbers) if number < 0]
        noise[before] = draw_noise(_seed(self.seed, "anchor"), [frame_ids[place] for place in before], shape)
        return noise.to(samples.dtype)

    def _put(self, noise: Clip, scene: Scene, entity: Entity, numbers: list[int]) -> None:
        """Put an entity's noise into its boxes, in place."""
        height, width = noise.shape[-2:]
        own = draw_noise(self._seed_of(scene, "entity", entity.id), [0], noise.shape[1:])[0]
        boxes, present = entity.boxes_at(numbers)
        s = self.entity_share
        for k in map(int, present.nonzero().flatten()):
            sides = zip(map(float, boxes[k]), (width, height) * 2, strict=True)
            left, top, right, bottom = (round(side * length) for side, length in sides)
            moved = own.roll(((top + bottom - height) // 2, (left + right - width) // 2), (1, 2))
            box = (slice(None), slice(top, bottom), slice(left, right))
            noise[k][box] = s**0.5 * moved[box] + (1 - s) ** 0.5 * noise[k][box]

    def _seed_of(self, scene: Scene, kind: str, name: str) -> int:
        """Return the seed of something in a scene: the same in all scenes of its group, if it has one.

        An entity's id may be the text of a background.
        """
        recurs = scene.id in self.storyboard.groups.get(name, ())
        return _seed(self.seed, kind, name, "" if recurs else str(scene.id))


def _seed(seed: int, *names: str) -> int:
    """Return a seed of 64 bits of its own for names."""
    text = "\n".join((str(seed), *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def with_lead(storyboard: Storyboard) -> Storyboard:
    """Return a storyboard of one scene with a frame before it, in which no entity has a place."""
    scene = storyboard.only_scene()
    entities = [
        entity.model_copy(
            update={
                "track": _later(entity.track, BoxKey(f=0, box=None), entity.hold),
                "keypoints": _later(entity.keypoints, PointsKey(f=0, points={}), entity.hold),
            }
        )
        for entity in scene.entities
    ]
    longer = scene.model_copy(update={"frames": scene.frames + 1, "entities": tuple(entities)})
    return storyboard.model_copy(update={"scenes": (longer,)})


def _later(keys: tuple[Key, ...] | None, absent: Key, hold: bool) -> tuple[Key, ...] | None:
    """Return an entity's keys a frame later, behind one where it is absent; what it holds, it holds from frame 1."""
    if not keys:
        return keys
    moved = tuple(key.model_copy(update={"f": key.f + 1}) for key in keys)
    held = (moved[0].model_copy(update={"f": 1}),) if hold and moved[0].f > 1 else ()
    return absent, *held, *moved


def empty_latent(
    frames: int, size: tuple[int, int], anchor: Frame | None = None, channels: int = 4
) -> dict[str, Any]:
    """Return a LATENT to sample a scene from.

    Args:
        frames: length of the scene.
        size: width and height of the picture, in pixels.
        anchor: clean latent to put before the frames and to keep; its size is the latents'.
        channels: C, where there is no anchor.

    Returns:
        ``samples``, zeros [F, C, H, W] behind the anchor; with one also ``noise_mask`` [1 + F, 1, H, W], 0 where it
        stays as it is.
    """
    if anchor is None:
        return {"samples": torch.zeros(frames, channels, size[1] // 8, size[0] // 8)}
    samples = torch.cat([anchor, anchor.new_zeros(frames, *anchor.shape[1:])])
    mask = torch.ones(1 + frames, 1, *anchor.shape[2:], device=anchor.device)
    mask[0] = 0
    return {"samples": samples, "noise_mask": mask}
