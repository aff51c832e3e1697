"""Decode To Video headless: disks, folders, and how much memory it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from frameloom.headless.core_nodes import core_node_classes
from frameloom.headless.workflow.executor import Executor
from frameloom.headless.workflow.graph import check_workflow
from frameloom.tests.contract.test_decode_to_video import FFV1, H264, bytes_of, files_of, latents, read
from frameloom.tests.support.disk import room_for


@pytest.fixture
def output(host):
    return host.output_dir


@pytest.fixture
def vae(demo):
    return demo[2]


@pytest.fixture
def decode(vae, nodes):
    def run(samples, form=FFV1, size=0):
        nodes["DecodeToVideo"].execute({"samples": samples}, vae, 12.5, "clips/take", form, 19.0, size)

    return run


def test_headless_any_size_of_chunk_gives_the_same_bits(host, vae, decode, output):
    """Frames are decoded one by one."""
    decode(latents(), size=3)
    wanted = host.decode(vae, {"samples": latents()})
    assert torch.equal(read(output / "clips" / "take_00001_.mkv")[0], bytes_of(wanted))


def test_a_full_disk_is_said_and_leaves_no_file(decode, output):
    """Noise doesn't compress."""
    with (
        room_for(4096),
        pytest.raises(
            OSError, match=r"^take_00001_\.m..: writing the video failed after \d+ frames \(File too large\);"
        ),
    ):
        decode(latents(20), size=4)
    assert files_of(output) == []


def test_a_folder_that_may_not_be_written_to_is_said(decode, output):
    (output / "clips").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="clips"):
        decode(latents())


@pytest.mark.parametrize("form", [H264, FFV1])
def test_the_workflow_is_in_the_file(host, form, nodes, output):
    graph = {
        "1": {"class_type": "Frameloom_DemoModelLoader", "inputs": {}},
        "2": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 2}},
        "3": {
            "class_type": "Frameloom_DecodeToVideo",
            "inputs": {
                "latent": ["2", 0], "vae": ["1", 2], "fps": 8, "filename_prefix": "v", "format": form, "crf": 19,
                "frames_per_chunk": 0,
            },
        },
    }  # fmt: skip
    report = Executor(check_workflow(graph, [*nodes.values(), *core_node_classes()])).run()
    (saved,) = report.shown["3"]["images"]
    assert json.loads(read(output / saved["filename"])[2]["prompt"]) == graph


LONG = """
import re, sys
from pathlib import Path
import torch
from frameloom.headless import select_host
from frameloom.headless.port import HeadlessHost
from frameloom.headless.weights.model import VAE

folder = Path(sys.argv[1])
host = HeadlessHost("cpu", folder, folder, folder)
select_host(host)
from frameloom.nodes.video.decode_to_video import DecodeToVideo

class Gray(VAE):
    def decode(self, latents):
        return torch.full((len(latents), 128, 128, 3), 0.5)

latents, vae = torch.zeros(600, 4, 16, 16), Gray(host.load_demo()[2].network)
for frames, size in ((60, 8), (600, 8), (600, 600)):
    with torch.inference_mode():
        DecodeToVideo.execute({"samples": latents[:frames]}, vae, 8.0, "clip", "mp4 (H.264)", 19.0, size)
    print(1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]))
"""


def test_memory_does_not_grow_with_the_length(tmp_path):
    """Ten times the frames, gray ones; the last run decodes them in one chunk, which the measurement must see.

    The shorter clip fills the frames that an encoder looks ahead, too.
    The highest mark is the process's own, as Linux has it; what ``getrusage`` gives begins with its parent's.
    """
    tests = Path(__file__).resolve().parents[1]
    script = f"import runpy; runpy.run_path({str(tests / 'bind.py')!r})\n{LONG}"
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], cwd=tests, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    short, long, at_once = map(int, done.stdout.split())
    pictures = 600 * 128 * 128 * 3 * 4
    assert at_once - long > 0.8 * pictures
    assert long - short < 0.3 * pictures
