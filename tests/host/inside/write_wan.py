"""Write a Wan and its VAE with few and random weights, which ComfyUI's own loaders open; run by a host's Python.

    PYTHON write_wan.py TREE MODELS     MODELS: the folder of models of a base directory

Sizes that the loader cannot tell from weights ride in the file's metadata: with them Wan reads the demo model's text.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

NAMES = {"diffusion_models": "wan2.1_t2v_1.3B_fp16.safetensors", "vae": "wan_2.1_vae.safetensors"}
SIZES = {"num_heads": 4, "text_dim": 64}
WAN = {
    "model_type": "t2v", "dim": 128, "ffn_dim": 256, "num_layers": 2, "out_dim": 16, "in_dim": 16, **SIZES,
}  # fmt: skip


def main(tree: str, models: str) -> None:
    """Write both files."""
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
    wan = WanModel(**WAN, device="cpu", dtype=torch.float32, operations=comfy.ops.disable_weight_init)
    vae = WanVAE(dim=8, z_dim=16)
    for folder, network in {"diffusion_models": wan, "vae": vae}.items():
        state = {
            name: (1.0 if name.endswith(("gamma", "norm_q.weight", "norm_k.weight")) else 0.0)
            + 0.05 * torch.randn(value.shape, generator=generator)
            for name, value in network.state_dict().items()
        }
        path = Path(models) / folder / NAMES[folder]
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"config": json.dumps({"transformer": SIZES})} if folder == "diffusion_models" else {}
        save_file(state, path, metadata)


if __name__ == "__main__":
    main(*sys.argv[1:])
