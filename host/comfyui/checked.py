"""Our nodes as ComfyUI gets them: each refuses, by the input's name, a value that its schema does not allow.

ComfyUI checks a widget's limits before a run, but for inputs that a node validates itself; NaN passes them. It checks
neither what comes over a link nor a value in the place of a link. ``host.values`` says what is allowed, for both hosts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from comfy_api.internal import first_real_override
from comfy_api.latest import io

from ..values import Refusal, is_socket, refuse_input, refuse_literal, refuse_value


class Limit(float):
    """A least value that NaN is below, too: with a plain float, every comparison of NaN is false."""

    def __gt__(self, other: Any) -> bool:
        return not other >= float(self)


def checked(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """Return a node that checks its inputs: what it can before a run, all of them when it runs.

    Args:
        node: one of ours; its own ``validate_inputs`` gets None for what comes over a link, as from ComfyUI.
    """
    own = first_real_override(node, "validate_inputs")
    # ComfyUI gives a node the inputs that its function names, and marks all of them where it refuses. So links, which
    # stay unmarked beside a wrong widget, are asked for only where no widget is, or one of two types (FLOAT,INT): of
    # such it looks at no limits.
    asked = [
        each.id
        for each in node.define_schema().inputs
        if is_socket(each.get_io_type()) or "," in each.get_io_type()
    ]
    named = asked if own is None else list(inspect.signature(own).parameters)

    def define_schema(cls: type[io.ComfyNode]) -> io.Schema:
        schema = node.define_schema()
        for each in schema.inputs:
            if isinstance(each, io.Float.Input) and each.min is not None:
                each.min = Limit(each.min)
        return schema

    def validate_inputs(cls: type[io.ComfyNode], **values: Any) -> bool | str:
        answer = _refuse(node, values, partial(_refuse_written, choices=own is None)) or True
        if answer is True and own is not None:
            answer = own(**values)
        return _refuse(node, values, _refuse_written) or True if answer is True else answer

    def execute(cls: type[io.ComfyNode], **values: Any) -> io.NodeOutput:
        if refused := _refuse(node, values, _refuse_running):
            raise ValueError(refused)
        return node.execute.__func__(cls, **values)

    parts: dict[str, Any] = {"__module__": node.__module__, "__doc__": node.__doc__}
    parts |= {"define_schema": classmethod(define_schema), "execute": classmethod(execute)}
    if named:
        cls = inspect.Parameter("cls", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        validate_inputs.__dict__["__signature__"] = inspect.Signature(
            [cls, *(cls.replace(name=name, default=None) for name in named)]
        )
        parts["validate_inputs"] = classmethod(validate_inputs)
    return type(node.__name__, (node,), parts)


def _refuse(node: type[io.ComfyNode], values: Mapping[str, Any], check: Callable[..., Refusal | None]) -> str:
    """Return what is wrong with a node's inputs, or nothing."""
    schema, found = node.define_schema(), {}
    for each in schema.inputs:
        given = values.get(each.id)
        for value in given if schema.is_input_list and given is not None else [given]:
            found[each.id] = found.get(each.id) or check(each, value)
    return " ".join(f"{name}: got {one.got}; expected {one.expected}." for name, one in found.items() if one)


def _refuse_written(each: Any, value: Any, *, choices: bool = True) -> Refusal | None:
    """Return why a workflow's value is refused; None stands for a link as well."""
    kind, options = each.get_io_type(), each.as_dict()
    written = None if value is None else refuse_value(kind, options, value, choices=choices)
    return refuse_literal(kind, value) or written


def _refuse_running(each: Any, value: Any) -> Refusal | None:
    return refuse_input(each.get_io_type(), each.as_dict(), value, required=not each.optional)
