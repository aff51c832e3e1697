"""Clips of video files: the frames that were asked for, how they are scaled, and files that are no good."""

import os
import pickle
import random
from contextlib import suppress

import numpy
import pytest
import torch
from frameloom.models.errors import ClipError
from frameloom.tests.support.videos import (
    CODECS,
    numbered,
    numbers_of,
    write_animation,
    write_sound,
    write_video,
)
from frameloom.training.video.clip import cut_clips, look_through
from frameloom.training.video.cut import Cut
from torch.nn.functional import interpolate

CUT = Cut(frames=4, stride=4, width=32, height=32)


def noise(frames):
    return torch.randint(
        256, (frames, 48, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)
    )


def clips_of(path, cut=CUT):
    return cut_clips(look_through(path), path.name, "a caption", cut)


@pytest.mark.parametrize("kind", CODECS)
def test_every_kind_of_file_gives_the_frames_that_were_asked_for(tmp_path, kind):
    """By their numbers, and at half the file's rate."""
    rate = 25 if kind == "h264" else 10
    path = write_video(tmp_path / f"clip.{kind}", numbered(14), rate=rate)
    (clip,) = clips_of(path)
    pictures = clip.pictures()
    assert (pictures.shape, pictures.dtype) == ((4, 3, 32, 32), torch.float32)
    assert numbers_of(pictures) == [0, 4, 8, 12]
    (halved,) = clips_of(path, Cut(7, 1, 32, 32, fps=rate / 2))
    assert numbers_of(halved.pictures()) == [0, 2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize("kind", ["avi", "mp4", "mkv"])
def test_a_video_whose_frames_are_shown_for_longer_is_whole(tmp_path, kind):
    """An AVI's header counts the frames that were left out as well. By time, they are the one before them."""
    path = write_video(tmp_path / f"clip.{kind}", numbered(6), rate=30, gap=3)
    for cut, wanted in ((Cut(4, 1, 32, 32), [1, 2, 3, 4]), (Cut(16, 1, 32, 32, fps=30), [*range(5)] * 3)):
        (clip,) = clips_of(path, cut)
        assert numbers_of(clip.pictures())[:15] == sorted(wanted)


@pytest.mark.parametrize(
    ("kind", "rate"), [*((kind, 25) for kind in ("mp4", "ts", "webm", "mkv", "gif")), ("ts", 5)]
)
def test_a_clip_deep_in_a_video_is_the_same_as_if_all_was_decoded(tmp_path, kind, rate):
    """A jump into a stream must not show. At 5 frames a second, it lands behind the clip in some of MPEG-TS."""
    moving = torch.stack([numbered(1).roll(3 * n, 2)[0] for n in range(60)])
    moving[:, 10:30, 5:25] = noise(60)[:, :20, :20]
    path = write_video(tmp_path / f"clip.{kind}", moving, rate=rate)
    late = 0
    for clip in clips_of(path, Cut(4, 2, 64, 48, clips_per_video=4)):
        late += not clip.frames.decode(64, 48, seek=True)
        wanted = torch.stack(clip.frames.decode(64, 48, seek=False)).permute(0, 3, 1, 2) / 127.5 - 1
        assert torch.equal(clip.pictures(), wanted)
    assert (late > 0) == (kind == "ts" and rate == 5)


def test_frames_lie_where_the_official_recipe_puts_them():
    """Its start is random within what is left; ours are spread over it. Its rounding is numpy's."""
    for count in range(16, 200, 7):
        for stride in (1, 4, 5):
            length = min(count, 15 * stride + 1)
            cut = Cut(16, stride, 8, 8, clips_per_video=3)
            starts = [chosen[0] for chosen in cut.choose(count)]
            assert starts == sorted({0, (count - length) // 2, count - length})
            for start, chosen in zip(starts, cut.choose(count), strict=True):
                # A float may fall just below the whole number it stands for.
                exact = numpy.linspace(start, start + length - 1, 16)
                assert list(chosen) == (exact + 1e-9).astype(int).tolist()


@pytest.mark.parametrize(("width", "height"), [(96, 32), (20, 50), (64, 48), (130, 100)])
def test_pictures_are_scaled_to_cover_and_cut_around_the_centre(tmp_path, width, height):
    """Against torch's own bicubic filter: FFmpeg's differs by a little, a shift by one pixel by far more."""
    generator = torch.Generator().manual_seed(0)
    smooth = interpolate(torch.rand(4, 3, 6, 8, generator=generator), (48, 64), mode="bicubic").clamp(0, 1)
    bytes_ = (smooth * 255).round().byte().permute(0, 2, 3, 1)
    path = write_video(tmp_path / "a.mkv", bytes_)
    (clip,) = clips_of(path, Cut(4, 1, width, height))
    scale = max(width / 64, height / 48)
    size = max(height, round(48 * scale)), max(width, round(64 * scale))
    wanted = interpolate(bytes_.permute(0, 3, 1, 2).float(), size, mode="bicubic", antialias=True)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    wanted = wanted[..., top : top + height, left : left + width] / 127.5 - 1
    got = clip.pictures()
    assert got.shape == (4, 3, height, width)
    assert (got - wanted).abs().mean() < 0.01
    assert (got - wanted).abs().mean() < 0.25 * (got.roll(1, -1) - wanted).abs().mean()


def test_a_mirrored_copy_is_the_clip_mirrored_under_its_own_key(tmp_path):
    side = numbered(6).clone()
    side[:, :, :20] = 255
    plain, mirrored = clips_of(write_video(tmp_path / "a.mkv", side), Cut(4, 1, 32, 32, mirror=True))
    assert torch.equal(mirrored.pictures(), plain.pictures().flip(-1))
    assert plain.pictures()[..., 0].mean() > plain.pictures()[..., -1].mean()
    assert plain.key != mirrored.key


def test_a_key_is_the_contents_and_the_cuts_not_the_names(tmp_path):
    path = write_video(tmp_path / "a.mkv", numbered(30))
    (key,) = [clip.key for clip in clips_of(path)]
    renamed = path.rename(tmp_path / "deeper.avi")
    os.utime(renamed, (1, 1))
    (again,) = clips_of(renamed)
    assert again.key == key
    assert numbers_of(again.pictures()) == list(CUT.choose(30)[0])
    other = write_video(tmp_path / "b.mkv", numbered(30) + 1)
    keys = {key, clips_of(other)[0].key}
    for cut in (Cut(4, 3, 32, 32), Cut(5, 4, 32, 32), Cut(4, 4, 40, 32), Cut(4, 4, 32, 40)):
        keys.add(clips_of(renamed, cut)[0].key)
    assert len(keys) == 6
    # A stride that a short video can't have cuts it as a smaller one does.
    short = write_video(tmp_path / "c.mkv", numbered(8))
    assert clips_of(short, Cut(4, 4, 32, 32))[0].key == clips_of(short, Cut(4, 9, 32, 32))[0].key


def test_a_clip_is_small_and_can_be_pickled(tmp_path):
    (clip,) = clips_of(write_video(tmp_path / "a.mkv", numbered(30)))
    data = pickle.dumps(clip)
    assert len(data) < 2000
    assert torch.equal(pickle.loads(data).pictures(), clip.pictures())


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    whole = write_video(folder / "whole.mp4", noise(30), options={"movflags": "faststart"}).read_bytes()
    late = write_video(folder / "late.mp4", numbered(30)).read_bytes()
    write_sound(folder / "sound.mp4")
    contents = {
        "empty.mp4": b"",
        "text.mp4": b"not a video at all, but a text that someone renamed" * 40,
        "noise.mp4": random.Random(1).randbytes(5000),
        "end_first.mp4": late[: len(late) // 2],
        "cut_short.mp4": whole[: len(whole) * 2 // 3],
        "header.mp4": whole[:40],
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


REASONS = {
    "empty.mp4": r"^is empty \(0 bytes\)$",
    **dict.fromkeys(
        ("text.mp4", "noise.mp4", "end_first.mp4"),
        r"^is no video that FFmpeg can read, or a damaged one \(Invalid data",
    ),
    "cut_short.mp4": r"^is cut short: \d+ of 30 frames are there$",
    "header.mp4": r"^has no pictures$",
    "sound.mp4": r"^has no pictures$",
    "gone.mp4": r"^is gone$",
}


@pytest.mark.parametrize("name", REASONS)
def test_a_bad_file_is_refused_with_a_reason(bad_files, name):
    with pytest.raises(ClipError, match=REASONS[name]):
        look_through(bad_files / name)


def test_a_frame_that_ffmpeg_could_only_guess_is_not_taken(tmp_path):
    """It fills in what is damaged, and marks the frame."""
    import av
    from av.error import InvalidDataError

    path = write_video(tmp_path / "a.mp4", noise(30))
    data = path.read_bytes()
    at, (chosen,) = data.index(b"mdat"), CUT.choose(30)
    guessed = 0
    for place in range(at + 2000, at + 40_000, 2000):
        path.write_bytes(data[:place] + bytes([255 - data[place]]) + data[place + 1 :])
        corrupt = [False] * 30
        with av.open(str(path)) as file, suppress(InvalidDataError):
            corrupt = [frame.is_corrupt for frame in file.decode(video=0)]
        if any(corrupt[number] for number in chosen):
            guessed += 1
            with pytest.raises(ClipError, match=r"^is damaged: frame \d of the clip can't be decoded$"):
                clips_of(path)[0].pictures()
    assert guessed


def test_no_file_whatever_is_in_it_gives_another_error(tmp_path):
    draw = random.Random(3)
    animation = write_animation(tmp_path / "a.webp", numbered(8), 100)
    videos = [write_video(tmp_path / f"a.{kind}", numbered(8)) for kind in ("mp4", "webm", "gif", "avi")]
    whole = [path.read_bytes() for path in (*videos, animation)]
    refused = 0
    for _ in range(50):
        data = bytearray(draw.choice(whole))
        for _ in range(draw.choice([1, 4, 60])):
            data[draw.randrange(len(data))] = draw.randrange(256)
        path = tmp_path / "x.mp4"
        path.write_bytes(data[: draw.randrange(len(data)) if draw.random() < 0.3 else None])
        try:
            for clip in clips_of(path):
                assert clip.pictures().shape == (4, 3, 32, 32)
        except ClipError:
            refused += 1
    assert 0 < refused < 50


def test_a_file_that_was_replaced_meanwhile_is_not_taken_for_the_old_one(tmp_path):
    path = write_video(tmp_path / "a.mkv", numbered(30))
    (clip,) = clips_of(path)
    write_video(path, numbered(30) + 1)
    with pytest.raises(ClipError, match="was changed since it was looked through; queue again"):
        clip.pictures()
    path.unlink()
    with pytest.raises(ClipError, match=r"^is gone$"):
        clip.pictures()


def test_huge_pictures_are_refused_before_they_are_made(tmp_path):
    path = write_video(tmp_path / "a.mkv", numbered(4, width=4000, height=2))
    with pytest.raises(
        ClipError, match=r"^is 4000x2, which is too large to cut 512x512 from; expected at most 67,"
    ):
        clips_of(path, Cut(4, 1, 512, 512))
    video = write_video(tmp_path / "b.gif", numbered(4))
    data = bytearray(video.read_bytes())
    data[6:10] = (12_000).to_bytes(2, "little") * 2  # its width and height
    video.write_bytes(data)
    with pytest.raises(ClipError, match=r"^is 12000x12000; expected at most 67,108,864 pixels$"):
        look_through(video)


@pytest.mark.parametrize("name", ["list.m3u8", "list.ffconcat", "list.mp4"])
def test_a_file_that_names_other_files_opens_none_of_them(tmp_path, name):
    """FFmpeg would read these, and addresses too; a dataset's folder is what may be read."""
    import av

    secret = write_video(tmp_path / "secret" / "a.ts", numbered(30))
    folder = tmp_path / "folder"
    folder.mkdir()
    hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{secret}\n#EXT-X-ENDLIST\n"
    concat = f"ffconcat version 1.0\nfile '{secret}'\n"
    (folder / name).write_text(concat if name.endswith("ffconcat") else hls)
    if name != "list.mp4":
        with (
            (folder / name).open("rb") as file,
            av.open(file, options={"safe": "0"} if "concat" in name else {}) as it,
        ):
            assert next(it.decode(video=0)).width == 64, "FFmpeg reads it unless it is kept from it"
    with pytest.raises(ClipError, match="no video that FFmpeg can read"):
        look_through(folder / name)
