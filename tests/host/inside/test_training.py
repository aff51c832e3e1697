"""ComfyUI, by our adapter, trains a motion module and nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from frameloom.tests.support.training_contract import *  # noqa: F403  the tests, which pytest finds by name


def test_a_base_of_sdxls_shape_is_refused(port, demo):
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from comfy.model_patcher import ModelPatcher

    with torch.inference_mode(False):
        model = copy.copy(demo[0].model)
        model._modules = dict(model._modules)  # its own, where the demo model keeps another UNet
        model.diffusion_model = UNetModel(
            image_size=32,
            in_channels=4,
            model_channels=32,
            out_channels=4,
            num_res_blocks=[2, 2, 2],
            channel_mult=(1, 2, 4),
            num_heads=2,
            use_spatial_transformer=True,
            transformer_depth=[0, 0, 1, 1, 1, 1],
            transformer_depth_middle=1,
            transformer_depth_output=[0, 0, 0, 1, 1, 1, 1, 1, 1],
            context_dim=64,
            dtype=torch.float32,
            operations=comfy.ops.disable_weight_init,
        )
    device = demo[0].load_device
    wide = ModelPatcher(model, load_device=device, offload_device=device)
    with pytest.raises(
        ValueError, match=r"model: got UNetModel with 6 blocks down and 9 up; expected an SD1\.x UNet"
    ):
        port.base(wide)
