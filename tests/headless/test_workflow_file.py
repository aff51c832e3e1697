"""Workflows that people have: in a request's body, in a history, in a picture or a video that was saved with one."""

from __future__ import annotations

import json

import pytest
import torch
from frameloom.headless.core_nodes import image, video
from frameloom.headless.workflow.graph import InvalidWorkflowError, read_workflow
from frameloom.headless.workflow.workflow_file import NoWorkflowError, read_workflow_text
from frameloom.tests.headless.test_core_nodes import PROMPT, with_prompt
from PIL import Image, PngImagePlugin

PICTURES = torch.zeros(2, 16, 16, 3)
ENTRY = {
    "prompt": [7, "an-id", PROMPT, {"client_id": "x", "extra_pnginfo": {"workflow": {"nodes": []}}}, ["9"]],
    "outputs": {},
}
FORMS = {
    "plain": PROMPT,
    "a request": {"prompt": PROMPT, "client_id": "x", "extra_data": {}},
    "an entry of the history": ENTRY,
    "a history of one run": {"an-id": ENTRY},
}


@pytest.mark.parametrize("name", list(FORMS))
def test_a_workflow_is_found_in_what_programs_send_and_get(name):
    assert read_workflow(json.dumps(FORMS[name])) == PROMPT


def test_a_node_may_be_called_prompt():
    own = {"prompt": PROMPT["3"]}
    assert read_workflow(json.dumps(own)) == own


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": ENTRY, "b": ENTRY}, "got a history of 2 runs, expected one of them"),
        ({"prompt": {"nodes": [], "links": []}}, "a workflow saved by the editor"),
        ({"prompt": [1, "id"]}, "got list, expected"),
    ],
)
def test_what_has_no_workflow_or_several_is_refused(given, said):
    with pytest.raises(InvalidWorkflowError, match=said):
        read_workflow(json.dumps(given))


def comfyui_png(folder):
    """As ComfyUI's SaveImage writes it."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("prompt", json.dumps(PROMPT))
    texts.add_text("workflow", json.dumps({"nodes": []}))
    Image.new("RGB", (8, 8)).save(folder / "c.png", pnginfo=texts, compress_level=4)


def comfyui_apng(folder):
    """As ComfyUI's SaveAnimatedPNG writes it."""
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    texts = PngImagePlugin.PngInfo()
    texts.add(b"comf", b"prompt\0" + json.dumps(PROMPT).encode("latin-1"), after_idat=True)
    pictures[0].save(folder / "c.png", pnginfo=texts, save_all=True, duration=125, append_images=pictures[1:])


def comfyui_webp(folder):
    """As ComfyUI's SaveAnimatedWEBP writes it."""
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    exif = pictures[0].getexif()
    exif[0x0110], exif[0x010F] = f"prompt:{json.dumps(PROMPT)}", 'workflow:{"nodes": []}'
    pictures[0].save(folder / "c.webp", save_all=True, duration=125, append_images=pictures[1:], exif=exif)


def our_video(container, codec):
    def save(folder):
        made = video.CreateVideo.execute(PICTURES, 8.0)[0]
        with_prompt(video.SaveVideo).execute(made, "c", {"format": container, "codec": {"codec": codec}})

    return save


SAVED = {
    "ComfyUI's PNG": comfyui_png,
    "ComfyUI's moving PNG": comfyui_apng,
    "ComfyUI's WebP": comfyui_webp,
    "our PNG": lambda _: with_prompt(image.SaveImage).execute(PICTURES, "c"),
    "our WebP": lambda _: with_prompt(image.SaveAnimatedWEBP).execute(
        PICTURES, "c", 8.0, True, 80, "default"
    ),
    "our MP4": our_video("mp4", "h264"),
    "our MKV": our_video("mkv", "h264"),
    "our WebM": our_video("webm", "av1"),
}


@pytest.mark.parametrize("name", list(SAVED))
def test_a_workflow_is_read_from_what_was_saved_with_it(port, name):
    port.output_dir.mkdir()
    SAVED[name](port.output_dir)
    path = next(path for path in sorted(port.output_dir.iterdir()) if path.is_file())
    assert read_workflow(read_workflow_text(path)) == PROMPT


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "a picture that can't be read"),
        (b"\x1a\x45\xdf\xa3" + bytes(20), "a video that can't be read"),
        (b"\xff\xd8\xff\xe0", "a file that is not text; expected JSON in UTF-8, or a PNG"),
    ],
)
def test_a_file_that_holds_none_is_named(tmp_path, data, said):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(NoWorkflowError, match=f"x: got {said}"):
        read_workflow_text(tmp_path / "x")


def test_a_picture_without_metadata_says_so(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    with pytest.raises(NoWorkflowError, match="got a PNG file without a workflow in API form"):
        read_workflow_text(tmp_path / "x.png")
