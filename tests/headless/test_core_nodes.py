"""Core nodes of pictures, latents and videos by closed forms; tests/host compares them with ComfyUI's."""

from __future__ import annotations

import json
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from frameloom.headless.core_nodes import image, latent, video
from frameloom.headless.core_nodes.mask import EmptyImage, ImageBatch, ImageToMask
from frameloom.headless.core_nodes.text import PreviewAny
from frameloom.headless.v3 import io
from frameloom.headless.v3.folders import folders
from frameloom.headless.v3.video_file import read_frames
from frameloom.tests.support.tensors import draw
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

PROMPT = {"3": {"class_type": "KSampler", "inputs": {"seed": 7}}}


def with_prompt(node):
    """The node as the executor calls it."""
    return type(node.__name__, (node,), {"hidden": io.HiddenHolder(prompt=PROMPT)})


def ramp(count=2, height=8, width=12):
    return torch.linspace(0, 1, count * height * width * 3).reshape(count, height, width, 3)


def test_new_files_count_on_from_the_highest_number_there(port):
    folder = port.output_dir / "a"
    folder.mkdir(parents=True)
    for name in ("x_00001_.png", "x_00007_.webp", "x_y_00040_.png", "xx_00099_.png", "x_.png"):
        (folder / name).touch()
    new = folders().new_files("a/x")
    names = new.subfolder, new.filename("png"), new.filename("png", 2)
    assert names == ("a", "x_00008_.png", "x_00010_.png")


def test_prefixes_may_hold_sizes_and_the_date(port):
    new = folders().new_files("%width%x%height%_%year%_%other%_%batch_num%", width=64, height=32)
    name = new.filename("png", 3)
    assert name.startswith("64x32_20")
    assert name.endswith("_%other%_3_00004_.png")


@pytest.mark.parametrize("prefix", ["../x", "a/../../x", "/etc/x"])
def test_a_prefix_outside_the_folder_is_refused(port, prefix):
    with pytest.raises(ValueError, match=r"filename_prefix=.* points outside .*output; expected one inside"):
        folders().new_files(prefix)


def test_files_are_found_in_the_folder_that_their_name_says(port):
    (port.input_dir / "a.png").touch()
    (port.output_dir / "temp").mkdir(parents=True)
    (port.output_dir / "b.png").touch()
    (port.output_dir / "temp" / "c.png").touch()
    assert folders().existing("a.png") == folders().existing("a.png [input]") == port.input_dir / "a.png"
    assert folders().existing("b.png [output]") == port.output_dir / "b.png"
    assert folders().existing("c.png [temp]") == port.output_dir / "temp" / "c.png"
    said = r"file 'b.png' was not found; expected a file of .*input \(it holds a.png\)"
    with pytest.raises(ValueError, match=said):
        folders().existing("b.png")
    with pytest.raises(ValueError, match=r"file '../output/b.png' was not found; expected a file inside"):
        folders().existing("../output/b.png")


def test_pictures_survive_saving_and_loading(port):
    pictures = (ramp() * 255).floor() / 255
    result = with_prompt(image.SaveImage).execute(pictures, "sub/p")
    assert [each["filename"] for each in result.ui.as_dict()["images"]] == ["p_00001_.png", "p_00002_.png"]
    loaded, mask = image.LoadImage.execute("sub/p_00002_.png [output]").args
    assert torch.allclose(loaded, pictures[1:], atol=0.5 / 255)  # floor of x*255 may lose the last bit
    assert mask.shape == (1, 64, 64)
    with Image.open(port.output_dir / "sub" / "p_00001_.png") as saved:
        assert json.loads(saved.text["prompt"]) == PROMPT


def test_previews_go_to_their_own_folder(port):
    result = with_prompt(image.PreviewImage).execute(ramp(1))
    (saved,) = result.ui.as_dict()["images"]
    assert saved["type"] == "temp"
    assert (port.output_dir / "temp" / saved["filename"]).is_file()


def test_the_mask_is_one_where_the_picture_is_transparent(port):
    alpha = np.array([[[9, 9, 9, 255], [9, 9, 9, 0]]], np.uint8)
    Image.fromarray(alpha).save(port.input_dir / "a.png")
    loaded, mask = image.LoadImage.execute("a.png").args
    assert loaded.shape == (1, 1, 2, 3)
    assert mask.tolist() == [[[0.0, 1.0]]]


def test_every_frame_of_a_moving_webp_is_loaded(port):
    frames = [Image.new("RGB", (16, 16), (value, 0, 0)) for value in (0, 255, 0)]
    frames[0].save(port.input_dir / "m.webp", save_all=True, append_images=frames[1:], lossless=True)
    loaded, mask = image.LoadImage.execute("m.webp").args
    assert loaded[:, 0, 0, 0].tolist() == [0.0, 1.0, 0.0]
    assert mask.shape == (3, 64, 64)


@pytest.mark.parametrize("method", ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"])
def test_scaling_one_colour_keeps_it(port, method):
    flat = torch.full((1, 10, 14, 3), 51 / 255)
    scaled = image.ImageScale.execute(flat, method, 7, 20, "disabled")[0]
    assert scaled.shape == (1, 20, 7, 3)
    assert torch.allclose(scaled, torch.tensor(51 / 255), atol=1e-6)  # one rounding in each kernel


def test_a_side_of_zero_follows_from_the_other(port):
    assert image.ImageScale.execute(ramp(1, 8, 12), "area", 24, 0, "disabled")[0].shape == (1, 16, 24, 3)
    assert image.ImageScale.execute(ramp(1, 8, 12), "area", 0, 4, "disabled")[0].shape == (1, 4, 6, 3)
    pictures = ramp()
    assert image.ImageScale.execute(pictures, "area", 0, 0, "center")[0] is pictures


def test_center_cuts_the_longer_side_evenly(port):
    wide = torch.zeros(1, 4, 12, 3)
    wide[:, :, 4:8] = 1
    assert image.ImageScale.execute(wide, "area", 4, 4, "center")[0].min() == 1


def test_webp_holds_every_frame(port):
    result = with_prompt(image.SaveAnimatedWEBP).execute(ramp(3), "w", 8.0, True, 80, "default")
    (saved,) = result.ui.as_dict()["images"]
    with Image.open(port.output_dir / saved["filename"]) as moving:
        assert (moving.n_frames, moving.format) == (3, "WEBP")
        assert json.loads(moving.getexif()[0x0110].removeprefix("prompt:")) == PROMPT


def test_latents_survive_saving_and_loading(port):
    samples = draw(2, 4, 3, 3)
    with_prompt(latent.SaveLatent).execute({"samples": samples}, "latents/x")
    file = port.output_dir / "latents" / "x_00001_.latent"
    with safe_open(file, "pt") as saved:
        assert json.loads(saved.metadata()["prompt"]) == PROMPT
    assert load_file(file)["latent_tensor"].equal(samples)
    loaded = latent.LoadLatent.execute("latents/x_00001_.latent [output]")[0]
    assert torch.equal(loaded["samples"], samples)


def test_latents_of_the_first_format_are_unscaled(port):
    save_file({"latent_tensor": torch.ones(1, 4, 2, 2)}, port.input_dir / "old.latent")
    loaded = latent.LoadLatent.execute("old.latent")[0]
    assert torch.allclose(loaded["samples"], torch.tensor(1 / 0.18215))


def test_latents_taken_from_a_batch_keep_their_places(port):
    batch = latent.EmptyLatentImage.execute(64, 48, 6)[0]
    assert batch["samples"].shape == (6, 4, 6, 8)
    cut = latent.LatentFromBatch.execute(batch, -3, 2)[0]
    assert (cut["batch_index"], cut["samples"].shape[0]) == ([3, 4], 2)
    again = latent.LatentFromBatch.execute(cut, 1, 1)[0]
    assert again["batch_index"] == [4]
    assert latent.RepeatLatentBatch.execute(cut, 3)[0]["batch_index"] == [3, 4, 5, 6, 7, 8]


def test_latent_nodes_leave_their_input_alone(port):
    samples = {"samples": torch.ones(2, 4, 2, 2), "noise_mask": torch.ones(2, 1, 2, 2), "batch_index": [0, 1]}
    before = dict(samples)
    latent.LatentFromBatch.execute(samples, 0, 1)[0]["samples"].zero_()
    latent.RepeatLatentBatch.execute(samples, 2)
    latent.LatentCompositeMasked.execute(samples, {"samples": torch.zeros(1, 4, 2, 2)}, 0, 0, False)
    latent.SetLatentNoiseMask.execute(samples, torch.zeros(1, 16, 16))
    assert samples == before
    assert samples["samples"].min() == 1


@pytest.mark.parametrize(
    ("choice", "ending", "codec", "pixels"),
    [
        ({"format": {"format": "auto"}}, "mp4", "h264", "yuv420p"),
        ({"format": {"format": "mp4", "codec": {"codec": "h264"}}}, "mp4", "h264", "yuv420p"),
        ({"format": {"format": "mp4"}, "codec": {"codec": "auto"}}, "mp4", "h264", "yuv420p"),
        ({"format": {"format": "mkv", "codec": {"codec": "auto"}}}, "mkv", "h264", "yuv420p"),
        ({"format": {"format": "webm", "codec": {"codec": "auto"}}}, "webm", "av1", "yuv420p"),
    ],
)
def test_videos_have_the_frames_and_the_exact_rate(port, choice, ending, codec, pixels):
    frames = video.CreateVideo.execute(ramp(5, 64, 64), 12.5)[0]
    with_prompt(video.SaveVideo).execute(frames, "v", **choice)
    with av.open(str(port.output_dir / f"v_00001_.{ending}")) as saved:
        stream = saved.streams.video[0]
        assert (stream.codec.canonical_name, stream.format.name) == (codec, pixels)
        assert stream.average_rate == Fraction(25, 2)
        assert sum(1 for _ in saved.decode(video=0)) == 5
        metadata = {name.lower(): value for name, value in saved.metadata.items()}
        assert json.loads(metadata["prompt"]) == PROMPT


def test_a_lower_crf_is_nearer_to_the_frames(port):
    grey = torch.rand(2, 64, 64, 1, generator=torch.Generator().manual_seed(0)).expand(-1, -1, -1, 3)
    frames = video.CreateVideo.execute(grey, 8.0)[0]
    distances = []
    for crf in (5.0, 45.0):
        encoding = {"encoding": "re-encode", "crf": crf, "color_space": "auto"}
        choice = {"format": "mp4", "codec": {"codec": "h264", "encoding": encoding}}
        name = video.SaveVideo.execute(frames, f"crf{crf:.0f}", choice).ui.as_dict()["images"][0]["filename"]
        distances.append(float((read_frames(port.output_dir / name) - frames.images).abs().mean()))
    assert distances[0] < distances[1] / 2


@pytest.mark.parametrize(
    ("size", "choice", "message"),
    [
        (
            (63, 64),
            {"format": "mp4"},
            r"video is 64x63 pixels; expected even sides; scale it with ImageScale",
        ),
        (
            (64, 64),
            {"format": "webm", "codec": {"codec": "h264"}},
            r"codec='h264' doesn't go into WebM; expected av1",
        ),
        (
            (64, 64),
            {"format": "mp4", "codec": {"codec": "h264", "encoding": {"color_space": "HDR"}}},
            r"color_space='HDR' is not written headless; expected auto or sRGB",
        ),
    ],
)
def test_videos_that_can_not_be_are_refused_and_leave_no_file(port, size, choice, message):
    frames = video.CreateVideo.execute(ramp(1, *size), 8.0)[0]
    with pytest.raises(ValueError, match=message):
        video.SaveVideo.execute(frames, "v", choice)
    assert [path for path in port.output_dir.rglob("*") if path.is_file()] == []


def write_video(port, name, frames=5, **options):
    """A clip that SaveVideo wrote, in the input folder."""
    made = video.CreateVideo.execute(ramp(frames, 48, 64), 12.5, **options)[0]
    video.SaveVideo.execute(made, "clip", {"format": "mp4"})
    path = max((port.output_dir).glob("clip_*.mp4"))
    path.rename(port.input_dir / name)
    return made.images


def components(name):
    return video.GetVideoComponents.execute(video.LoadVideo.execute(name)[0]).args


@pytest.mark.parametrize("depth", [8, 10])
def test_a_saved_video_comes_apart_into_its_frames(port, depth):
    images = write_video(port, "a.mp4", bit_depth=depth)
    frames, audio, fps, bits, space = components("a.mp4")
    assert frames.shape == images.shape
    assert (frames - images).abs().mean() < 0.02  # H.264 keeps a smooth ramp to a few 255ths
    assert (audio, fps, bits, space) == (None, 12.5, depth, "sRGB")


def test_a_video_that_was_never_a_file_comes_apart_unchanged(port):
    made = video.CreateVideo.execute(ramp(3), 8.0, bit_depth=10)[0]
    frames, audio, fps, bits, space = video.GetVideoComponents.execute(made).args
    assert torch.equal(frames, ramp(3))
    assert (audio, fps, bits, space) == (None, 8.0, 10, "sRGB")


def test_only_a_file_of_the_input_folder_is_a_video(port):
    write_video(port, "a.mp4")
    assert video.LoadVideo.choices() == {"file": ["a.mp4"]}
    assert video.LoadVideo.validate_inputs(file="a.mp4") is True
    assert "it holds a.mp4" in video.LoadVideo.validate_inputs(file="b.mp4")
    with pytest.raises(ValueError, match=r"file '../a.mp4' was not found; expected a file inside"):
        video.LoadVideo.execute("../a.mp4")


def write_sound(path, *, video):
    """A file with a sound track, and a picture or none."""
    with av.open(str(path), "w") as output:
        parts = []
        if video:
            stream = output.add_stream("h264", rate=8)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            parts = [(stream, av.VideoFrame(64, 64, "yuv420p")), (stream, None)]
        track = output.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        for part, data in (*parts, (track, frame), (track, None)):
            output.mux(part.encode(data))


@pytest.mark.parametrize("part", ["page", "half", "sound"])
def test_a_file_that_is_no_video_is_named(port, part):
    write_video(port, "a.mp4", frames=40)
    whole = (port.input_dir / "a.mp4").read_bytes()
    (port.input_dir / "b.mp4").write_bytes(b"<html>" if part == "page" else whole[: len(whole) // 2])
    if part == "sound":
        write_sound(port.input_dir / "b.mp4", video=False)
    said = r"^b.mp4: got a file that is no video, or only part of one; expected"
    with pytest.raises(ValueError, match=said) as caught:
        components("b.mp4")
    assert "\n" not in str(caught.value)


def test_sound_that_is_left_out_is_said(port, caplog):
    write_sound(port.input_dir / "a.mp4", video=True)
    frames, audio, *_ = components("a.mp4")
    assert (len(frames), audio) == (1, None)
    assert "a.mp4: its sound is left out; the headless runner has none." in caplog.text


def test_sound_is_refused_where_it_would_be_written(port):
    said = r"^audio: got a sound track, which is not written headless; expected none;"
    with pytest.raises(ValueError, match=said):
        video.CreateVideo.execute(ramp(), 8.0, audio={"waveform": torch.zeros(1, 1, 9), "sample_rate": 9})


def test_a_loaded_video_is_not_written_again_unseen(port):
    write_video(port, "a.mp4")
    loaded = video.LoadVideo.execute("a.mp4")[0]
    with pytest.raises(
        ValueError, match=r"^video: a.mp4 as it was loaded.*GetVideoComponents and CreateVideo"
    ):
        video.SaveVideo.execute(loaded, "again", {"format": "mp4"})
    assert list(port.output_dir.glob("again*")) == []


def square():
    """A bright square on black, its border between pixels 15 and 16, and 31 and 32."""
    picture = torch.zeros(2, 48, 48, 3)
    picture[0, 16:32, 16:32] = 1
    return picture


def test_edges_lie_on_the_border_and_nowhere_else(port):
    edges = image.Canny.execute(square(), 0.1, 0.3)[0]
    assert edges.shape == (2, 48, 48, 3)
    assert set(edges.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(edges[..., 0], edges[..., 2])
    assert edges[1].sum() == 0
    middle = edges[0, 24, :, 0].nonzero().flatten().tolist()
    assert middle
    assert all(min(abs(x - 15.5), abs(x - 31.5)) <= 1 for x in middle)


def test_weak_edges_need_a_low_threshold(port):
    faint = square() * 0.3
    assert image.Canny.execute(faint, 0.05, 0.1)[0].sum() > 0
    assert image.Canny.execute(faint, 0.9, 0.95)[0].sum() == 0


@pytest.mark.parametrize(
    ("picture", "low", "message"),
    [
        (square(), 0.9, "got low_threshold=0.9, high_threshold=0.5 and 3 channels; expected low at most"),
        (torch.zeros(1, 8, 8, 4), 0.1, ".* 4 channels; expected .*; .* leave out the alpha channel"),
    ],
)
def test_wrong_inputs_of_canny_are_named(port, picture, low, message):
    with pytest.raises(ValueError, match=f"canny: {message}"):
        image.Canny.execute(picture, low, 0.5)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a: b", "a: b"),
        (None, "None"),
        (True, "True"),
        (2.5, "2.5"),
        ({"é": [1]}, '{\n    "é": [\n        1\n    ]\n}'),
        ({1, 2}, "{1, 2}"),
    ],
)
def test_any_value_is_shown_as_text(value, shown):
    result = PreviewAny.execute(value)
    assert result.ui == {"text": [shown]}
    assert result[0] == shown


def test_black_and_white_frames_become_a_mask_of_zeros_and_ones(port):
    held = EmptyImage.execute(8, 4, 1, 0x000000)[0]
    made = EmptyImage.execute(8, 4, 3, 0xFFFFFF)[0]
    mask = ImageToMask.execute(ImageBatch.execute(held, made)[0], "red")[0]
    assert mask.shape == (4, 4, 8)
    assert mask.flatten(1).mean(1).tolist() == [0.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(("channel", "value"), [("red", 0x33), ("green", 0x66), ("blue", 0x99)])
def test_a_colour_is_read_back_by_channel(port, channel, value):
    mask = ImageToMask.execute(EmptyImage.execute(2, 2, 1, 0x336699)[0], channel)[0]
    torch.testing.assert_close(mask, torch.full((1, 2, 2), value / 0xFF))


def test_a_batch_takes_the_size_of_its_first_picture_and_is_opaque(port):
    batch = ImageBatch.execute(torch.zeros(1, 4, 8, 4), torch.ones(2, 8, 8, 3))[0]
    assert batch.shape == (3, 4, 8, 4)
    assert batch[1:].eq(1.0).all()
