"""Decode To Video in ComfyUI: its VAEs, and what its files carry."""

from __future__ import annotations

import copy

import pytest
import torch
from comfy.cli_args import args
from frameloom.tests.contract.test_decode_to_video import FRAMES, decode, latents, read

__all__ = ["decode"]


def test_one_frame_is_tiled_as_comfyui_does_where_it_has_no_room(demo, decode, folders, core):
    """Tiles of the demo's small frames are whole frames, so nothing but a second try tells."""
    tries = []

    def full_at_first(batch):
        tries.append(len(batch))
        if len(tries) < 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    decode(core.watched(demo[2], full_at_first), latents(), size=3)
    assert tries[:3] == [3, 1, 1]
    assert len(read(folders.output / "clips" / "take_00001_.mkv")[0]) == FRAMES


def test_a_vae_of_video_is_refused(demo, decode):
    video_vae = copy.copy(demo[2])
    video_vae.latent_dim = 3
    with pytest.raises(
        ValueError, match="vae: got a VAE of 4 channels, which makes video; expected one that makes"
    ):
        decode(video_vae, latents())


def test_files_carry_nothing_where_that_is_switched_off(port, monkeypatch):
    class Running:
        class hidden:
            prompt, extra_pnginfo = {"1": {"class_type": "X"}}, None

    assert port.file_texts(Running)
    monkeypatch.setitem(vars(args), "disable_metadata", True)
    assert port.file_texts(Running) == {}
