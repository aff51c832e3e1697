"""The command ``frameloom convert``: a workflow of AnimateDiff-Evolved as one with this pack's nodes."""

from __future__ import annotations

import json
from pathlib import Path

from ..models.convert.convert import BadGraphError, Converted, convert
from ..models.files.json_text import BadJSONError, read_json
from ..models.files.whole_file import whole_file
from .workflow.workflow_file import NoWorkflowError, read_workflow_text

EXPECTED = 'expected a workflow that ComfyUI saved, with "Save" or "Export (API)"'


class NotConvertedError(ValueError):
    """Nothing was written. Its words say why."""


def convert_file(source: Path, target: Path) -> Converted:
    """Convert a workflow's file and write what comes of it, whole or not at all.

    Args:
        source: JSON of a workflow, or a picture or a video that was saved with one; it stays as it is.
        target: file to write.

    Raises:
        NotConvertedError: the source can't be read or is no workflow, or the target can't be written.
    """
    if target.exists() and target.samefile(source):
        raise NotConvertedError(f"{target}: got the workflow itself for -o; expected another file; name one.")
    try:
        made = convert(read_json(read_workflow_text(source)))
    except OSError as error:
        raise NotConvertedError(f"{source}: {error.strerror}; {EXPECTED}.") from error
    except NoWorkflowError as error:
        raise NotConvertedError(str(error)) from error
    except (BadJSONError, BadGraphError) as error:
        raise NotConvertedError(f"{source}: got {error}; {EXPECTED}; nothing was written.") from error
    text = json.dumps(made.graph, indent=2) + "\n"
    try:
        with whole_file(target, size=len(text), advice="nothing was written; choose another") as part:
            part.write_text(text, "utf-8")
    except OSError as error:
        raise NotConvertedError(str(error)) from error
    return made
