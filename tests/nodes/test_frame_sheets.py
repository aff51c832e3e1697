"""A clip on sheets: every frame is where the plan says, by itself, and what is written is bounded."""

from __future__ import annotations

import pytest
import torch
from frameloom.host.frame_sheets import SHEET_SIDE, SHEETS, FrameSheets, plan_sheets
from PIL import Image


def write(folder, images, parts=1):
    plan = plan_sheets(len(images), *images.shape[1:3])
    sheets = FrameSheets(plan, lambda number: folder / f"{number}.jpg")
    for part in images.chunk(parts):
        sheets.add(part)
    return plan, sheets.finish()


def frame_of(plan, paths, shown):
    """The pixels of the frame that is shown as a number, found as the browser finds it."""
    sheet, place = divmod(shown, plan.columns * plan.rows)
    row, column = divmod(place, plan.columns)
    left, top = column * plan.cell[0], row * plan.cell[1]
    box = left, top, left + plan.width, top + plan.height
    picture = Image.open(paths[sheet]).convert("RGB").crop(box)
    return torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(plan.height, plan.width, 3)


def flat(frames, height, width):
    """[F, H, W, 3]: frames of one colour each, no two neighbours alike."""
    colours = torch.rand(frames, 1, 1, 3, generator=torch.Generator().manual_seed(4))
    return colours.expand(-1, height, width, -1)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (17, 33), (5, 700), (600, 300)])
@pytest.mark.parametrize("parts", [1, 3])
def test_each_frame_is_in_its_place_and_has_nothing_of_its_neighbours(tmp_path, height, width, parts):
    images = flat(70, height, width)
    plan, paths = write(tmp_path, images, parts)
    assert plan.step == 1
    for number, image in enumerate(images):
        error = frame_of(plan, paths, number).float() - image[0, 0] * 255
        assert error.abs().max() <= 3


@pytest.mark.parametrize(
    "size", [(1, 8, 8), (10_000, 64, 64), (1000, 1080, 1920), (3, 4000, 10), (777, 9, 2000)]
)
def test_any_clip_fits_on_the_sheets(size):
    plan = plan_sheets(*size)
    kept = -(-plan.frames // plan.step)
    assert kept <= SHEETS * plan.columns * plan.rows
    assert max(plan.columns * plan.cell[0], plan.rows * plan.cell[1]) <= SHEET_SIDE
    assert plan.cell[0] - 8 < plan.width <= min(plan.cell[0], size[2])
    assert plan.cell[1] - 8 < plan.height <= min(plan.cell[1], size[1])


def test_a_long_clip_keeps_every_so_many_frames_and_first_makes_them_smaller():
    assert (plan_sheets(128, 512, 512).step, plan_sheets(128, 512, 512).width) == (1, 512)
    assert (plan_sheets(256, 512, 512).step, plan_sheets(256, 512, 512).width) == (1, 336)
    assert (plan_sheets(5000, 512, 512).step, plan_sheets(5000, 512, 512).width) == (10, 256)


@pytest.mark.parametrize("parts", [1, 7])
def test_frames_between_are_left_out(tmp_path, parts):
    images = flat(10_000, 64, 64)
    plan, paths = write(tmp_path, images, parts)
    assert plan.step == 2
    assert len(paths) <= SHEETS
    for shown in (0, 1, 1023, 1024, 4999):
        error = frame_of(plan, paths, shown).float() - images[2 * shown, 0, 0] * 255
        assert error.abs().max() <= 3


def test_noise_of_the_largest_kind_takes_at_most_64_mb(tmp_path):
    """One full sheet of it; there are eight."""
    _, paths = write(tmp_path, torch.rand(16, 512, 512, 3))
    assert len(paths) == 1
    assert paths[0].stat().st_size * SHEETS <= 64e6


def test_the_last_sheet_has_only_the_rows_that_it_needs(tmp_path):
    plan, paths = write(tmp_path, flat(33, 256, 256))
    assert Image.open(paths[0]).size == (8 * plan.cell[0], 5 * plan.cell[1])
