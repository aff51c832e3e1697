"""What can be known of a node's inputs before anything runs, for its ``validate_inputs``.

A graph that can't end well is refused at once, with the input marked, not after minutes of sampling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..host import api
from ..models.files.weight_file import open_weights
from ..models.files.weight_kind import Kind, expect
from ..models.files.whole_file import try_folder

UNLINKED: Any = object()
"""Default of a socket in ``validate_inputs``: nothing is connected to it. What comes over a link is None there."""


def check_early(check: Callable[..., object], *values: Any) -> bool | str:
    """Return True, or why a check refuses.

    Args:
        check: raises ValueError or OSError in words.
        values: values of inputs; where one comes over a link, the node checks when it runs.
    """
    if any(value is None for value in values):
        return True
    try:
        check(*values)
    except (ValueError, OSError) as error:
        return str(error)
    return True


def check_range(start_percent: float, end_percent: float) -> None:
    """Refuse a part of sampling that ends before it begins, by a ValueError."""
    if start_percent > end_percent:
        raise ValueError(
            f"start_percent={start_percent} is after end_percent={end_percent}; expected start <= end; lower "
            "start_percent or raise end_percent."
        )


def check_output(filename_prefix: str) -> None:
    """Refuse a name by which no file can be written to the output folder, by a ValueError or an OSError."""
    fixed = filename_prefix.partition("%")[0]  # what the sizes of pictures will be is not known yet
    try_folder(api.port().output_path(fixed, "part").parent)


def check_new_model(kind: str, filename_prefix: str) -> None:
    """Refuse a name by which no file can be written to the user's folder of a kind of models, in the same way."""
    try_folder(api.port().new_model(kind, filename_prefix, "safetensors")[1].parent)


def check_kind(folder: str, kinds: tuple[Kind, ...], wanted: str, name: str) -> None:
    """Refuse a file of another kind by its header, by a CheckpointError; a pickle would have to be read whole.

    Args:
        folder: kind of model folder.
        kinds: kinds of files that the loader reads.
        wanted: words for these.
        name: name of the file.
    """
    path = api.port().resolve(folder, name)
    if path.suffix == ".safetensors":
        file = open_weights(path)
        expect(file.name, file.shapes, kinds, wanted)
