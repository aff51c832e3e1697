"""The cache of latents and captions: made once, by several processes at once, whole whatever happens to them."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from frameloom.models.errors import PredictionError
from frameloom.tests.support.videos import numbered, write_video
from frameloom.training.motion.dataset import drawn_dataset, folder_dataset
from frameloom.training.motion.latent_cache import encode_clips
from frameloom.training.video.cut import Cut
from frameloom.training.video.folder import read_folder
from safetensors.torch import load_file

TESTS = Path(__file__).resolve().parents[1]


class Encoders:
    """A VAE that takes means of squares, and a text encoder of 7 tokens for every 3 words; both count their work."""

    def __init__(self):
        self.clips, self.texts = 0, []

    def pictures(self, pictures):
        self.clips += 1
        height, width = pictures.shape[2:]
        small = pictures.unflatten(2, (height // 8, 8)).unflatten(4, (width // 8, 8)).mean((3, 5))
        return torch.cat([small, small[:, :1]], 1)

    def text(self, text):
        self.texts.append(text)
        length = 7 * max(1, len(text.split()) // 3)
        return torch.arange(length * 4.0).view(length, 4) + sum(map(ord, text))


def fill(dataset, folder, encoders=None, base_key="base", watch=lambda done: None, check=lambda: None):
    encoders = encoders or Encoders()
    return encode_clips(dataset, encoders.pictures, encoders.text, folder, base_key, watch, check)


def drawn(clips=5, seed=1, motion="straight", frames=4):
    return drawn_dataset(clips, motion, seed, frames=frames, width=32, height=32, caption_dropout=0.1)


def test_latents_and_captions_are_those_of_the_clips(tmp_path):
    dataset, encoders = drawn(), Encoders()
    encoded = fill(dataset, tmp_path, encoders)
    wanted = torch.stack([encoders.pictures(dataset.pictures(index)) for index in range(5)])
    assert torch.equal(encoded.latents, wanted)
    assert (encoded.latents.dtype, encoded.tokens.dtype) == (torch.float32, torch.float32)
    assert encoded.tokens.shape[0] == len(set(dataset.captions)) + 1
    for index, caption in enumerate(dataset.captions):
        row = encoded.tokens[encoded.caption[index]]
        own = encoders.text(caption)
        assert torch.equal(row, own.repeat(len(row) // len(own), 1))
    assert torch.equal(encoded.tokens[0][:7], encoders.text(""))
    assert encoded.skipped == ()


def test_captions_of_several_lengths_are_repeated_to_a_common_one(tmp_path):
    clips = [
        replace(clip, caption=text)
        for clip, text in zip(drawn().clips, ["a b c d e f", "x", "", "x", "y"], strict=True)
    ]
    encoded = fill(replace(drawn(), clips=tuple(clips)), tmp_path)
    assert encoded.tokens.shape == (4, 14, 4)
    assert torch.equal(encoded.tokens[2, :7], encoded.tokens[2, 7:])
    assert encoded.caption.tolist() == [1, 2, 0, 2, 3]


def test_captions_that_fit_no_common_length_are_refused_before_a_clip_is_encoded(tmp_path):
    lengths = [11, 13, 17, 19, 23]
    clips = [replace(clip, caption="a b c " * n) for clip, n in zip(drawn().clips, lengths, strict=True)]
    encoders = Encoders()
    with pytest.raises(
        ValueError, match=r"dataset: the captions' .* longest caption begins 'a b c .*; shorten it"
    ):
        fill(replace(drawn(), clips=tuple(clips)), tmp_path, encoders)
    assert encoders.clips == 0


def test_what_is_kept_is_not_made_again_and_is_the_same_bits(tmp_path):
    first, second = Encoders(), Encoders()
    before, after = fill(drawn(), tmp_path, first), fill(drawn(), tmp_path, second)
    assert (first.clips, second.clips, second.texts) == (5, 0, [])
    assert torch.equal(before.latents, after.latents)
    assert torch.equal(before.tokens, after.tokens)


def test_another_base_another_cut_and_other_pictures_are_made_anew(tmp_path):
    fill(drawn(), tmp_path)
    for dataset, key in (
        (drawn(), "other"),
        (drawn(frames=5), "base"),
        (drawn(seed=2), "base"),
        (drawn(motion="circle"), "base"),
    ):
        encoders = Encoders()
        fill(dataset, tmp_path, encoders, base_key=key)
        assert encoders.clips == 5


def test_a_video_is_known_under_another_name_and_not_with_another_content(tmp_path):
    folder, cache, cut = tmp_path / "in", tmp_path / "cache", Cut(4, 2, 32, 32)

    def work():
        encoders = Encoders()
        fill(folder_dataset(read_folder(folder, cut, "empty"), "in", cut, 0.0), cache, encoders)
        return encoders.clips

    path = write_video(folder / "a.mkv", numbered(10))
    assert work() == 1
    path = path.rename(folder / "b.mkv")
    assert work() == 0
    write_video(path, numbered(10) + 1)
    assert work() == 1


def test_a_damaged_file_is_made_anew_and_that_is_said(tmp_path, caplog):
    wanted = fill(drawn(), tmp_path)
    files = sorted(tmp_path.glob("*.safetensors"))
    for place, file in enumerate(files):
        content = file.read_bytes()
        file.write_bytes([b"", content[:-7], b"x" * 50, content[:20]][place % 4])
    encoders = Encoders()
    again = fill(drawn(), tmp_path, encoders)
    assert encoders.clips == 5
    assert torch.equal(again.latents, wanted.latents)
    assert caplog.text.count("; it is made anew.") == len(files)
    assert all(load_file(file) for file in files)


def test_a_clip_that_cant_be_decoded_is_left_out_and_named(tmp_path, caplog):
    folder, cut = tmp_path / "in", Cut(4, 2, 32, 32)
    for name in "abc":
        write_video(folder / f"{name}.mkv", numbered(10))
        (folder / f"{name}.txt").write_text(f"clip {name}")
    dataset = folder_dataset(read_folder(folder, cut, "skip"), "in", cut, 0.0)
    (folder / "b.mkv").unlink()
    encoded = fill(dataset, tmp_path / "cache")
    assert (len(encoded.latents), encoded.skipped) == (2, ("b.mkv: is gone",))
    assert "b.mkv: is gone; the clip is skipped." in caplog.text
    for row, name in enumerate("ac"):
        assert torch.equal(encoded.tokens[encoded.caption[row]], Encoders().text(f"clip {name}"))
    for name in "ac":
        (folder / f"{name}.mkv").unlink()
    assert len(fill(dataset, tmp_path / "cache").latents) == 2  # kept latents need no file
    none = fill(dataset, tmp_path / "third")
    assert (len(none.latents), none.skipped) == (0, ("a.mkv: is gone", "b.mkv: is gone", "c.mkv: is gone"))


def test_latents_that_are_not_finite_are_refused_and_not_kept(tmp_path):
    encoders = Encoders()
    with pytest.raises(PredictionError, match=r"clip as it is encoded: got NaN or infinity in 4 of 4 frames"):
        encode_clips(
            drawn(),
            lambda pictures: encoders.pictures(pictures) / 0,
            encoders.text,
            tmp_path,
            "b",
            print,
            print,
        )
    assert {load_file(path)["value"].dim() for path in tmp_path.iterdir()} == {2}  # captions, no clip


def test_results_can_be_trained_on_though_the_base_runs_in_inference_mode(tmp_path):
    modes = []

    class Watching(Encoders):
        def pictures(self, pictures):
            modes.append(torch.is_inference_mode_enabled())
            return super().pictures(pictures)

    with torch.inference_mode():
        new, kept = fill(drawn(), tmp_path, Watching()), fill(drawn(), tmp_path)
    assert modes == [True] * 5
    for encoded in (new, kept):
        assert not encoded.latents.is_inference()
        assert not encoded.tokens.is_inference()
    (new.latents.requires_grad_() * 2).sum().backward()


def test_a_cancel_keeps_what_is_done(tmp_path):
    encoders, told = Encoders(), []

    def check():
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(drawn(), tmp_path, encoders, watch=told.append, check=check)
    assert told == [1, 2, 3]
    rest = Encoders()
    fill(drawn(), tmp_path, rest)
    assert rest.clips == 2


def test_what_a_killed_run_left_half_written_is_removed_after_a_day(tmp_path):
    old, new = tmp_path / ".a.safetensors.12345678.part", tmp_path / ".b.safetensors.12345678.part"
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    os.utime(old, (time.time() - 100_000,) * 2)
    fill(drawn(1), tmp_path)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_folder_that_may_not_be_written_to_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        OSError, match=r"file.*expected about [\d,]+ bytes of room in a folder that can be written to"
    ):
        fill(drawn(), tmp_path / "file" / "cache")


PROCESS = """
import runpy, sys, time
from pathlib import Path
runpy.run_path({bind!r})
import torch
torch.set_num_threads(1)
from frameloom.tests.training.test_latent_cache import Encoders, drawn, fill

class Slow(Encoders):
    def pictures(self, pictures):
        time.sleep(0.02)
        return super().pictures(pictures)

slow, folder = Slow(), Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
encoded = fill(drawn(40), folder, slow, watch=lambda done: print(done, flush=True))
torch.save((encoded, slow.clips), sys.argv[2])
"""


def start(folder, result):
    script = PROCESS.format(bind=str(TESTS / "bind.py"))
    command = [sys.executable, "-c", script, str(folder), str(result)]
    return subprocess.Popen(command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def go(process):
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_processes_fill_one_folder_at_once(tmp_path):
    results = [tmp_path / "one.pt", tmp_path / "two.pt"]
    both = [start(tmp_path / "cache", result) for result in results]
    for process in both:
        go(process)
    for process in both:
        process.communicate(timeout=120)
        assert process.returncode == 0
    wanted = fill(drawn(40), tmp_path / "alone")
    for result in results:
        encoded, clips = torch.load(result, weights_only=False)
        assert torch.equal(encoded.latents, wanted.latents)
        assert torch.equal(encoded.tokens, wanted.tokens)
        assert clips <= 40
    again = Encoders()
    fill(drawn(40), tmp_path / "cache", again)
    assert again.clips == 0
    assert not list((tmp_path / "cache").glob(".*"))


def test_a_run_that_is_killed_leaves_nothing_broken_and_the_next_goes_on(tmp_path):
    cache = tmp_path / "cache"
    process = start(cache, tmp_path / "never.pt")
    go(process)
    while int(process.stdout.readline()) < 12:
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = [load_file(file)["value"] for file in cache.glob("*.safetensors")]
    clips = len([value for value in kept if value.dim() == 4])  # the others are captions
    assert 12 <= clips < 40
    rest = Encoders()
    encoded = fill(drawn(40), cache, rest)
    assert rest.clips == 40 - clips
    assert torch.equal(encoded.latents, fill(drawn(40), tmp_path / "alone").latents)
