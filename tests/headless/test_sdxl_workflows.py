"""The workflows for SDXL, run whole: with narrow files under the names that they ask for."""

from __future__ import annotations

import shutil

import pytest
from frameloom.host.bundled import DEMO_TOKENIZER
from frameloom.tests.support.sdxl_file import write_sdxl, write_sdxl_motion
from PIL import Image, ImageSequence

FRAMES, SIDE = 4, 64


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A user's checkpoint, motion modules and vocabulary."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("checkpoints", "animatediff_models"):
        (folder / name).mkdir()
    shutil.copytree(DEMO_TOKENIZER, folder / "clip_tokenizer")
    write_sdxl(folder / "checkpoints" / "sd_xl_base_1.0.safetensors")
    write_sdxl_motion(folder / "animatediff_models" / "mm_sdxl_v10_beta.ckpt")
    write_sdxl_motion(folder / "animatediff_models" / "hsxl_temporal_layers.f16.safetensors", hotshot=True)
    return folder


@pytest.mark.parametrize("name", ["animatediff_sdxl", "hotshotxl_sdxl"])
def test_it_makes_a_clip_that_moves(draw_workflow, models, name):
    sizes = (f"EmptyLatentImage.{side}={SIDE}" for side in ("width", "height"))
    values = (f"EmptyLatentImage.batch_size={FRAMES}", "KSampler.steps=2", *sizes)
    folder, _ = draw_workflow(name, *values, models=models)
    with Image.open(folder / f"{name}_00001_.webp") as clip:
        pictures = [frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(clip)]
        assert clip.size == (SIDE, SIDE)
    assert len(pictures) == FRAMES
    assert len(set(pictures)) == FRAMES
