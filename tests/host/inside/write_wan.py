"""Write a Wan and its VAE with few and random weights, which ComfyUI's own loaders open; run by a host's Python.

    PYTHON write_wan.py TREE MODELS     MODELS: the folder of models of a base directory

Sizes that the loader cannot tell from weights ride in the file's metadata: with them Wan reads the demo model's text.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

NAMES = {"diffusion_models": "wan2.1_t2v_1.3B_fp16.safetensors", "vae": "wan_2.1_vae.safetensors"}
PAIR = ("wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors", "wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors")
ATI = "Wan2_1-I2V-ATI-14B_fp8_e4m3fn.safetensors"
SIZES = {"num_heads": 4, "text_dim": 64}
WAN = {
    "model_type": "t2v", "dim": 128, "ffn_dim": 256, "num_layers": 2, "out_dim": 16, "in_dim": 16, **SIZES,
}  # fmt: skip


def main(tree: str, models: str) -> None:
    """Write a Wan for text, three that are given pictures, and their VAE."""
    sys.path.insert(0, tree)
    sys.argv = ["main.py", "--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()
    import comfy.ops
    import torch
    from comfy.ldm.wan.model import WanModel
    from comfy.ldm.wan.vae import WanVAE
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    options = {"device": "cpu", "dtype": torch.float32, "operations": comfy.ops.disable_weight_init}
    networks = [("diffusion_models", NAMES["diffusion_models"], WanModel(**WAN, **options))]
    networks += [("vae", NAMES["vae"], WanVAE(dim=8, z_dim=16, temperal_downsample=[False, True, True]))]
    networks += [
        ("diffusion_models", name, WanModel(**WAN | {"in_dim": 36}, **options)) for name in (*PAIR, ATI)
    ]
    for folder, name, network in networks:
        state = {
            key: (1.0 if key.endswith(("gamma", "norm_q.weight", "norm_k.weight")) else 0.0)
            + 0.05 * torch.randn(value.shape, generator=generator)
            for key, value in network.state_dict().items()
        }
        path = Path(models) / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"config": json.dumps({"transformer": SIZES})} if folder == "diffusion_models" else {}
        save_file(state, path, metadata)


if __name__ == "__main__":
    main(*sys.argv[1:])
