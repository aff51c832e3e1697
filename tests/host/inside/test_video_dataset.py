"""Video Dataset in ComfyUI: what it does on every host, and its cancel button."""

from __future__ import annotations

import comfy.model_management
import folder_paths
import pytest
from frameloom.tests.support.dataset_contract import *  # noqa: F403  the tests, which pytest finds by name
from frameloom.tests.support.dataset_contract import fill_folder, run


@pytest.fixture
def input_folder(tmp_path):
    folder, own = folder_paths.get_input_directory(), tmp_path / "input"
    own.mkdir()
    folder_paths.set_input_directory(str(own))
    yield own
    folder_paths.set_input_directory(folder)


@pytest.fixture
def video_dataset(port):
    from frameloom.nodes.training.video_dataset import VideoDataset

    return VideoDataset


def test_looking_through_a_folder_can_be_cancelled(video_dataset, input_folder):
    fill_folder(input_folder / "mine")
    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run(video_dataset)


def test_pictures_can_be_trained_on_though_nodes_run_in_inference_mode(video_dataset, input_folder):
    """They are encoded first; what is encoded must be no inference tensor (tests/training/test_latent_cache.py)."""
    import torch
    from frameloom.training.motion.latent_cache import encode_clips

    dataset, *_ = run(video_dataset, source="shapes", folder="none")

    def encode(pictures):
        assert torch.is_inference_mode_enabled()
        return pictures.new_zeros(4, 4, 4, 4)

    arguments = (lambda text: torch.zeros(77, 8), input_folder / "cache", "base", print, print)
    encoded = encode_clips(dataset, encode, *arguments)
    assert not encoded.latents.is_inference()
