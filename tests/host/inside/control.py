"""ControlNets of the demo model's sizes, with random weights, and hints for them."""

from __future__ import annotations

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_management
import comfy.t2i_adapter.adapter
import torch
from frameloom.models.network.sizes import DEMO
from frameloom.tests.support.scene import SIDE

SIZES = {
    "image_size": 32, "in_channels": 4, "model_channels": DEMO.unet.model_channels, "num_res_blocks": [2] * 4,
    "channel_mult": list(DEMO.unet.channel_mult), "context_dim": DEMO.unet.context_dim, "transformer_depth_middle": 1,
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "use_spatial_transformer": True, "legacy": False,
}  # fmt: skip


def empty_network():
    """A ControlNet's layers; ComfyUI would not know one of this size."""
    return comfy.cldm.cldm.ControlNet(hint_channels=3, num_heads=8, dtype=torch.float32, **SIZES).eval()


def fill(net, seed):
    generator = torch.Generator().manual_seed(seed)
    for value in net.parameters():
        value.copy_(torch.randn(value.shape, generator=generator) / max(1, value[0].numel()) ** 0.5)
    return net.eval()


def network(seed):
    net = fill(empty_network(), seed)
    net.input_hint_block[-1].weight.mul_(50.0)  # else random convolutions leave little of a hint
    return net


def hints(seed=2, frames=4):
    """Pictures that are each their frame's number all over, with some noise."""
    noise = torch.rand(frames, 3, 8 * SIDE, 8 * SIDE, generator=torch.Generator().manual_seed(seed)) / 20
    return torch.arange(frames)[:, None, None, None] / frames + noise


def controlnet(seed, kind=comfy.controlnet.ControlNet, net=None):
    device = comfy.model_management.get_torch_device()
    return kind(network(seed) if net is None else net, load_device=device)


def adapter(seed):
    net = comfy.t2i_adapter.adapter.Adapter(
        cin=3 * 64, channels=list(DEMO.unet.widths), nums_rb=1, ksize=1, sk=True, use_conv=False, xl=False
    )
    return comfy.controlnet.T2IAdapter(fill(net, seed), 3, 8, "nearest-exact")


def hinted(control, frames=4, seed=2, previous=None, strength=0.7, percents=(0.0, 1.0)):
    """A ControlNet as ControlNetApplyAdvanced hangs it on a condition."""
    control.set_cond_hint(hints(seed, frames), strength, percents)
    return control if previous is None else control.set_previous_controlnet(previous)


def controlled(scene, link):
    """Both sides of a Scene with a ControlNet on them."""
    positive, negative = (
        [[tokens, {**options, "control": link}] for tokens, options in side]
        for side in (scene.positive, scene.negative)
    )
    return {"positive": positive, "negative": negative}


def attributes_of(link):
    """What a user's ControlNets are, which no run may change; ComfyUI's own note of the latest run is left out."""
    chain = []
    while link is not None:
        chain.append({name: value for name, value in vars(link).items() if name != "model_sampling_current"})
        link = link.previous_controlnet
    return chain


def assert_untouched(link, before):
    for now, then in zip(attributes_of(link), before, strict=True):
        assert now.keys() == then.keys()
        assert all(now[name] is then[name] or now[name] == then[name] for name in now)
