"""A small sampling run that tests repeat on differently edited models."""

from __future__ import annotations

import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.motion.edit import motion_edit
from frameloom.models.zero_shot.cross_frame import CrossFrameEdit

FRAMES = 4
SIDE = 8  # cells, of 8 pixels


class Scene:
    def __init__(self, port, clip):
        self.port = port
        self.positive, _ = port.encode_text(clip, "a big red circle moving right on a navy background")
        self.negative, _ = port.encode_text(clip, "")
        self._drawn = {}

    def noise(self, frames=FRAMES):
        return torch.randn(frames, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(0))

    def run(
        self, model, *, frames=FRAMES, positive=None, negative=None, noise=None, latent=None, sigmas=None,
        sampler="euler", cfg=3.0, **more,
    ):  # fmt: skip
        """Three steps of Euler's from empty latents, unless something else is given."""
        noise = self.noise(frames) if noise is None else noise
        return self.port.sample(
            model,
            positive or self.positive,
            negative or self.negative,
            {"samples": torch.zeros_like(noise) if latent is None else latent},
            noise=noise,
            sigmas=self.port.sigmas(model, 3, "normal") if sigmas is None else sigmas,
            sampler=sampler,
            cfg=cfg,
            **more,
        )["samples"]

    def drawn(self, model, frames=FRAMES):
        """The same run with nothing else given, made once for all tests; what they share is not edited."""
        if (id(model), frames) not in self._drawn:
            self._drawn[id(model), frames] = model, self.run(model, frames=frames)
        return self._drawn[id(model), frames][1]

    def predict(self, model, positive=None, *, frames=FRAMES, sigma=5.0):
        """One forward pass."""
        latent = {"samples": 4 * sigma * self.noise(frames)}
        return self.port.predict(model, positive or self.positive, latent, sigma)

    def moving(self, model, motion, strength=1.0, schedule=None, **range_):
        return self.port.install(model, motion_edit("test", motion, schedule, strength=strength, **range_))

    def crossing(self, model, **settings):
        return self.port.install(model, Edit("test", self_attention=CrossFrameEdit(**settings)))

    def windowed(self, model, plan):
        return self.port.install(model, Edit("windows", windows=plan))
