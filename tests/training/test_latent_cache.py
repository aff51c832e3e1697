"""The cache of latents and captions: made once, by several processes at once, whole whatever happens to them."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from frameloom.models.errors import PredictionError
from frameloom.tests.support.videos import numbered, write_video
from frameloom.training.motion.dataset import drawn_dataset, folder_dataset
from frameloom.training.motion.latent_cache import encode_clips
from frameloom.training.video.cut import Cut
from frameloom.training.video.folder import read_folder
from safetensors.torch import load_file


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


def fill(dataset, folder, encoders=None, base_key="base", watch=lambda done: None):
    encoders = encoders or Encoders()
    return encode_clips(dataset, encoders.pictures, encoders.text, folder, base_key, watch, lambda: None)


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
    before, second = fill(drawn(), tmp_path), Encoders()
    after = fill(drawn(), tmp_path, second)
    assert (second.clips, second.texts) == (0, [])
    assert torch.equal(before.latents, after.latents)
    assert torch.equal(before.tokens, after.tokens)


@pytest.mark.parametrize(
    ("changed", "key"),
    [({}, "other"), ({"frames": 5}, "base"), ({"seed": 2}, "base"), ({"motion": "circle"}, "base")],
)
def test_another_base_another_cut_and_other_pictures_are_made_anew(tmp_path, changed, key):
    encoders = Encoders()
    fill(drawn(), tmp_path)
    fill(drawn(**changed), tmp_path, encoders, base_key=key)
    assert encoders.clips == 5


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
    class Broken(Encoders):
        def pictures(self, pictures):
            return super().pictures(pictures) / 0

    with pytest.raises(PredictionError, match=r"clip as it is encoded: got NaN or infinity in 4 of 4 frames"):
        fill(drawn(), tmp_path, Broken())
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


class Slow(Encoders):
    def pictures(self, pictures):
        time.sleep(0.02)
        return super().pictures(pictures)


OTHER = """
import sys, time
from pathlib import Path
from frameloom.tests.training.test_latent_cache import Slow, drawn, fill

def watch(done):
    print(done, flush=True)
    if done == 15:
        time.sleep(60)

fill(drawn(20), Path(sys.argv[1]), Slow(), watch=watch)
"""


def test_two_processes_fill_one_folder_at_once_and_a_killed_one_leaves_nothing_broken(tmp_path):
    cache, mine = tmp_path / "cache", Slow()
    command = [sys.executable, "-c", OTHER, str(cache)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        while int(other.stdout.readline()) < 3:
            pass

        def watch(done):
            if done == 12:
                other.kill()

        encoded = fill(drawn(20), cache, mine, watch=watch)
    assert other.returncode == -signal.SIGKILL
    assert mine.clips <= 17
    wanted, again = fill(drawn(20), tmp_path / "alone"), Encoders()
    for each in (encoded, fill(drawn(20), cache, again)):
        assert torch.equal(each.latents, wanted.latents)
        assert torch.equal(each.tokens, wanted.tokens)
    assert again.clips == 0
