"""Decode To Video in ComfyUI: what it does on every host, its VAEs, and what its files carry."""

from __future__ import annotations

import copy
import json

import comfy.model_management
import folder_paths
import pytest
import torch
from comfy.cli_args import args
from frameloom.tests.support.decode_contract import *  # noqa: F403  the tests, which pytest finds by name
from frameloom.tests.support.decode_contract import FRAMES, decode, latents, read


@pytest.fixture
def output(tmp_path):
    folder, own = folder_paths.get_output_directory(), tmp_path / "output"
    own.mkdir()
    folder_paths.set_output_directory(str(own))
    yield own
    folder_paths.set_output_directory(folder)


@pytest.fixture
def decode_to_video(port):
    from frameloom.nodes.video.decode_to_video import DecodeToVideo

    return DecodeToVideo


@pytest.fixture
def components():
    from comfy_extras.nodes_video import GetVideoComponents

    return lambda video: GetVideoComponents.execute(video).args


class Watched(torch.nn.Module):
    """The network of a VAE, whose batches are looked at first."""

    def __init__(self, network, look):
        super().__init__()
        self.network, self.look = network, look

    def decode(self, latents, **options):
        latents = latents.clone()
        self.look(latents)
        return self.network.decode(latents, **options)


@pytest.fixture
def watched():
    def watch(vae, look):
        clone = copy.copy(vae)
        clone.first_stage_model = Watched(vae.first_stage_model, look)
        return clone

    return watch


@pytest.fixture
def cancel():
    def cancel_button():
        comfy.model_management.interrupt_current_processing()

    cancel_button.error = comfy.model_management.InterruptProcessingException
    return cancel_button


def test_one_frame_is_tiled_as_comfyui_does_where_it_has_no_room(demo, decode_to_video, output, watched):
    """Tiles of the demo's small frames are whole frames, so nothing but a second try tells."""
    tries = []

    def full_at_first(batch):
        tries.append(len(batch))
        if len(tries) < 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    decode(decode_to_video, watched(demo[2], full_at_first), latents(), size=3)
    assert tries[:3] == [3, 1, 1]
    assert len(read(output / "clips" / "take_00001_.mkv")[0]) == FRAMES


def test_a_vae_of_video_is_refused(demo, decode_to_video, output):
    video_vae = copy.copy(demo[2])
    video_vae.latent_dim = 3
    with pytest.raises(
        ValueError, match="vae: got a VAE of 4 channels, which makes video; expected one that makes"
    ):
        decode(decode_to_video, video_vae, latents())


def test_files_carry_what_cores_carry_unless_that_is_switched_off(demo, decode_to_video, output, monkeypatch):
    hidden = {"prompt": {"1": {"class_type": "X"}}, "extra_pnginfo": {"workflow": {"nodes": []}}}

    class Running(decode_to_video):
        pass

    Running.hidden = type("Hidden", (), hidden)()
    decode(Running, demo[2], latents())
    monkeypatch.setitem(vars(args), "disable_metadata", True)
    decode(Running, demo[2], latents())
    first, second = (read(output / "clips" / f"take_0000{number}_.mkv")[2] for number in (1, 2))
    assert json.loads(first["prompt"]) == hidden["prompt"]
    assert json.loads(first["workflow"]) == hidden["extra_pnginfo"]["workflow"]
    assert not {"prompt", "workflow"} & set(second)
