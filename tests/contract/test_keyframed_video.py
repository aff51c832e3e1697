"""What every host promises of Keyframed Video on a model of pictures: it says what it takes, and where."""

from __future__ import annotations

import pytest
import torch
from frameloom.tests.contract.test_nuwa import run_node


def test_a_model_of_pictures_is_refused_by_name(demo, scene):
    with pytest.raises(
        ValueError,
        match=r"model: got Stable Diffusion 1.x.*, which .*; expected .* in ComfyUI: Wan.*; use Nuwa Interpolate with",
    ):
        run_node(
            "KeyframedVideo", model=demo[0], vae=demo[2], positive=scene.positive, negative=scene.negative,
            keyframes=torch.zeros(2, 64, 64, 3), length=81, seed=0, steps=2, cfg=1.0, sampler_name="euler",
            scheduler="simple",
        )  # fmt: skip
