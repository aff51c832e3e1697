"""Pictures headless: small ones, damaged ones, and previews of days gone by."""

import os
import random
import time

import numpy as np
import pytest
import torch
from frameloom.headless.core_nodes.image import LoadImage
from frameloom.headless.v3.folders import folders
from PIL import Image


def load(name):
    return LoadImage.execute(name)[0]


@pytest.mark.parametrize("ending", ["png", "bmp", "gif", "webp"])
@pytest.mark.parametrize("kind", ["RGB", "L", "RGBA"])
def test_pictures_of_any_size_are_read(port, ending, kind):
    """Pillow is the reference. FFmpeg's filter that pads them refuses sides under 16 pixels."""
    for width, height in ((1, 1), (3, 40), (15, 9), (16, 16), (17, 5), (33, 31)):
        pixels = np.random.default_rng(width).integers(0, 256, (height, width, 4), dtype=np.uint8)
        pixels[..., 3] = 255
        lossless = {"lossless": True} if ending == "webp" else {}
        Image.fromarray(pixels).convert(kind).save(port.input_dir / f"a.{ending}", **lossless)
        with Image.open(port.input_dir / f"a.{ending}") as picture:
            wanted = torch.from_numpy(np.array(picture.convert("RGB"))).float() / 255
        got = load(f"a.{ending}")
        assert got.shape == (1, height, width, 3)
        assert (got[0] - wanted).abs().max() < 0.005


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "webp"])
def test_a_damaged_picture_is_one_error_with_its_name(port, ending):
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    path, draw = port.input_dir / f"a.{ending}", random.Random(1)
    Image.fromarray(pixels).save(path)
    whole, refusals = path.read_bytes(), []
    for _ in range(40):
        data = bytearray(whole)
        for _ in range(draw.choice([1, 3, 30])):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data[: draw.randrange(len(data)) if draw.random() < 0.3 else None])
        try:
            assert load(path.name).shape[-1] == 3
        except ValueError as error:
            refusals.append(str(error))
    assert refusals
    assert all(each.startswith(f"{path.name}: got a file that is ") for each in refusals)


def test_a_drawing_named_as_a_picture_is_refused_by_its_name(port):
    (port.input_dir / "a.png").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'
    )
    with pytest.raises(ValueError, match=r"^a\.png: got a file that is damaged, or no picture or video"):
        load("a.png")


def test_previews_of_earlier_days_go_when_a_new_one_is_written_and_nothing_else_does(port):
    temp = port.output_dir / "temp"
    (temp / "mine").mkdir(parents=True)
    old = time.time() - 2 * 24 * 3600
    gone = ["ComfyUI_temp_00001_.png", "preview_00007_.png"]
    stay = ["mine.png", "preview.png", "ComfyUI_temp_00002_.webp", "mine/preview_00001_.png"]
    for name in [*gone, *stay]:
        (temp / name).touch()
        os.utime(temp / name, (old, old))
    (temp / "preview_00008_.png").touch()
    new = folders().new_files("preview", "temp")
    assert new.filename("png") == "preview_00009_.png"
    assert not any((temp / name).exists() for name in gone)
    assert all((temp / name).exists() for name in [*stay, "preview_00008_.png"])
