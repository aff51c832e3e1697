"""Captioned clips to train on: a folder of videos, or drawn shapes."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from ...host import api
from ..early import check_early
from ..segments import show_progress
from ..sockets import DatasetType
from ..widgets import choice, number, out, schema, seed, share, switch, whole

io = api.io

FOLDERS = "input_folders"
NONE = "none"
SHAPES, FOLDER = "shapes", "folder"


class VideoDataset(io.ComfyNode):
    """Gather captioned clips to train on: from a folder of videos in ComfyUI's input folder, or drawn shapes.

    Subfolders are included; drawn shapes need no files. A caption is a text file beside its video, clip.txt
    and clip.mp4, or a row of a table in the folder: metadata.jsonl with file_name and text in each line, or a
    CSV file as WebVid has it (videoid, name, page_dir), or with the columns file and caption. Of several, the
    first of clip.mp4.txt, clip.mp4.caption, clip.txt, clip.caption and tables counts. Animated WebP, GIF and
    PNG are videos, too, and so is a subfolder of numbered pictures (walk/frame_0001.png, ...) with its
    caption beside it (walk.txt). Videos are turned and mirrored as they are shown, their pixels made square,
    and what is transparent becomes white. HDR is refused. A file that can't be used is skipped and named in
    the report. Clips are cut as AnimateDiff's were: evenly spaced frames, scaled to cover the picture, the
    middle kept.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Video Dataset", "training",
            aliases=["WebVid", "load videos", "training data", "captions", "AnimateDiff training", "clips"],
            inputs=[
                choice("source", [SHAPES, FOLDER],
                    "Source of the clips. shapes: drawn, one in each clip, as the demo model knows them. "
                    "folder: videos of yours."),
                choice("folder", [NONE, *api.port().list_files(FOLDERS)],
                    "A folder in ComfyUI's input folder, for source folder, with videos of any kind that "
                    "FFmpeg reads, animated pictures and subfolders of numbered ones, and their captions. A "
                    "link to a folder elsewhere is not followed."),
                whole("frames", 16, 2, 1024,
                    "Frames of each clip. A motion module takes as many as its positional encoding has, "
                    "often 24 or 32. A video with fewer is skipped."),
                whole("stride", 4, 1, 1000,
                    "Frames of the video from one of the clip to the next, for source folder; 4 is "
                    "AnimateDiff's. In a video that is too short for it the frames are spread over what "
                    "there is."),
                whole("width", 256, 32, 4096,
                    "Width in pixels; AnimateDiff was trained at 256 x 256. The demo model wants "
                    "128.", step=8),
                whole("height", 256, 32, 4096, "Height in pixels. For shapes, it is the width.", step=8),
                share("caption_dropout", 0.1,
                    "Share of training steps that see an empty caption, which guidance (cfg) needs; "
                    "AnimateDiff's is 0.1."),
                choice("missing_captions", ["skip", "empty"],
                    "Treatment of a video without a caption, for source folder: skip it, or take it with an "
                    "empty one."),
                whole("clips_per_video", 1, 1, 1000,
                    "Most clips from each video, for source folder, at evenly spread starts; 1 is from its "
                    "middle. AnimateDiff took a new random start each time; here clips are encoded once."),
                switch("flip", False,
                    "Take every clip a second time, with left and right exchanged, for source folder. Leave "
                    "it off where captions say left or right, or the motion to learn has a direction."),
                whole("clips", 64, 1, 100_000, "Number of clips that are drawn, for source shapes."),
                choice("motion", ["straight", "circle", "pan left"],
                    "Motion of drawn shapes, for source shapes. straight: across the picture or still, as "
                    "the caption says; what the demo's motion module knows. circle: once round, clockwise, "
                    "which it has never seen; captions don't say it. pan left: the camera's, so that shapes "
                    "that stand still, as captions say, drift to the right."),
                seed("Seed of drawn shapes' looks, places and ways, for source shapes.",
                    after=io.ControlAfterGenerate.fixed),
                number("fps", 0.0, 0.0, 1000.0, 0.001,
                    "Frames a second at which every video is read, for source folder, whatever its own rate, "
                    "even one that changes: at each time the frame that a player would show then. stride "
                    "counts these. Above a video's own rate frames come more than once, which the report "
                    "says. Numbered pictures have no times, and count as taken at this rate. 0: the frames "
                    "of the file, one after another, however long each is shown.", optional=True),
                switch("loop", False,
                    "Treat all videos as loops, for source folder: each clip goes round its whole video, so "
                    "that its last frame leads to its first one by a step as long as all others. It goes "
                    "round once, or as many times as bring the step closest to stride. With clips_per_video, "
                    "clips start at other places of the round. A last frame that is the first one again, to "
                    "the last bit, is left out. Drawn circles are loops anyway.", optional=True),
            ],
            outputs=[
                out(DatasetType, "dataset", "The clips; each is decoded when it is needed."),
                out(io.String, "report", "A report of what was found, and what was skipped and why."),
                out(io.Image, "preview",
                    "Up to eight of the clips, a row each: four frames from its first to its last."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls, source: str | None, folder: str | None, width: int | None, height: int | None
    ) -> bool | str:
        """Refuse a folder that is not there, and a shape that drawn clips can't have."""
        return check_early(_check_source, source, folder, width, height)

    @classmethod
    def fingerprint_inputs(cls, source: str, folder: str, **_: object) -> str:
        """Look through the folder again when a file in it changed."""
        from ...training.video.folder import fingerprint_folder

        return fingerprint_folder(api.port().resolve(FOLDERS, folder)) if source == FOLDER else ""

    @classmethod
    def execute(
        cls,
        source: str,
        folder: str,
        frames: int,
        stride: int,
        width: int,
        height: int,
        caption_dropout: float,
        missing_captions: Literal["skip", "empty"],
        clips_per_video: int,
        flip: bool,
        clips: int,
        motion: Literal["straight", "circle", "pan left"],
        seed: int,
        fps: float = 0.0,
        loop: bool = False,
    ) -> io.NodeOutput:
        """Run the node."""
        from ...training.motion import dataset as made
        from ...training.video.cut import Cut

        if source == FOLDER:
            cut = Cut(frames, stride, width, height, clips_per_video, flip, fps, loop)
            dataset, report = _read(folder, cut, missing_captions, caption_dropout)
        else:
            form = {"frames": frames, "width": width, "height": height, "caption_dropout": caption_dropout}
            dataset = made.drawn_dataset(clips, motion, seed, **form, watch=show_progress(clips, "clip"))
            report = made.describe(dataset, f"drawn ({motion}, seed {seed})")
        return io.NodeOutput(dataset, report, made.contact_sheet(dataset))


def _check_source(source: str, folder: str, width: int, height: int) -> None:
    from ...training.motion.dataset import check_cells, check_square

    check_cells(width, height)
    if source == FOLDER:
        api.port().resolve(FOLDERS, folder)
    else:
        check_square(width, height)


def _read(
    folder: str, cut: Any, missing_captions: Literal["skip", "empty"], dropout: float
) -> tuple[Any, str]:
    """Return a folder's dataset and its report. ``cut``: a ``Cut``."""
    from ...training.motion.dataset import describe, folder_dataset
    from ...training.video.folder import read_folder

    start = partial(show_progress, noun="file")
    found = read_folder(api.port().resolve(FOLDERS, folder), cut, missing_captions, start)
    dataset = folder_dataset(found, folder, cut, dropout)
    files = f"{found.videos} file{'s' * (found.videos != 1)}"
    return dataset, describe(dataset, f"from {files} of {folder}", found.skipped, found.noted)


NODES: list[type] = [VideoDataset]
