"""Video Dataset in ComfyUI: its cancel button, and inference mode."""

from __future__ import annotations

import pytest
import torch
from frameloom.tests.contract.test_video_dataset import fill_folder, run, video_dataset

__all__ = ["video_dataset"]


def test_looking_through_a_folder_can_be_cancelled(video_dataset, folders, core):
    fill_folder(folders.input / "mine")
    core.cancel()
    with pytest.raises(core.cancelled):
        run(video_dataset)


def test_pictures_can_be_trained_on_though_nodes_run_in_inference_mode(video_dataset, tmp_path):
    """They are encoded first; what is encoded must be no inference tensor (tests/training/test_latent_cache.py)."""
    from frameloom.training.motion.latent_cache import encode_clips

    dataset, *_ = run(video_dataset, source="shapes", folder="none")

    def encode(pictures):
        assert torch.is_inference_mode_enabled()
        return pictures.new_zeros(4, 4, 4, 4)

    arguments = (lambda text: torch.zeros(77, 8), tmp_path / "cache", "base", print, print)
    encoded = encode_clips(dataset, encode, *arguments)
    assert not encoded.latents.is_inference()
