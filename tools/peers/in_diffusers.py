"""Steps of diffusers' UNetMotionModel.

usage: python -m frameloom.tools.peers.in_diffusers UNET MOTION
    UNET    random weights in diffusers' keys
    MOTION  a motion module's file
"""

from __future__ import annotations

import gc
import sys
from typing import Any

import torch
from diffusers import MotionAdapter, UNetMotionModel
from frameloom.headless.weights.networks import build_unet
from frameloom.models.motion.checkpoint import read_motion_weights, to_diffusers
from frameloom.models.network.sizes import SD15
from frameloom.tools.peers.worker import clock, hold_all_but, memory, serve, start_peak
from safetensors.torch import load_file

TOKENS = 77


def main() -> None:
    """Build the network, and answer."""
    unet = build_unet(SD15.unet).eval()
    unet.load_state_dict(load_file(sys.argv[1]))
    state, config = to_diffusers(read_motion_weights(sys.argv[2]))
    adapter = MotionAdapter(**config)
    adapter.load_state_dict({name: value.float() for name, value in state.items()})
    network: Any = UNetMotionModel.from_unet2d(unet, adapter)
    network.eval()
    del unet, adapter, state
    text = torch.randn(2, TOKENS, SD15.unet.context_dim, generator=torch.Generator().manual_seed(1))

    @torch.inference_mode()
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        """Make a step; both sides of guidance are one batch, as in diffusers' pipeline."""
        frames, cells = request["frames"], request["pixels"] // 8
        sides = 2 if request["cfg"] > 1 else 1
        noisy = torch.randn(sides, 4, frames, cells, cells)
        tokens = text[:sides].repeat_interleave(frames, 0)
        gc.collect()
        anonymous = memory("RssAnon")
        ballast = hold_all_but(request["free"] * 1024) if request["free"] else None
        now = clock(beside_work=request["beside_work"])
        end_peak = start_peak(beside_work=request["beside_work"])
        started = now()
        network(noisy, 999, encoder_hidden_states=tokens)
        seconds = now() - started
        peak = end_peak()
        del ballast
        return {"seconds": seconds, "peak": peak, "anonymous": anonymous, "cores": torch.get_num_threads()}

    serve(lambda: answer)


if __name__ == "__main__":
    main()
