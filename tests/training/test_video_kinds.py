"""Clips as phones, recorders and graphs write them: turned, mirrored, of changing rates, animated, transparent."""

from fractions import Fraction

import numpy
import pytest
import torch
from frameloom.models.errors import ClipError
from frameloom.tests.support.videos import (
    numbered,
    numbers_of,
    set_matrix,
    write_animation,
    write_pictures,
    write_video,
)
from frameloom.tests.training.test_cut import VARIABLE, on_screen
from frameloom.training.video.clip import cut_clips, look_through
from frameloom.training.video.cut import Cut
from frameloom.training.video.folder import read_folder
from torch.nn.functional import interpolate

WHITE = 255


def clips_of(path, **cut):
    settings = {"frames": 14, "stride": 1, "width": 32, "height": 32} | cut
    return cut_clips(look_through(path), path.name, "a caption", Cut(**settings))


def frames_of(path, **cut):
    (clip,) = clips_of(path, **cut)
    return numbers_of(clip.pictures())


def corners(height=48, width=64):
    """A picture [H, W, 3] whose four quarters are all different."""
    picture = torch.zeros(height, width, 3, dtype=torch.uint8)
    picture[: height // 2, : width // 2, 0] = 220
    picture[height // 2 :, width // 2 :, 2] = 220
    picture[: height // 2, width // 2 :] = 120
    return picture


MATRICES = {
    "as it is": ((1, 0, 0, 1), lambda p: p),
    "left is right": ((-1, 0, 0, 1), lambda p: p.flip(1)),
    "top is bottom": ((1, 0, 0, -1), lambda p: p.flip(0)),
    "half a turn": ((-1, 0, 0, -1), lambda p: p.flip(0, 1)),
    "clockwise": ((0, 1, -1, 0), lambda p: torch.rot90(p, -1)),
    "anticlockwise": ((0, -1, 1, 0), lambda p: torch.rot90(p, 1)),
    "rows are columns": ((0, 1, 1, 0), lambda p: p.transpose(0, 1)),
    "rows are columns, from the end": ((0, -1, -1, 0), lambda p: p.transpose(0, 1).flip(0, 1)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_all_eight_display_matrices_are_followed(tmp_path, name):
    """The reference puts each pixel where the matrix says, one after another."""
    (a, b, c, d), turn = MATRICES[name]
    stored = corners()
    path = set_matrix(write_video(tmp_path / "a.mp4", stored.expand(4, -1, -1, -1)), (a, b, c, d))
    seen = torch.zeros_like(turn(stored))
    for y in range(48):
        for x in range(64):
            row, column = b * x + d * y, a * x + c * y
            seen[row - (row < 0 or b + d < 0), column - (column < 0 or a + c < 0)] = stored[y, x]
    assert torch.equal(seen, turn(stored))
    (clip,) = clips_of(path, frames=4, width=seen.shape[1], height=seen.shape[0])
    got = (clip.pictures()[0] + 1) * 127.5
    assert (got - seen.permute(2, 0, 1)).abs().mean() < 6  # H.264's loss
    assert (got - seen.permute(2, 0, 1).flip(2)).abs().mean() > 20


GAPS = [5000 + 100 * n + 600 * (n > 9) for n in range(20)]


@pytest.mark.parametrize(
    ("kind", "times", "frames"),
    [("mp4", VARIABLE, 14), ("mkv", VARIABLE, 14), ("mkv", GAPS, 26), ("ts", GAPS, 26)],
)
def test_frames_are_read_by_time_whatever_their_rate_their_gaps_and_their_first_stamp(
    tmp_path, kind, times, frames
):
    path = write_video(tmp_path / f"a.{kind}", numbered(len(times)), rate=30, times=times)
    assert frames_of(path, frames=frames, fps=10) == [on_screen(times, k / 10) for k in range(frames)]
    assert frames_of(path, frames=20) == list(range(len(times)))[(len(times) - 20) // 2 :][:20]


def test_recordings_that_were_joined_are_read_in_order(tmp_path):
    """Time jumps back where the second begins; both have frames of the same stamps."""
    one = write_video(tmp_path / "one.ts", numbered(20)[:10]).read_bytes()
    two = write_video(tmp_path / "two.ts", numbered(20)[10:]).read_bytes()
    path = tmp_path / "a.ts"
    path.write_bytes(one + two)
    assert frames_of(path, frames=20) == list(range(20))
    (tmp_path / "a.txt").write_text("a caption")
    why = "has times that are missing or jump back; it counts as 10 frames a second"
    (tmp_path / "one.ts").unlink()
    (tmp_path / "two.ts").unlink()
    assert folder_clips(tmp_path).noted == (("a.ts", why),)


@pytest.mark.parametrize("kind", ["mkv", "gif"])
def test_of_two_frames_of_one_time_the_second_is_shown(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "mkv":
        with_times(write_video(tmp_path / "b.mkv", numbered(8)), path, [0, 100, 200, 300, 300, 400, 500, 600])
        assert frames_of(path, frames=7, fps=10) == [0, 1, 2, 4, 5, 6, 7]
    else:
        write_animation(
            path, numbered(8), [100, 100, 100, 0, 100, 100, 100, 100]
        )  # browsers show none for so short
        assert frames_of(path, frames=8, fps=10) == list(range(8))
    assert frames_of(path, frames=8) == list(range(8))


@pytest.mark.parametrize("kind", ["webp", "gif", "png"])
def test_animated_pictures_are_read_with_their_durations(tmp_path, kind):
    """No browser shows 10 ms: they are a tenth of a second."""
    durations = [40] * 8 + [200] * 4 + [10] * 12
    path = write_animation(tmp_path / f"a.{kind}", numbered(24), durations)
    starts = [40 * min(n, 8) + 200 * min(max(n - 8, 0), 4) + 100 * max(n - 12, 0) for n in range(24)]
    wanted = [max(n for n in range(24) if starts[n] <= 100 * k) for k in range(24)]
    assert frames_of(path, frames=24, fps=10) == wanted
    assert frames_of(path, frames=24) == list(range(24))


@pytest.mark.parametrize("kind", ["webp", "gif", "png"])
@pytest.mark.parametrize("keeps", [False, True])
def test_what_is_transparent_is_white_and_what_was_drawn_stays_only_where_it_should(tmp_path, kind, keeps):
    """A square moves; in GIF and PNG a frame may be drawn on the one before it, or that is taken away first."""
    pictures = torch.zeros(4, 48, 64, 4, dtype=torch.uint8)
    pictures[..., 0] = 90  # hidden
    for number in range(4):
        pictures[number, 8:24, 16 * number : 16 * number + 16] = torch.tensor([0, 200, 0, 255])
    options = {"gif": {"disposal": 1 if keeps else 2}, "png": {"disposal": 0 if keeps else 1, "blend": 1}}
    path = write_animation(tmp_path / f"a.{kind}", pictures, 100, **options.get(kind, {}))
    (clip,) = clips_of(path, frames=4, width=64, height=48)
    alpha = pictures[..., 3:].float() / 255
    wanted = pictures[..., :3] * alpha + WHITE * (1 - alpha)
    if keeps and kind != "webp":
        wanted = torch.stack([wanted[: n + 1].amin(0) for n in range(4)])
    got = (clip.pictures().permute(0, 2, 3, 1) + 1) * 127.5
    assert (got - wanted).abs().max() <= 8  # a GIF's colours


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mov", ("prores_ks", "yuva444p10le", {"profile": "4444"})),
        ("a.webm", ("libvpx-vp9", "yuva420p", {"crf": "5"})),
        ("b.webm", ("libvpx", "yuva420p", {"auto-alt-ref": "0"})),
        ("a.mkv", ("ffv1", "bgra", {})),
    ],
)
def test_transparent_videos_lie_on_white(tmp_path, name, codec):
    """FFmpeg's own decoders of VP8 and VP9 leave the transparency out."""
    pictures = torch.zeros(6, 48, 64, 4, dtype=torch.uint8)
    pictures[:, 12:36, 16:48] = torch.tensor([200, 0, 0, 255])
    pictures[:, 36:] = torch.tensor([0, 0, 200, 128])
    (clip,) = clips_of(write_video(tmp_path / name, pictures, codec=codec), frames=4, width=64, height=48)
    got = (clip.pictures()[-1] + 1) * 127.5
    for (row, column), wanted in {
        (4, 4): [255] * 3,
        (24, 32): [200, 0, 0],
        (42, 32): [127, 127, 227],
    }.items():
        assert (got[:, row, column] - torch.tensor(wanted)).abs().max() < 12, (row, column)


@pytest.mark.parametrize(("aspect", "seen"), [(Fraction(2), (128, 48)), (Fraction(1, 2), (32, 48))])
def test_pixels_that_are_not_square_are_made_so(tmp_path, aspect, seen):
    path = write_video(tmp_path / "a.mp4", corners().expand(4, -1, -1, -1), aspect=aspect)
    width, height = seen
    video = look_through(path)
    assert (video.width, video.height) == seen
    (clip,) = clips_of(path, frames=4, width=width, height=height)
    wanted = interpolate(corners().permute(2, 0, 1)[None].float(), (height, width), mode="bilinear")[0]
    assert (clip.pictures()[0] - (wanted / 127.5 - 1)).abs().mean() < 0.06


@pytest.mark.parametrize(("curve", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_by_its_name(tmp_path, curve, name):
    import av

    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("h264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        stream.codec_context.color_trc, stream.codec_context.color_primaries = curve, 9
        for picture in numbered(4).numpy():
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture).reformat(format="yuv420p10le")))
        file.mux(stream.encode(None))
    with pytest.raises(ClipError, match=rf"^is HDR \({name}\), whose colours would come out wrong; expected"):
        look_through(path)


def test_a_loop_leaves_out_a_last_frame_that_is_the_first_again(tmp_path):
    around = numbered(8)
    for name, pictures in {"a.webp": around, "b.webp": torch.cat([around, around[:1]])}.items():
        path = write_animation(tmp_path / name, pictures, 100)
        assert frames_of(path, frames=8, loop=True) == list(range(8))
        assert frames_of(path, frames=16, loop=True, fps=10) == [*range(8), *range(8)]
    (first, second) = clips_of(path, frames=4, stride=2, loop=True, clips_per_video=2)
    assert numbers_of(first.pictures()) == [0, 2, 4, 6]
    assert numbers_of(second.pictures()) == [4, 6, 0, 2]


def with_times(source, path, times):
    """Write a file's packets with other times, in milliseconds, which no encoder would give."""
    import av

    with av.open(str(source)) as given, av.open(str(path), "w") as file:
        stream = file.add_stream_from_template(given.streams.video[0])
        packets = [packet for packet in given.demux(video=0) if packet.size]
        for packet, time in zip(packets, times, strict=True):
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 1000), time, time
            file.mux(packet)


def folder_clips(folder, fps=0.0, **cut):
    return read_folder(folder, Cut(4, 1, 32, 32, fps=fps, **cut), "skip")


def test_a_subfolder_of_numbered_pictures_is_a_clip_in_the_order_of_its_numbers(tmp_path):
    write_pictures(tmp_path / "walk", numbered(12), "walk {}_.png", start=4)  # 10 goes behind 9
    (tmp_path / "walk.txt").write_text("a walk")
    write_pictures(tmp_path / "run" / "left", numbered(12), "{:05}.jpg", start=0)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "run/left", "text": "a run"}')
    found = folder_clips(tmp_path)
    assert [(clip.name, clip.caption) for clip in found.clips] == [("run/left", "a run"), ("walk", "a walk")]
    assert [numbers_of(clip.pictures()) for clip in found.clips] == [[4, 5, 6, 7]] * 2
    assert (found.videos, found.skipped, found.noted) == (2, (), ())


def test_lost_numbers_are_told_and_are_gaps_where_time_counts(tmp_path):
    write_pictures(tmp_path / "walk", numbered(6), "{:04}.png")
    (tmp_path / "walk" / "0003.png").unlink()
    (tmp_path / "walk.txt").write_text("a walk")
    found = folder_clips(tmp_path)
    assert found.noted == (("walk", "lacks 1 of its pictures between 1 and 6"),)
    assert numbers_of(found.clips[0].pictures()) == [0, 1, 3, 4]
    (clip,) = folder_clips(tmp_path, fps=8).clips
    assert numbers_of(clip.pictures()) == [1, 1, 3, 4]
    for number in (1, 2, 4, 5, 6):
        (tmp_path / "walk" / f"{number:04}.png").rename(tmp_path / "walk" / f"{5 * number:05}.png")
    assert numbers_of(folder_clips(tmp_path, fps=8).clips[0].pictures()) == [1, 1, 3, 4]


def test_pictures_that_are_no_frames_of_one_clip_are_refused_by_name(tmp_path):
    for name, break_it in {
        "size": lambda folder: write_pictures(folder, numbered(1, 32, 48), "{:04}.png", start=3),
        "damaged": lambda folder: (folder / "0003.png").write_bytes(b"no picture"),
        "cover": lambda folder: write_pictures(folder, numbered(1), "cover.png"),
        "twice": lambda folder: write_pictures(folder, numbered(1), "{}.png", start=3),
        "several": lambda folder: write_pictures(folder, numbered(2), "b{}.png"),
    }.items():
        break_it(write_pictures(tmp_path / name, numbered(6), "{:04}.png"))
        (tmp_path / f"{name}.txt").write_text("a caption")
    found = folder_clips(tmp_path)
    assert found.clips == ()
    assert dict(found.skipped) == {
        "size": "has 0003.png, which is 32x48; expected 64x48, as 0001.png",
        "damaged": "has 0003.png, which is no picture, or a damaged one",
        "cover": "has cover.png, whose name holds no number; expected names as frame_0001.png",
        "twice": "has 0003.png and 3.png, which have the same number",
        "several": "has pictures of several names (0001.png, b1.png); expected a folder for each",
    }


def test_pictures_with_captions_of_their_own_and_those_beside_videos_are_no_frames(tmp_path):
    """A set of single pictures, and the thumbnails of videos."""
    write_pictures(tmp_path / "set", numbered(6), "{}.png")
    for number in range(1, 7):
        (tmp_path / "set" / f"{number}.txt").write_text("a picture")
    for number in (1, 2):
        write_video(tmp_path / "clips" / f"{number}.mp4", numbered(8))
        (tmp_path / "clips" / f"{number}.mp4.txt").write_text(f"clip {number}")
    write_pictures(tmp_path / "clips", numbered(2), "{}.png")
    write_pictures(tmp_path, numbered(6), "top{}.png")
    found = folder_clips(tmp_path)
    assert [clip.caption for clip in found.clips] == ["clip 1", "clip 2"]
    why = "is a still picture; expected a video, or a subfolder of numbered pictures"
    stills = [*(f"clips/{n}.png" for n in (1, 2)), *(f"set/{n}.png" for n in range(1, 7))]
    assert found.skipped == tuple(
        (name, why) for name in sorted([*stills, *(f"top{n}.png" for n in range(1, 7))])
    )


def test_animations_with_numbers_are_clips_each(tmp_path):
    """As Save Animated WEBP names them."""
    for number in (1, 2):
        write_animation(tmp_path / "out" / f"video_0000{number}_.webp", numbered(8), 100)
        (tmp_path / "out" / f"video_0000{number}_.txt").write_text("a caption")
    found = folder_clips(tmp_path)
    assert [clip.name for clip in found.clips] == ["out/video_00001_.webp", "out/video_00002_.webp"]
    assert [numbers_of(clip.pictures()) for clip in found.clips] == [[2, 3, 4, 5]] * 2


def test_pictures_of_sixteen_bits_and_turned_ones_are_right(tmp_path):
    from PIL import Image

    (tmp_path / "deep").mkdir()
    for number in range(4):
        gray = numpy.full((48, 64), (10 + 7 * number) * 257, numpy.uint16)
        Image.fromarray(gray).save(tmp_path / "deep" / f"{number}.png")
    (tmp_path / "turned").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    for number in range(4):
        lying = torch.rot90(corners(64, 48), 1).contiguous()
        Image.fromarray(lying.numpy()).save(tmp_path / "turned" / f"{number}.png", exif=exif)
    for name in ("deep", "turned"):
        (tmp_path / f"{name}.txt").write_text("a caption")
    deep, turned = read_folder(tmp_path, Cut(4, 1, 48, 64), "skip").clips
    assert numbers_of(deep.pictures()) == [0, 1, 2, 3]
    assert torch.equal(turned.pictures()[0], corners(64, 48).permute(2, 0, 1).float() / 127.5 - 1)


def test_a_changed_picture_is_not_taken_for_the_old_one(tmp_path):
    write_pictures(tmp_path / "walk", numbered(6), "{}.png")
    write_animation(tmp_path / "a.webp", numbered(6), 100)
    for name in ("walk", "a"):
        (tmp_path / f"{name}.txt").write_text("a caption")
    moving, still = folder_clips(tmp_path).clips
    (tmp_path / "walk" / "3.png").unlink()
    write_animation(tmp_path / "a.webp", numbered(9), 100)
    with pytest.raises(ClipError, match=r"^was changed since it was looked through; queue again$"):
        moving.pictures()
    with pytest.raises(ClipError, match=r"^has 3.png, which is gone$"):
        still.pictures()
