"""SparseCtrl headless: diffusers' UNet is given what diffusers' own network makes, frame by frame."""

from __future__ import annotations

import torch
from diffusers import SparseControlNetModel
from frameloom.models.edits.edit import Edit
from frameloom.models.motion.sparse_checkpoint import read_sparse_control
from frameloom.models.motion.sparse_control import SparseControlEdit
from frameloom.models.network.sizes import DEMO
from frameloom.tests.host.reference import norm_by_frame
from frameloom.tests.support.sparse import random_sparse, to_diffusers, write_sparse
from frameloom.tests.support.tensors import apart, draw

FRAMES, SIGMA, STRENGTH = 3, 5.0, 0.6


@torch.no_grad()
def test_the_unet_is_given_what_diffusers_network_makes(port, tmp_path):
    model, clip, _ = port.load_demo()
    control = port.load_sparse_control(read_sparse_control(write_sparse(tmp_path / "rgb.safetensors")))
    pictures = draw(1, 4, 8, 8, seed=1)
    part = SparseControlEdit(control, pictures, (FRAMES - 1,), FRAMES, STRENGTH)
    positive, _ = port.encode_text(clip, "a red circle")
    told = []
    hook = model.unet.register_forward_pre_hook(
        lambda _, args, kwargs: told.append((args, kwargs)), with_kwargs=True
    )
    try:
        edited = port.install(model, Edit("SparseCtrl", residuals=part))
        port.predict(edited, positive, {"samples": draw(FRAMES, 4, 8, 8)}, SIGMA)
    finally:
        hook.remove()
    [((_, timestep), given)] = told
    network = SparseControlNetModel(
        block_out_channels=DEMO.unet.widths,
        cross_attention_dim=DEMO.unet.context_dim,
        attention_head_dim=DEMO.unet.num_heads,
    )
    network.load_state_dict(to_diffusers(random_sparse()[1]), strict=False)
    norm_by_frame(network)
    frames, mask = torch.zeros(1, 4, FRAMES, 8, 8), torch.zeros(1, 1, FRAMES, 8, 8)
    frames[:, :, -1], mask[:, :, -1] = pictures, 1
    tokens = positive[0][0].repeat(FRAMES, 1, 1)
    skips, middle = network(
        torch.zeros_like(frames),
        timestep,
        tokens,
        frames,
        STRENGTH,
        conditioning_mask=mask,
        return_dict=False,
    )
    got = [*given["down_block_additional_residuals"], given["mid_block_additional_residual"]]
    assert max(apart(one, other) for one, other in zip(got, [*skips, middle], strict=True)) <= 1e-4
