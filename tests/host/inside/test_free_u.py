"""FreeU in ComfyUI is core's, where every frame has the strength 1."""

from __future__ import annotations

import torch
from comfy_extras.nodes_freelunch import FreeU as CoreFreeU
from frameloom.models.edits.edit import Edit
from frameloom.models.motion.free_u import FreeU
from frameloom.tests.support.tensors import apart


def test_it_is_cores_free_u(port, moving, scene):
    core = CoreFreeU.execute(moving, b1=1.4, b2=1.6, s1=0.9, s2=0.2).args[0]
    ours = port.install(moving, Edit("FreeU", skips=FreeU(1.4, 1.6, 0.9, 0.2)))
    wanted = scene.run(core)
    torch.testing.assert_close(scene.run(ours), wanted, rtol=1e-4, atol=1e-4)
    assert apart(wanted, scene.drawn(moving)) > 0.05
