"""What a scene is sampled from, so that what recurs in other scenes starts alike: its noise, and an anchor frame.

Start noise decides much of a picture where the prompt leaves it open. Inside an entity's box it is its own, the
same in all frames and all scenes of its consistency group, and goes where the box goes, as Text2Video-Zero moves noise
with what it draws (Khachatryan et al. 2023, https://arxiv.org/abs/2303.13439). The anchor is a finished picture before
the scene's frames, kept as it is while they are sampled: with cross-frame attention to the first frame, they take their
looks from it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from .family import frames_of
from .noise import NOISE_OF_OTHERS, NoiseMode, draw_noise, number_frames
from .storyboard import BoxKey, Entity, PointsKey, Scene, Storyboard

Key = TypeVar("Key", BoxKey, PointsKey)


@dataclass(frozen=True)
class SceneNoise:
    """A NOISE socket's value for the frames of a scene; each frame is standard normal, and white.

    Attributes:
        storyboard: of one scene, whose groups say what recurs.
        seed: of all scenes.
        mode: how frames are related outside of boxes, see ``noise.draw_noise``.
        entity_share: of an entity's noise that goes with it, as a share of its variance; the rest is the frame's own.
        lead: frames before the scene's.
    """

    storyboard: Storyboard
    seed: int
    mode: NoiseMode = "independent"
    entity_share: float = 1.0
    lead: int = 0

    def generate_noise(self, latent: dict[str, Any]) -> Tensor:
        """Return noise for a LATENT.

        Args:
            latent: with ``samples`` [lead + F, C, H, W]; its ``batch_index``, where it has one, numbers the frames.

        Returns:
            [lead + F, C, H, W] on the CPU, in the dtype of the samples.

        Raises:
            ValueError: the samples are not [F, C, H, W], or ``batch_index`` is of others.
        """
        samples, scene = frames_of(latent, NOISE_OF_OTHERS), self.storyboard.only_scene()
        numbers = [number - self.lead for number in number_frames(latent)]
        shape, own = samples.shape[1:], [max(number, 0) for number in numbers]
        noise = draw_noise(self._seed_of(scene, "background", scene.background), own, shape, self.mode)
        for entity in scene.entities:
            self._put(noise, scene, entity, numbers)
        before = [place for place, number in enumerate(numbers) if number < 0]
        noise[before] = draw_noise(
            _seed(self.seed, "anchor"), [numbers[place] + self.lead for place in before], shape
        )
        return noise.to(samples.dtype)

    def _put(self, noise: Tensor, scene: Scene, entity: Entity, numbers: list[int]) -> None:
        """Put an entity's noise into its boxes; the middle of a box has the middle of its noise."""
        height, width = noise.shape[-2:]
        pattern = draw_noise(self._seed_of(scene, "entity", entity.id), [0], noise.shape[1:])[0]
        boxes, present = entity.boxes_at(numbers)
        for frame in present.nonzero().flatten().tolist():
            left, top, right, bottom = (
                round(side * length)
                for side, length in zip(boxes[frame].tolist(), (width, height) * 2, strict=True)
            )
            move = (top + bottom - height) // 2, (left + right - width) // 2
            place = (frame, slice(None), slice(top, bottom), slice(left, right))
            moved = pattern.roll(move, (1, 2))[place[1:]]
            noise[place] = self.entity_share**0.5 * moved + (1 - self.entity_share) ** 0.5 * noise[place]

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
    frames: int, size: tuple[int, int], anchor: Tensor | None = None, channels: int = 4
) -> dict[str, Any]:
    """Return a LATENT to sample a scene from.

    Args:
        frames: of the scene.
        size: width and height of the picture, in pixels.
        anchor: [1, C, H, W]. A clean latent to put before the frames and to keep; its size is the latents'.
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
