"""VideoHelperSuite's way to load and save videos, and those of old AnimateDiff packs, as core's video nodes."""

from __future__ import annotations

from typing import Any

from .graph import Link, Node
from .rules import rule
from .targets import PICK
from .work import Work

_SIZES = {"Custom Width": (True, False), "Custom Height": (False, True), "Custom": (True, True)}
_PLAIN = {"force_rate": 0, "select_every_nth": 1, "skip_first_frames": 0, "frame_load_cap": 0}
_MOST_FRAMES = 4096  # of Get Image from Batch


@rule("VHS_VideoCombine", "ADE_AnimateDiffCombine", "AnimateDiffCombine", here="Create Video, Save Video",
      but="near: an MP4 of core's encoder in place of a GIF, a WebP or another codec; `pingpong` and `loop_count` are "
          "lost. Left where file names or a batch manager are used")  # fmt: skip
def combine(work: Work, node: Node) -> None:
    """Convert a node that saves frames as a video."""
    if work.graph.users(node) or "meta_batch" in node.inputs:
        work.say(
            node, "left", "as it is; its file names, or its batches, are used, and core's nodes have none"
        )
        return
    if "images" not in node.inputs:
        work.say(node, "left", "as it is; no pictures are connected to it")
        return
    work.take(node)
    images = node.inputs["images"]
    if isinstance(node.inputs.get("vae"), Link):
        images = Link(work.new("VAEDecode", node, samples=images, vae=node.inputs["vae"]).id, 0)
    rate = work.pass_on(node, "frame_rate", 8)
    video = work.new("CreateVideo", node, images=images, audio=node.inputs.get("audio"),
                     fps=rate if isinstance(rate, Link) else float(work.number(node, "frame_rate", 8)))  # fmt: skip
    prefix = work.pass_on(node, "filename_prefix", "AnimateDiff")
    made = work.new("SaveVideo", node, video=Link(video.id, 0), filename_prefix=prefix)
    lost = ["core's encoder in place of " + str(work.read(node, "format", "image/gif"))]
    if work.read(node, "pingpong", False) is True:
        lost.append("pingpong is lost: frames do not run back")
    if work.number(node, "loop_count", 0):
        lost.append("loop_count is lost")
    if work.read(node, "save_output", work.read(node, "save_image", True)) is False:
        lost.append("the video is kept, where it was shown alone")
    work.say(node, "near", "; ".join([f"{work.title(video)}, {work.title(made)}", *lost]))


@rule("VHS_LoadVideo", "VHS_LoadVideoPath",
      here="Load Video, Get Video Components, Pick Frames, or Get Image from Batch where frames are cut alone, Upscale "
           "Image",
      but="near: the same frames of those that core decodes; sizes are not made multiples of 8; a path becomes a file "
          "of the input folder; sound is not cut. Left where `video_info`, a VAE or batches are used")  # fmt: skip
def load(work: Work, node: Node) -> None:
    """Convert a node that loads a video's frames."""
    if work.graph.users(node, 3) or "vae" in node.inputs or "meta_batch" in node.inputs:
        work.say(
            node, "left", "as it is; its video_info, a VAE or batches are used, and core's nodes have none"
        )
        return
    lost: list[str] = []
    file = work.pass_on(node, "video", "")
    if isinstance(file, str) and node.kind == "VHS_LoadVideoPath":
        lost.append(f"put {file} into ComfyUI's input folder")
        file = file.replace("\\", "/").rpartition("/")[2]
    work.take(node)
    loaded = work.new("LoadVideo", node, file=file)
    parts = work.new("GetVideoComponents", node, video=Link(loaded.id, 0))
    images = _picked(work, node, parts)
    if work.read(node, "skip_first_frames", 0) != 0 and work.graph.users(node, 2):
        lost.append("its sound begins where the video does")
    size = _size(work, node)
    if size is not None:
        scaled = work.new("ImageScale", node, image=images, upscale_method="lanczos", width=size[0], height=size[1],
                          crop="center")  # fmt: skip
        images = Link(scaled.id, 0)
        lost.append("sizes are not made multiples of 8")
    work.graph.rewire(Link(node.id, 0), images)
    if work.graph.users(node, 1):
        counted = work.new("GetImageSize", node, image=images)
        work.graph.rewire(Link(node.id, 1), Link(counted.id, 2))
    work.graph.rewire(Link(node.id, 2), Link(parts.id, 1))
    work.say(node, "near", "; ".join([work.title(loaded), *(lost or ["frames are decoded by core"])]))


@rule("VHS_SelectEveryNthImage", here="Pick Frames")
def every_nth(work: Work, node: Node) -> None:
    """Convert a node that picks every nth picture of a batch."""
    made = work.new(PICK, node, images=node.inputs.get("images"),
                    skip_first_frames=work.pass_on(node, "skip_first_images", 0),
                    select_every_nth=work.pass_on(node, "select_every_nth", 1))  # fmt: skip
    work.graph.rewire(Link(node.id, 0), Link(made.id, 0))
    work.graph.rewire(Link(node.id, 1), Link(made.id, 2))
    work.say(work.take(node), "exact", work.title(made))


def _picked(work: Work, node: Node, parts: Node) -> Link:
    """Return a link to the frames that are picked: by core's node where they are cut alone, else by Pick Frames."""
    images = Link(parts.id, 0)
    rate, every, skip, cap = (work.pass_on(node, name, plain) for name, plain in _PLAIN.items())
    if (rate, every, skip, cap) == tuple(_PLAIN.values()):
        return images
    if (rate, every) == (0, 1) and all(isinstance(each, int) and each < _MOST_FRAMES for each in (skip, cap)):
        length = cap or _MOST_FRAMES
        made = work.new("ImageFromBatch", node, image=images, batch_index=skip, length=length)
    else:
        made = work.new(PICK, node, images=images, source_fps=Link(parts.id, 2), force_rate=rate,
                        skip_first_frames=skip, select_every_nth=every, frame_cap=cap)  # fmt: skip
    return Link(made.id, 0)


def _size(work: Work, node: Node) -> tuple[Any, Any] | None:
    """Return the width and height that frames are brought to, 0 where it follows from the other; None: as they are."""
    force = str(work.read(node, "force_size", ""))
    width, height = work.pass_on(node, "custom_width", 0), work.pass_on(node, "custom_height", 0)
    if force in _SIZES:
        keeps = _SIZES[force]
        width, height = width if keeps[0] else 0, height if keeps[1] else 0
    elif "x" in force:
        first, _, second = force.partition("x")
        width, height = (int(each) if each.isdecimal() else 0 for each in (first, second))
    elif force and force != "None":
        return None
    return (width, height) if width or height else None
