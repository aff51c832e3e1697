"""Values given on the command line in place of a workflow's: ``--set 3.seed=7``, ``--set KSampler.steps=10``."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

from ...models.files.json_text import BadJSONError, read_json

Prompt = dict[str, Any]


class BadSettingError(ValueError):
    """A ``--set`` that names no input of the workflow, or more than one node."""


def with_settings(prompt: Prompt, settings: Iterable[str]) -> Prompt:
    """Return the workflow with values replaced.

    Args:
        prompt: the workflow.
        settings: ``NODE.INPUT=VALUE``; NODE is an id, or a class or a title that one node has. VALUE is JSON, or else
            text; in the place of a text it is text.

    Raises:
        BadSettingError: with what there is to choose from.
    """
    changed = copy.deepcopy(prompt)
    for setting in settings:
        target, equals, text = setting.partition("=")
        if not equals or "." not in target:
            raise BadSettingError(f"--set {setting}: got no NODE.INPUT=VALUE, expected for example 3.seed=7.")
        node_id, name = _find(changed, target)
        inputs = changed[node_id].get("inputs") if isinstance(changed[node_id], dict) else None
        if not isinstance(inputs, dict) or name not in inputs:
            there = ", ".join(inputs or ()) or "none"
            node = f"node {node_id} ({_names(changed[node_id])[0]})"
            raise BadSettingError(f"--set {setting}: {node} has no input {name}; expected one of: {there}.")
        try:
            inputs[name] = read_value(text, inputs[name])
        except BadJSONError as error:
            raise BadSettingError(f"--set {target}: got {error}; expected a value.") from error
    return changed


def _find(prompt: Prompt, target: str) -> tuple[str, str]:
    """Split at the first dot that leaves the name of a node on its left: ids, titles and inputs may hold dots."""
    parts = target.split(".")
    for count in range(1, len(parts)):
        name, rest = ".".join(parts[:count]), ".".join(parts[count:])
        found = (
            [name] if name in prompt else [node_id for node_id in prompt if name in _names(prompt[node_id])]
        )
        if len(found) > 1:
            raise BadSettingError(
                f"--set {target}: {name} is the name of nodes {', '.join(found)}; expected an id."
            )
        if found:
            return found[0], rest
    there = ", ".join(f"{node_id} ({_names(node)[0]})" for node_id, node in prompt.items())
    raise BadSettingError(
        f"--set {target}: got a node that is not in the workflow; expected one of: {there}."
    )


def _names(node: Any) -> list[Any]:
    if not isinstance(node, dict):
        return [None]
    notes = node.get("_meta")
    return [node.get("class_type"), notes.get("title") if isinstance(notes, dict) else None]


def read_value(text: str, present: Any) -> Any:
    """Return a value of the command line: JSON, or else text; in the place of a text, nothing but text.

    Examples:
        >>> read_value("1.50", 2), read_value("1.50", "a circle"), read_value('"a cross"', "a circle")
        (1.5, '1.50', 'a cross')
    """
    try:
        value = read_json(text)
    except BadJSONError as error:
        if isinstance(present, str) or isinstance(error.__cause__, json.JSONDecodeError):
            return text
        raise
    return text if isinstance(present, str) and not isinstance(value, str) else value
