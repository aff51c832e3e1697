"""PIA in ComfyUI: an inpainting model keeps the further channels of its own."""

from __future__ import annotations

import torch
from frameloom.models.motion.pia import PICTURE_KEY
from frameloom.tests.contract.test_pia import images, near, pia, told, widened
from frameloom.tests.host.inside.tiny_models import build
from frameloom.tests.support.scene import FRAMES, SIDE
from frameloom.tests.support.tensors import apart

import nodes

__all__ = ["pia", "told"]


def test_an_inpainting_model_keeps_its_own_channels(port, demo, pia, scene, told):
    """PIA's are added to what its first convolution makes of nine."""
    model = build("Stable Diffusion 1.x (inpainting)")
    mask = torch.ones(FRAMES, 8 * SIDE, 8 * SIDE)
    positive, negative, _ = nodes.InpaintModelConditioning().encode(
        scene.positive, scene.negative, images(FRAMES).flip(0), demo[2], mask, noise_mask=False
    )

    def drawn(module, positive=positive, negative=negative):
        return scene.run(scene.moving(model, module), positive=positive, negative=negative)

    with widened(port, (model, *demo[1:]), pia.weights.state[PICTURE_KEY]):
        wanted = drawn(pia)
    near(drawn(told()), wanted)
    assert apart(wanted, drawn(pia)) > 1e-3
    assert apart(wanted, drawn(told(), scene.positive, scene.negative)) > 1e-3
