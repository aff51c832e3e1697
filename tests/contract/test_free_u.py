"""What every host promises of FreeU: each frame is as it is in a clip that has its strength throughout."""

from __future__ import annotations

import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.motion.free_u import FreeU

FRAMES = 3


def draw(port, scene, model, **settings):
    """A clip of the demo model alone, which mixes no frames."""
    return scene.run(
        port.install(model, Edit("FreeU", skips=FreeU(frames=FRAMES, **settings))), frames=FRAMES
    )


def test_each_frame_has_its_own_strength(port, demo, scene):
    rising = draw(port, scene, demo[0], first=0.0, last=1.0)
    plain = scene.run(demo[0], frames=FRAMES)
    for frame, strength in enumerate((0.0, 0.5, 1.0)):
        alike = draw(port, scene, demo[0], first=strength, last=strength)
        torch.testing.assert_close(rising[frame], alike[frame], rtol=1e-3, atol=1e-3)
    assert float((rising[2] - plain[2]).norm() / plain[2].norm()) > 0.05


def test_no_strength_is_bit_identical(port, demo, motion, scene):
    model = scene.moving(demo[0], motion)
    none = port.install(model, Edit("FreeU", skips=FreeU(first=0.0, last=0.0)))
    assert torch.equal(scene.run(none, frames=FRAMES), scene.run(model, frames=FRAMES))
