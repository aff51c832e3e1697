"""The files that come with the pack, offered beside the user's own; both hosts list and resolve them the same way."""

from __future__ import annotations

from pathlib import Path

ASSETS = Path(__file__).parent.parent / "assets"
DEMO_MODEL = ASSETS / "demo" / "model.safetensors"
DEMO_TOKENIZER = ASSETS / "demo" / "tokenizer"

# kind of file -> name in the list -> where it lies
BUNDLED: dict[str, dict[str, Path]] = {
    "animatediff_models": {
        "frameloom_demo_motion.safetensors": ASSETS / "demo" / "motion.safetensors",
        "frameloom_demo_motion_few_steps.safetensors": ASSETS / "demo" / "motion_few_steps.safetensors",
    },
    "animatediff_motion_lora": {
        "frameloom_demo_mask_adapter.safetensors": ASSETS / "demo" / "mask_adapter.safetensors",
        "frameloom_demo_pan_left.safetensors": ASSETS / "demo" / "pan_left.safetensors",
        "frameloom_demo_pia.safetensors": ASSETS / "demo" / "pia.safetensors",
    },
    "layout_priors": {
        "frameloom_demo_layout_prior.safetensors": ASSETS / "demo" / "layout_prior.safetensors"
    },
}
