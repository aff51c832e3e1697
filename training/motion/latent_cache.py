"""Latents and encoded captions of a dataset, made once and kept on disk, since the base that makes them is frozen.

Each clip and each caption has a file. Its name is a hash of its content, and it is written whole or not at all. So
several processes can fill one folder at once, a run that is killed leaves nothing broken, and a clip with a new file
name is recognised. A damaged file is made again; nothing is lost.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ...models.errors import ClipError
from ...models.files.whole_file import write_whole
from ...models.long_video.prompt_text import quote
from ...models.long_video.prompt_travel import common_length
from ...models.video.guards import check_frames
from .dataset import Dataset

logger = logging.getLogger(__name__)

FORMAT = "frameloom-latents/2"
_STALE_SECONDS = 24 * 3600  # seconds; an older half-written file belongs to a run that has ended
_NAME = "value"


@dataclass(frozen=True)
class EncodedClips:
    """The latents and captions of a dataset, in memory.

    Attributes:
        latents: [N, F, 4, h, w] float32. Clean latents in the UNet's units.
        tokens: [M, L, D] float32. Encodings of distinct captions; row 0 is the empty caption.
        caption: [N] long. Row of tokens of each clip.
        skipped: clips of the dataset that could not be decoded, each with its reason; they are not among the N.
        pooled: [M, D] float32. Pooled text of the same captions, for SDXL; None: the base reads none.
    """

    latents: Tensor
    tokens: Tensor
    caption: Tensor
    skipped: tuple[str, ...] = ()
    pooled: Tensor | None = None


def encode_clips(
    dataset: Dataset,
    encode_pictures: Callable[[Tensor], Tensor],
    encode_text: Callable[[str], Tensor],
    folder: Path,
    base_key: str,
    watch: Callable[[int], None],
    check_interrupt: Callable[[], None],
    encode_pooled: Callable[[str], Tensor] | None = None,
) -> EncodedClips:
    """Encode every clip and every caption, or take them from the cache.

    Captions of different lengths are repeated to a common one, as in ``models.long_video.prompt_travel``.

    Args:
        dataset: clips and their captions.
        encode_pictures: function from [F, 3, H, W] in -1..1 to [F, 4, h, w] in the UNet's units.
        encode_text: function from a caption to [L, D].
        folder: folder of the cache; made if missing.
        base_key: hash that tells this VAE and text encoder from others.
        watch: callback that gets the number of clips that are done, skipped ones too.
        check_interrupt: callback before each clip; it raises to stop. What is done is kept.
        encode_pooled: function from a caption to its pooled text, [1, D], called behind ``encode_text``; None: the base
            reads none.

    Returns:
        Normal tensors on the CPU, even inside inference mode.

    Raises:
        PredictionError: latents or tokens are not finite.
        OSError: the folder can't be written to.
    """
    cache = _Cache(folder, base_key)
    cache.remove_stale()
    with torch.inference_mode(False), torch.no_grad():
        every = dataset.captions
        rows: dict[str, Tensor] = {}
        beside: dict[str, Tensor] = {}
        for text in dict.fromkeys(["", *every]):
            check_interrupt()
            rows[text] = cache.get("caption", text, 2, lambda text=text: encode_text(text))
            if encode_pooled is not None:
                beside[text] = cache.get("pooled", text, 2, lambda text=text: encode_pooled(text))
        length = _common_length(rows)
        latents, used, skipped = _encode_pictures(dataset, encode_pictures, cache, watch, check_interrupt)
        captions = [every[index] for index in used]
        row_of = {text: row for row, text in enumerate(dict.fromkeys(["", *captions]))}
        tokens = rows[""].new_empty(len(row_of), length, rows[""].shape[1])
        for text, row in row_of.items():
            made = rows.pop(text)
            tokens[row] = made.repeat(length // made.shape[0], 1)
        pooled = torch.cat([beside[text] for text in row_of]) if beside else None
        caption = torch.tensor([row_of[text] for text in captions])
        return EncodedClips(latents, tokens, caption, skipped, pooled)


def _common_length(rows: Mapping[str, Tensor]) -> int:
    """Return the number of tokens to which all captions are repeated."""
    try:
        return common_length([row.shape[0] for row in rows.values()])
    except ValueError as error:
        longest = max(rows, key=lambda text: rows[text].shape[0])
        raise ValueError(
            f"dataset: the captions' encodings can't be brought to one length ({error}); the longest caption begins "
            f"{quote(longest)}; shorten it."
        ) from error


def _encode_pictures(
    dataset: Dataset,
    encode: Callable[[Tensor], Tensor],
    cache: _Cache,
    watch: Callable[[int], None],
    check_interrupt: Callable[[], None],
) -> tuple[Tensor, list[int], tuple[str, ...]]:
    """Return latents, the numbers of their clips, and the clips that were skipped."""
    latents = torch.empty(0)
    used: list[int] = []
    skipped: list[str] = []
    for index, key in enumerate(dataset.keys):
        check_interrupt()
        try:
            clip = cache.get("clip", key, 4, lambda index=index: encode(dataset.pictures(index)))
            if not used:  # stacking at the end would take twice the memory
                latents = clip.new_empty(len(dataset), *clip.shape)
            latents[len(used)] = clip
            used.append(index)
        except ClipError as error:
            logger.warning("%s; the clip is skipped.", error)
            skipped.append(str(error))
        watch(index + 1)
    return latents[: len(used)], used, tuple(skipped)


class _Cache:
    """A folder of tensors, named by hashes of their sources."""

    def __init__(self, folder: Path, base_key: str) -> None:
        self._folder, self._base_key = folder, base_key
        # The mode in which the caller's model was loaded, and has to run.
        self._mode = torch.is_inference_mode_enabled()

    def get(self, kind: str, key: str, dims: int, make: Callable[[], Tensor]) -> Tensor:
        """Return a stored tensor, float32 on the CPU, or make and store it."""
        name = hashlib.sha256(json.dumps([FORMAT, kind, key, self._base_key]).encode()).hexdigest()
        path = self._folder / f"{name}.safetensors"
        kept = self._read(path, dims)
        if kept is not None:
            return kept
        with torch.inference_mode(self._mode):
            made = make()
        made = made.float().cpu().clone(memory_format=torch.contiguous_format)
        check_frames(made, f"{kind} as it is encoded")
        write_whole(path, save({_NAME: made}, {"format": FORMAT}), "what is done is kept")
        return made

    def remove_stale(self) -> None:
        """Remove half-written files of killed runs."""
        for part in self._folder.glob(".*.part"):
            try:
                if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                    part.unlink()
            except OSError:  # another process was faster
                continue

    def _read(self, path: Path, dims: int) -> Tensor | None:
        try:
            with safe_open(path, framework="pt") as file:
                value = file.get_tensor(_NAME)
                if value.dim() == dims and value.dtype == torch.float32 and torch.isfinite(value).all():
                    return value
                what = f"{value.dtype} of {tuple(value.shape)}"
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            what = str(error)
        logger.warning("%s is damaged (%s); it is made anew.", path, what)
        return None
