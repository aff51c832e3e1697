"""What every host promises of Decode To Video."""

from __future__ import annotations

import logging
import threading
import time

import av
import pytest
import torch
from frameloom.models.errors import PredictionError

H264, FFV1 = "mp4 (H.264)", "mkv (FFV1, lossless)"
FRAMES = 7


def latents(frames=FRAMES, height=8, width=12):
    return torch.randn(frames, 4, height, width, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def decode(port, folders):
    """Run the node; what it saves lies in the output folder."""
    from frameloom.nodes.video.decode_to_video import DecodeToVideo

    def run(vae, samples, form=FFV1, size=0, prefix="clips/take"):
        return DecodeToVideo.execute({"samples": samples}, vae, 12.5, prefix, form, 19.0, size)

    return run


def read(path):
    """The pictures of a file, [N, H, W, 3] uint8, its rate and its texts; the host's code has no part in it."""
    with av.open(str(path)) as file:
        rate = file.streams.video[0].average_rate
        frames = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]
        return torch.stack(frames), rate, {name.lower(): text for name, text in file.metadata.items()}


def files_of(folder):
    return [path.name for path in folder.rglob("*") if path.is_file()]


def bytes_of(images):
    return (images * 255).clamp(0, 255).byte()


def wait_for_a_file(folder):
    """Wait for the first bytes, which a thread writes."""
    until = time.monotonic() + 60
    while not files_of(folder):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize(("form", "ending"), [(H264, "mp4"), (FFV1, "mkv")])
def test_the_file_has_every_frame_at_its_rate_and_is_shown_as_core_shows_videos(
    port, demo, decode, folders, core, form, ending
):
    made = decode(demo[2], latents(), form, size=3, prefix="clips/%width%x%height%")
    name = f"96x64_00001_.{ending}"
    pictures, rate, _ = read(folders.output / "clips" / name)
    assert pictures.shape == (FRAMES, 64, 96, 3)
    assert rate == 12.5
    assert made.ui["images"] == [{"filename": name, "subfolder": "clips", "type": "output"}]
    assert made.ui["animated"] == (True,)
    for clip in made.ui.get("frameloom_clips", ()):
        assert (clip["frames"], clip["size"], clip["fps"], len(clip["sheets"])) == (FRAMES, [96, 64], 12.5, 1)
    images, _, fps, *_ = core.components(made.args[0])
    assert (images.shape, fps) == ((FRAMES, 64, 96, 3), 12.5)
    wanted = port.decode(demo[2], {"samples": latents()})
    assert (images - wanted).abs().mean() < (0.02 if form == H264 else 1 / 255)


def test_a_lossless_file_holds_what_the_vae_gives(port, demo, decode, folders):
    decode(demo[2], latents(), size=FRAMES)
    wanted = port.decode(demo[2], {"samples": latents()})
    assert torch.equal(read(folders.output / "clips" / "take_00001_.mkv")[0], bytes_of(wanted))


@pytest.mark.parametrize("size", [1, 3, 0, 100])
def test_any_size_of_chunk_gives_the_same_frames(port, demo, decode, folders, size):
    """Kernels differ by batch shape: a value may fall on the other side of a rounding."""
    decode(demo[2], latents(), size=size)
    got = read(folders.output / "clips" / "take_00001_.mkv")[0].int()
    wanted = bytes_of(port.decode(demo[2], {"samples": latents()})).int()
    assert (got - wanted).abs().max() <= 1
    assert (got != wanted).float().mean() < 1e-3
    whole = port.decode(demo[2], {"samples": latents()})
    alone = torch.cat([port.decode(demo[2], {"samples": each[None]}) for each in latents()])
    torch.testing.assert_close(alone, whole, rtol=0, atol=1e-5)


def test_a_chunk_is_no_longer_than_asked_and_the_rest_goes_last(demo, decode, folders, core):
    seen = []
    decode(core.watched(demo[2], lambda batch: seen.append(len(batch))), latents(), size=3)
    assert seen == [3, 3, 1]


def test_a_cancel_leaves_no_file(demo, decode, folders, core):
    there = []

    def in_the_second(batch):
        if there:
            wait_for_a_file(folders.output)
        there.append(files_of(folders.output))
        if len(there) == 2:
            core.cancel()

    with pytest.raises(core.cancelled):
        decode(core.watched(demo[2], in_the_second), latents(), size=3)
    (written,) = there[1]
    assert written.startswith(".take_00001_.mkv.")
    assert len(there) == 2
    assert files_of(folders.output) == []


def test_a_thread_writes_a_chunk_while_the_next_is_decoded_and_ends(demo, decode, folders, core):
    def writers():
        return [thread for thread in threading.enumerate() if thread.name.startswith("video")]

    seen = []
    decode(core.watched(demo[2], lambda _: seen.append(len(writers()))), latents(), size=3)
    assert seen == [0, 1, 1]
    assert writers() == []


def test_out_of_memory_halves_the_chunk(demo, decode, folders, core, caplog):
    seen = []

    def cramped(batch):
        seen.append(len(batch))
        if len(batch) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with caplog.at_level(logging.WARNING):
        decode(core.watched(demo[2], cramped), latents(9), size=8)
    assert seen == [8, 4, 2, 2, 2, 2, 1]
    assert "Out of memory decoding 8 frames at a time; going on with 4." in caplog.text
    assert len(read(folders.output / "clips" / "take_00001_.mkv")[0]) == 9


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
    ids=["accelerator", "processor", "python"],
)
def test_out_of_memory_for_one_frame_is_an_error_in_words(demo, decode, folders, core, error):
    def full(batch):
        if not batch[0].equal(latents()[0]):
            raise error

    with pytest.raises(
        MemoryError, match=r"^frame 1: out of memory decoding a single frame of 12x8 latents; exp"
    ):
        decode(core.watched(demo[2], full), latents(), size=1)
    assert files_of(folders.output) == []


def test_other_errors_of_a_vae_are_not_taken_for_memory(demo, decode, folders, core):
    def broken(batch):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        decode(core.watched(demo[2], broken), latents())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_latent_that_is_not_finite_is_refused_by_its_number(demo, decode, folders, value):
    samples = latents()
    samples[5, 1, 2, 3] = value
    with pytest.raises(
        PredictionError, match=r"latent: got NaN or infinity in 1 of 7 frames \(first: frame 5\)"
    ):
        decode(demo[2], samples)
    assert list(folders.output.rglob("*")) == []


def test_a_picture_that_is_not_finite_is_refused_by_its_number(demo, decode, folders, core):
    def spoil(batch):
        if batch[-1].equal(latents()[5]):
            batch[1] = float("nan")

    with pytest.raises(
        PredictionError, match=r"decoded picture: got NaN .* in 1 of 3 frames \(first: frame 4\)"
    ):
        decode(core.watched(demo[2], spoil), latents(), size=3)
    assert files_of(folders.output) == []


@pytest.mark.parametrize("shape", [(1, 4, 3, 8, 8), (0, 4, 8, 8), (4, 8, 8)])
def test_latents_of_other_models_are_refused(demo, decode, folders, shape):
    with pytest.raises(
        ValueError, match=r"latent: got one of .*\[\d, .*expected .*\[frames, channels, height, width\]"
    ):
        decode(demo[2], torch.zeros(shape))


def test_a_file_that_is_there_stays(demo, decode, folders, core):
    """Somebody takes the name while the video is made."""
    taken = folders.output / "clips" / "take_00001_.mkv"

    def take(batch):
        taken.parent.mkdir(exist_ok=True)
        taken.write_text("mine") if batch[-1].equal(latents()[-1]) else None

    made = decode(core.watched(demo[2], take), latents(), size=3)
    assert taken.read_text() == "mine"
    assert made.ui["images"][0]["filename"] == "take_00002_.mkv"
    assert len(read(folders.output / "clips" / "take_00002_.mkv")[0]) == FRAMES


@pytest.mark.parametrize("prefix", ["../take", "clips/../../take"])
def test_a_name_outside_the_output_folder_is_refused(demo, decode, folders, prefix):
    before = files_of(folders.output.parent)
    with pytest.raises(ValueError, match="filename_prefix="):
        decode(demo[2], latents(), prefix=prefix)
    assert files_of(folders.output.parent) == before
