"""What every host promises of FreeU: each frame is as it is in a clip that has its strength throughout."""

from __future__ import annotations

import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.motion.free_u import FreeU
from frameloom.tests.support.tensors import apart

FRAMES = 3


def draw(port, scene, model, **settings):
    part = FreeU(frames=FRAMES, **settings)
    return scene.run(port.install(model, Edit("FreeU", skips=part)), frames=FRAMES)


def test_each_frame_has_its_own_strength(port, demo, scene):
    """The demo model alone mixes no frames."""
    rising = draw(port, scene, demo[0], first=0.0, last=1.0)
    for frame, strength in enumerate((0.0, 0.5, 1.0)):
        alike = draw(port, scene, demo[0], first=strength, last=strength)
        torch.testing.assert_close(rising[frame], alike[frame], rtol=1e-3, atol=1e-3)
    assert apart(rising[2], scene.drawn(demo[0], FRAMES)[2]) > 0.05


def test_no_strength_is_bit_identical(port, moving, scene):
    still = draw(port, scene, moving, first=0.0, last=0.0)
    assert torch.equal(still, scene.drawn(moving, FRAMES))
