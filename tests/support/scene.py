"""A small sampling run that tests repeat on differently edited models."""

from __future__ import annotations

import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.motion.edit import motion_edit
from frameloom.models.zero_shot.cross_frame import CrossFrameEdit

FRAMES = 4


class Scene:
    def __init__(self, port, clip, frames=FRAMES):
        self.port = port
        self.positive, _ = port.encode_text(clip, "a big red circle moving right on a navy background")
        self.negative, _ = port.encode_text(clip, "")
        self.frames = frames

    def noise(self, frames):
        return torch.randn(frames, 4, 16, 16, generator=torch.Generator().manual_seed(0))

    def run(
        self, model, *, frames=None, noise=None, sampler="euler", progress=None, positive=None, sigmas_of=None
    ):
        frames = frames or (self.frames if noise is None else len(noise))
        return self.port.sample(
            model,
            positive or self.positive,
            self.negative,
            {"samples": torch.zeros(frames, 4, 16, 16)},
            noise=self.noise(frames) if noise is None else noise,
            sigmas=self.port.sigmas(sigmas_of or model, 3, "normal"),
            sampler=sampler,
            cfg=3.0,
            progress=progress,
        )["samples"]

    def moving(self, model, motion, strength=1.0, schedule=None, **range_):
        return self.port.install(model, motion_edit("test", motion, schedule, strength=strength, **range_))

    def crossing(self, model, **settings):
        return self.port.install(model, Edit("test", self_attention=CrossFrameEdit(**settings)))
