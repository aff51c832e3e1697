"""What is not finite, or no latent, stops a run before a file is written of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from frameloom.headless.core_nodes import conditioning, image, latent, video
from frameloom.models.errors import PredictionError
from safetensors.torch import save

NAN = float("nan")
PICTURES = torch.zeros(3, 16, 16, 3).index_fill(0, torch.tensor(1), NAN)
LATENT = {"samples": torch.zeros(3, 4, 2, 2).index_fill(0, torch.tensor(1), NAN)}
SAVERS = {
    "SaveImage": lambda: image.SaveImage.execute(PICTURES, "x"),
    "PreviewImage": lambda: image.PreviewImage.execute(PICTURES),
    "SaveAnimatedWEBP": lambda: image.SaveAnimatedWEBP.execute(PICTURES, "x", 8.0, False, 80, "default"),
    "SaveVideo": lambda: video.SaveVideo.execute(
        video.CreateVideo.execute(PICTURES, 8.0)[0], "x", {"format": "mp4", "codec": {"codec": "h264"}}
    ),
    "SaveLatent": lambda: latent.SaveLatent.execute(LATENT, "x"),
    "VAEDecode": lambda: conditioning.VAEDecode.execute(LATENT, object()),
}


@pytest.mark.parametrize("name", list(SAVERS))
def test_nothing_is_made_of_frames_that_are_not_finite(port, name):
    with pytest.raises(PredictionError, match=r"got NaN or infinity in 1 of 3 frames \(first: frame 1\)"):
        SAVERS[name]()
    assert not [path for path in port.output_dir.rglob("*") if path.is_file()]


def tensors(key="latent_tensor", **options):
    return save(
        {key: torch.zeros(options.get("shape", (1, 4, 2, 2)), dtype=options.get("dtype", torch.float32))}
    )


FILES = {
    "text": (b"not a latent", "is no whole safetensors file .*; expected latents; save it again"),
    "cut": (tensors()[:-5], "is no whole safetensors file"),
    "other tensors": (tensors("weight"), "got weight; expected latent_tensor; save it again"),
    "empty": (save({}), "got nothing; expected latent_tensor"),
    "0-d": (tensors(shape=()), r"got latents of shape \[\], torch.float32; expected \[frames, 4"),
    "5-d": (
        tensors(shape=(1, 16, 3, 2, 2)),
        r"shape \[1, 16, 3, 2, 2\].*run a workflow with others in ComfyUI",
    ),
    "16 channels": (tensors(shape=(1, 16, 2, 2)), r"shape \[1, 16, 2, 2\]"),
    "no frames": (tensors(shape=(0, 4, 2, 2)), r"shape \[0, 4, 2, 2\]"),
    "whole numbers": (tensors(dtype=torch.int64), "torch.int64"),
    "not finite": (save({"latent_tensor": LATENT["samples"]}), r"got NaN or infinity in 1 of 3 frames"),
}


@pytest.mark.parametrize("name", list(FILES))
def test_a_file_that_is_no_latent_is_named(port, name):
    data, said = FILES[name]
    Path(port.input_dir / "x.latent").write_bytes(data)
    with pytest.raises((ValueError, PredictionError), match=f"^x.latent: .*{said}"):
        latent.LoadLatent.execute("x.latent")
