"""Read a folder of videos with captions: the clips that can be used, and the files that can't, with reasons.

A file that can't be used is skipped and named; it never ends a run. A subfolder of numbered pictures is a video, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...models.errors import ClipError
from .captions import MAX_CAPTION, Skipped, is_caption, read_captions
from .clip import VideoClip, cut_clips, look_through
from .cut import Cut
from .picture_folder import find_sequences, is_still
from .source import Video

MissingCaptions = Literal["skip", "empty"]


@dataclass(frozen=True)
class Found:
    """The clips and remarks of a folder.

    Attributes:
        clips: clips that can be used, by name.
        videos: number of files that the clips come from.
        skipped: files that are not used.
        noted: remarks for the user about files that are used.
    """

    clips: tuple[VideoClip, ...]
    videos: int
    skipped: tuple[Skipped, ...]
    noted: tuple[Skipped, ...] = ()


def read_folder(
    folder: Path,
    cut: Cut,
    missing_captions: MissingCaptions,
    start: Callable[[int], Callable[[int], None]] = lambda files: lambda done: None,
) -> Found:
    """Read a folder and its subfolders. Every file is read, and one frame of each video is decoded.

    Args:
        folder: folder with videos of any kind that FFmpeg reads, and their captions; see
            ``captions.read_captions``.
        cut: settings by which clips are cut.
        missing_captions: rule for a video without a caption. skip: it is skipped. empty: its caption is
            empty.
        start: function that gets the number of files, and returns a callback for the number of those that are
            done, which may raise to stop.
    """
    files, skipped = list_folder(folder)
    sequences = find_sequences(folder, files)
    parts = {name for names in sequences.values() for name in names}
    texts = [name for name in files if is_caption(name)]
    videos = sorted({*files, *sequences} - {*texts, *parts})
    captions, unread = read_captions(folder, texts, set(videos) - set(sequences), sequences)
    skipped += unread
    clips: list[VideoClip] = []
    noted: list[Skipped] = []
    count, watch = 0, start(len(videos))
    for done, name in enumerate(videos):
        watch(done)
        try:
            if name not in sequences and is_still(folder, name):
                raise ClipError("is a still picture; expected a video, or a subfolder of numbered pictures")
            caption = _caption_of(captions.get(name, ""), missing_captions)
            pictures = sequences.get(name, ())
            video = look_through(folder if pictures else folder / name, pictures)
            own = cut_clips(video, name, caption, cut)
            clips += own
            noted += [Skipped(name, note) for note in (*video.notes, *_notes(video, own, cut))]
            count += 1
        except ClipError as error:
            skipped.append(Skipped(name, str(error)))
    watch(len(videos))
    return Found(tuple(clips), count, tuple(sorted(skipped)), tuple(noted))


def list_folder(folder: Path) -> tuple[list[str], list[Skipped]]:
    """Return the names of all files of a folder, relative to it, with ``/``; and what was skipped.

    Subfolders are included; hidden files and folders are not. A link counts as its target if that lies in the folder.
    """
    files: list[str] = []
    skipped: list[Skipped] = []
    root = os.path.realpath(folder)

    def skip(path: Path, reason: str) -> None:
        skipped.append(Skipped(path.relative_to(folder).as_posix(), reason))

    def skip_unread(error: OSError) -> None:
        skip(Path(error.filename), f"is a folder that can't be read ({error.strerror})")

    for place, folders, names in os.walk(folder, onerror=skip_unread):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for path in (Path(place) / each for each in folders):
            if path.is_symlink():
                skip(path, "is a link to a folder; copy it here")
        for path in (Path(place) / name for name in sorted(names) if not name.startswith(".")):
            if not Path(os.path.realpath(path)).is_relative_to(root):
                skip(path, "is a link that leads out of the folder")
            elif not path.is_file():
                skip(path, "is no file")
            else:
                files.append(path.relative_to(folder).as_posix())
    return sorted(files), skipped


def fingerprint_folder(folder: Path) -> str:
    """Return a text that changes when a file of a folder is added, removed or replaced. No content is read."""
    facts = [(name, (folder / name).stat()) for name in list_folder(folder)[0]]
    return repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in facts])


def _notes(video: Video, clips: Sequence[VideoClip], cut: Cut) -> Iterator[str]:
    """Yield remarks about results of a cut that the user may not expect."""
    if not cut.fps and video.timeline.is_uneven:
        yield "has frames that are shown for longer than others; set fps to read it by time"
    if any(len(set(clip.order)) < len(clip.order) for clip in clips):
        yield "has too few frames for this cut, so that some come more than once; lower fps"


def _caption_of(caption: str, missing: MissingCaptions) -> str:
    if not caption and missing == "skip":
        raise ClipError("has no caption")
    if len(caption) > MAX_CAPTION:
        raise ClipError(f"has a caption longer than {MAX_CAPTION:,} characters")
    return caption
