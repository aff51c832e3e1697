"""What diffusers makes of the demo's weights, with motion, SparseCtrl and Text2Video-Zero: ComfyUI must equal it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import MotionAdapter, SparseControlNetModel, UNetMotionModel
from einops import rearrange
from frameloom.headless.weights.keys import UNET_PREFIX, ldm_names, unet_modules
from frameloom.headless.weights.networks import build_unet
from frameloom.host.bundled import BUNDLED, DEMO_MODEL
from frameloom.models.motion.checkpoint import read_motion_weights, to_diffusers
from frameloom.models.network.sizes import DEMO
from frameloom.tests.support import tiny_sdxl, tiny_wan
from frameloom.tests.support.sparse import GIVEN, random_sparse
from frameloom.tests.support.sparse import to_diffusers as to_diffusers_sparse
from frameloom.tests.support.text2video_zero import by_diffusers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

FRAMES = 5


class FrameNorm(nn.Module):
    """diffusers' norm of a motion module takes a clip's statistics; AnimateDiff's weights want each frame's own."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, clip: Tensor) -> Tensor:
        frames = clip.shape[2]
        return rearrange(
            self.norm(rearrange(clip, "b c f h w -> (b f) c h w")), "(b f) c h w -> b c f h w", f=frames
        )


def norm_by_frame(network: nn.Module) -> None:
    """Let the temporal layers of a network of diffusers' take norms as AnimateDiff's weights want them."""
    for name, module in network.named_modules():
        if name.endswith(tuple(f"motion_modules.{index}" for index in range(3))):
            module.norm = FrameNorm(module.norm)


@torch.no_grad()
def controlled(unet: Any, noisy: Tensor, tokens: Tensor) -> Tensor:
    """Return what a UNet answers beside diffusers' SparseCtrl, at timestep 500 and half strength, given two frames."""
    network = SparseControlNetModel(
        block_out_channels=DEMO.unet.widths,
        cross_attention_dim=DEMO.unet.context_dim,
        attention_head_dim=DEMO.unet.num_heads,
    )
    network.load_state_dict(to_diffusers_sparse(random_sparse()[1]), strict=False)
    norm_by_frame(network)
    given, mask = torch.zeros(1, 4, FRAMES, 16, 16), torch.zeros(1, 1, FRAMES, 16, 16)
    given[0, :, [0, FRAMES - 1]], mask[:, :, [0, FRAMES - 1]] = GIVEN.transpose(0, 1), 1
    clip = rearrange(noisy, "f c h w -> 1 c f h w")
    skips, middle = network(clip, 500, tokens, given, 0.5, conditioning_mask=mask, return_dict=False)
    return unet(
        noisy, 500, encoder_hidden_states=tokens,
        down_block_additional_residuals=skips, mid_block_additional_residual=middle,
    ).sample  # fmt: skip


def write_reference(path: Path) -> Path:
    """Write an input, diffusers' outputs with and without motion, and its zero-shot clip for two prompts.

    Files of a small video model lie beside it, with what diffusers makes of them.
    """
    ldm = {
        key.removeprefix(UNET_PREFIX): value.float()
        for key, value in load_file(DEMO_MODEL).items()
        if key.startswith(UNET_PREFIX)
    }
    unet = build_unet(DEMO.unet)
    names = ldm_names(unet.state_dict(), unet_modules(DEMO.unet))
    unet.load_state_dict({ours: ldm[key] for ours, key in names.items()})
    weights = read_motion_weights(BUNDLED["animatediff_models"]["frameloom_demo_motion.safetensors"])
    state, config = to_diffusers(weights)
    adapter = MotionAdapter(**config)
    adapter.load_state_dict({key: value.float() for key, value in state.items()}, strict=False)
    moving = UNetMotionModel.from_unet2d(unet, adapter).eval()
    norm_by_frame(moving)
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(FRAMES, 4, 16, 16, generator=generator)
    tokens = torch.randn(FRAMES, 77, DEMO.unet.context_dim, generator=generator)
    with torch.no_grad():
        still = unet.eval()(noisy, 500, encoder_hidden_states=tokens).sample
        clip = rearrange(noisy, "f c h w -> 1 c f h w")
        moved = moving(clip, 500, encoder_hidden_states=tokens).sample
    moved = rearrange(moved, "1 c f h w -> f c h w").contiguous()
    found = {"noisy": noisy, "tokens": tokens, "still": still, "moved": moved}
    found["sparse"] = controlled(unet, noisy, tokens)
    found["zero_shot"] = by_diffusers(unet, (tokens[:1], tokens[1:2]), "v_prediction")
    found |= {f"xl.{key}": value.contiguous() for key, value in tiny_sdxl.reference().items()}
    found |= {
        f"wan.{key}": value.contiguous() for key, value in tiny_wan.write_reference(path.parent).items()
    }
    save_file(found, path)
    return path
