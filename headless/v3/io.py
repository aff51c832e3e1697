"""The names of ComfyUI's V3 node interface that our node files use, for running them without ComfyUI.

Classes, argument orders and the JSON of a schema are those of ``comfy_api.latest.io`` in ComfyUI 0.33; a test
compares the JSON of every node with a stored ``/object_info``. What no node of ours uses is left out.
"""

from __future__ import annotations

import copy
import inspect
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

# ruff: noqa: N802   the host's own names, types and argument orders


class FolderType(str, Enum):
    """Where a file lies."""

    input = "input"
    output = "output"
    temp = "temp"


class UploadType(str, Enum):
    """What the button beside a list uploads."""

    image = "image_upload"
    audio = "audio_upload"
    video = "video_upload"
    model = "file_upload"


class NumberDisplay(str, Enum):
    """How a number's widget looks."""

    number = "number"
    slider = "slider"
    gradient_slider = "gradientslider"


class ControlAfterGenerate(str, Enum):
    """What the editor does with a seed after a run."""

    fixed = "fixed"
    increment = "increment"
    decrement = "decrement"
    randomize = "randomize"


class Hidden(str, Enum):
    """Values that a node may ask the host for."""

    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"
    extra_pnginfo = "EXTRA_PNGINFO"
    dynprompt = "DYNPROMPT"


@dataclass(frozen=True)
class HiddenHolder:
    """The hidden values of one call. Not asked for: None."""

    unique_id: str | None = None
    prompt: Any = None
    extra_pnginfo: Any = None
    dynprompt: Any = None


def _present(values: dict[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in values.items() if value is not None}
    return {key: value.value if isinstance(value, Enum) else value for key, value in given.items()}


_FIRST = ("id", "display_name", "optional", "tooltip", "lazy")
_LAST = ("extra_dict", "raw_link", "advanced")
_MUST = ("id", "types")
_FALSE = ("optional", "multiline")
# What every input writes into `/object_info`, and what those with a widget write next, in the host's order.
_SOCKET_OPTIONS = ("display_name", "tooltip", "lazy", "raw_link", "advanced")
_WIDGET_OPTIONS = ("default", "socketless", "widget_type", "force_input")
_WRITTEN_AS = {
    "raw_link": "rawLink",
    "widget_type": "widgetType",
    "force_input": "forceInput",
    "dynamic_prompts": "dynamicPrompts",
    "display_mode": "display",
}


class Input:
    """A socket that takes links only.

    Attributes:
        io_type: name of the socket's type.
        takes: names of the constructor's arguments, in the host's order; an input keeps them under these names.
    """

    io_type = "*"
    takes: tuple[str, ...] = (*_FIRST, *_LAST)
    id: str
    optional: bool
    extra_dict: dict[str, Any] | None

    def __init__(self, *args: Any, **named: Any) -> None:
        """Keep what a node file says of the input; what it leaves out is None, or False."""
        given = inspect.Signature([_argument(name) for name in self.takes]).bind(*args, **named)
        given.apply_defaults()
        vars(self).update(given.arguments)

    def get_io_type(self) -> str:
        """Return the socket's type, or several joined by commas."""
        return self.io_type

    def as_dict(self) -> dict[str, Any]:
        """Return the options of ``/object_info``, without those that were not given."""
        return self._written(_SOCKET_OPTIONS) | _present(self.extra_dict or {})

    def _written(self, names: Iterable[str]) -> dict[str, Any]:
        return _present({_WRITTEN_AS.get(name, name): getattr(self, name, None) for name in names})


def _argument(name: str) -> inspect.Parameter:
    default = inspect.Parameter.empty if name in _MUST else False if name in _FALSE else None
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)


class WidgetInput(Input):
    """A socket that also has a widget, so a value may be given in place of a link.

    Attributes:
        widget_type: name of the widget, where it is not the socket's type.
        own: names of the arguments that only this kind of widget has, in the host's order.
    """

    takes = (*_FIRST, *_WIDGET_OPTIONS, *_LAST)
    own: tuple[str, ...] = ()
    widget_type: str | None = None

    def get_io_type(self) -> str:
        """Return the widget's type where one was named."""
        return self.widget_type or super().get_io_type()

    def as_dict(self) -> dict[str, Any]:
        """Return the options with the widget's."""
        return super().as_dict() | self._written(_WIDGET_OPTIONS) | self._written(self.own)


class Output:
    """A result of a node."""

    io_type = "*"

    def __init__(
        self,
        id: str | None = None,
        display_name: str | None = None,
        tooltip: str | None = None,
        is_output_list: bool = False,
    ) -> None:
        self.id = id
        self.display_name = display_name or id
        self.tooltip = tooltip
        self.is_output_list = is_output_list


class ComfyTypeIO:
    """A type of socket: its name, and the classes of its inputs and outputs."""

    io_type = "*"
    Type: Any = Any
    Input: type[Any] = Input
    Output: type[Any] = Output


def _bind(io_type: str, input_class: type[Input] = Input) -> type[ComfyTypeIO]:
    parts = {
        "io_type": io_type,
        "Input": type("Input", (input_class,), {"io_type": io_type}),
        "Output": type("Output", (Output,), {"io_type": io_type}),
    }
    return type(io_type.title(), (ComfyTypeIO,), parts)


def Custom(io_type: str) -> type[ComfyTypeIO]:
    """Make a type of socket of any name."""
    return _bind(io_type)


class _ComboInput(WidgetInput):
    takes = (
        "id", "options", "display_name", "optional", "tooltip", "lazy", "default", "control_after_generate", "upload",
        "image_folder", "remote", "socketless", *_LAST,
    )  # fmt: skip
    options: Sequence[str] | Sequence[int] | type[Enum] | None
    upload: UploadType | None

    def as_dict(self) -> dict[str, Any]:
        options = self.options
        own = {
            "multiselect": False,
            "options": [each.value for each in options] if isinstance(options, type) else options,
            **self._written(("control_after_generate",)),
            **({self.upload.value: True} if self.upload else {}),
            **self._written(("image_folder",)),
        }
        return super().as_dict() | _present(own)


def _widget(io_type: str, *arguments: str) -> type[ComfyTypeIO]:
    """Make a type of socket with a widget, from the arguments that its constructor takes after ``lazy``."""
    own = tuple(name for name in arguments if name not in _WIDGET_OPTIONS)
    parts = {"takes": (*_FIRST, *arguments, *_LAST), "own": own}
    return _bind(io_type, type("Input", (WidgetInput,), parts))


_SOCKET = ("socketless", "force_input")
Boolean = _widget("BOOLEAN", "default", "label_on", "label_off", *_SOCKET)
Int = _widget("INT", "default", "min", "max", "step", "control_after_generate", "display_mode", *_SOCKET)
Float = _widget("FLOAT", "default", "min", "max", "step", "round", "display_mode", "gradient_stops", *_SOCKET)
String = _widget("STRING", "multiline", "placeholder", "default", "dynamic_prompts", *_SOCKET)
Combo = _bind("COMBO", _ComboInput)

AnyType = _bind("*")
Audio = _bind("AUDIO")
Clip = _bind("CLIP")
ClipVision = _bind("CLIP_VISION")
Conditioning = _bind("CONDITIONING")
ControlNet = _bind("CONTROL_NET")
Gligen = _bind("GLIGEN")
Guider = _bind("GUIDER")
Image = _bind("IMAGE")
Latent = _bind("LATENT")
LossMap = _bind("LOSS_MAP")
Mask = _bind("MASK")
Model = _bind("MODEL")
Noise = _bind("NOISE")
Sampler = _bind("SAMPLER")
Sigmas = _bind("SIGMAS")
Vae = _bind("VAE")
Video = _bind("VIDEO")


class _MultiTypeInput(Input):
    takes = ("id", "types", *_FIRST[1:], *_LAST)
    types: list[type[ComfyTypeIO]]

    def __init__(self, id: str | Input, *args: Any, **named: Any) -> None:
        super().__init__(id, *args, **named)
        self.override = copy.copy(id) if isinstance(id, Input) else None
        if self.override is not None:
            said = {name: getattr(self.override, name) for name in _FIRST}
            vars(self).update(_present(said | {"optional": self.override.optional or None}))
        if isinstance(self.override, WidgetInput):
            self.override.widget_type = self.override.get_io_type()

    def get_io_type(self) -> str:
        names = [kind.io_type for kind in self.types]
        if self.override is not None:
            names.insert(0, self.override.get_io_type())
        return ",".join(dict.fromkeys(names))

    def as_dict(self) -> dict[str, Any]:
        return (self.override.as_dict() if self.override is not None else {}) | super().as_dict()


MultiType = _bind("COMFY_MULTITYPED_V3", _MultiTypeInput)


class _DynamicComboInput(Input):
    takes = ("id", "options", *_FIRST[1:], *_LAST)
    options: list[_DynamicOption]

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | {"options": [option.as_dict() for option in self.options]}


class _DynamicOption:
    """One choice of a list, with the inputs that it brings along."""

    def __init__(self, key: str, inputs: list[Input]) -> None:
        self.key = key
        self.inputs = inputs

    def as_dict(self) -> dict[str, Any]:
        return {"key": self.key, "inputs": _inputs_v1(self.inputs)}


class DynamicCombo(ComfyTypeIO):
    """A list whose choice brings inputs: ``format.codec`` in a workflow, a nested dict in ``execute``."""

    io_type = "COMFY_DYNAMICCOMBO_V3"
    Option = _DynamicOption
    Input = type("Input", (_DynamicComboInput,), {"io_type": io_type})


def _inputs_v1(inputs: Iterable[Input]) -> dict[str, Any]:
    table: dict[str, Any] = {"required": {}}
    for each in inputs:
        part = table.setdefault("optional" if each.optional else "required", {})
        part[each.id] = [each.get_io_type(), each.as_dict()]
    return table


@dataclass
class Schema:
    """What a node is: its names, inputs and outputs."""

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    description: str = ""
    search_aliases: list[str] = field(default_factory=list)
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    is_dev_only: bool = False
    is_api_node: bool = False
    price_badge: None = None
    not_idempotent: bool = False
    enable_expand: bool = False
    accept_all_inputs: bool = False
    essentials_category: str | None = None
    has_intermediate_output: bool = False

    def finalize(self) -> None:
        """Give output nodes the hidden values they save, and check that ids are unique.

        Raises:
            ValueError: two inputs or two outputs have one id.
        """
        if self.is_output_node:
            self.hidden += [each for each in (Hidden.prompt, Hidden.extra_pnginfo) if each not in self.hidden]
        for index, output in enumerate(self.outputs):
            if output.id is None:
                output.id = f"_{index}_{output.io_type}_"
        for kind, ids in (("input", [i.id for i in self.inputs]), ("output", [o.id for o in self.outputs])):
            twice = sorted(each for each, count in Counter(map(str, ids)).items() if count > 1)
            if twice:
                raise ValueError(f"{self.node_id}: {kind} ids {twice} occur twice; ids must be unique.")

    def get_v1_info(self, cls: type) -> dict[str, Any]:
        """Return the node's entry of ``/object_info``."""
        inputs = _inputs_v1(self.inputs)
        if self.hidden:
            inputs["hidden"] = {each.name: [each.value] for each in self.hidden}
        return {
            "input": inputs,
            "input_order": {part: list(names) for part, names in inputs.items()},
            "is_input_list": self.is_input_list,
            "output": [output.io_type for output in self.outputs],
            "output_is_list": [output.is_output_list for output in self.outputs],
            "output_name": [output.display_name or output.io_type for output in self.outputs],
            "output_tooltips": [output.tooltip or None for output in self.outputs],
            "output_matchtypes": None,
            "name": self.node_id,
            "display_name": self.display_name,
            "description": self.description,
            "python_module": getattr(cls, "RELATIVE_PYTHON_MODULE", "nodes"),
            "category": self.category,
            "output_node": self.is_output_node,
            "deprecated": self.is_deprecated,
            "experimental": self.is_experimental,
            "dev_only": self.is_dev_only,
            "api_node": self.is_api_node,
            "price_badge": self.price_badge,
            "search_aliases": self.search_aliases or None,
            "essentials_category": self.essentials_category,
            "has_intermediate_output": self.has_intermediate_output,
        }


class NodeOutput:
    """What ``execute`` returns: results, and what the interface shows."""

    def __init__(
        self,
        *args: Any,
        ui: Any = None,
        expand: dict[str, Any] | None = None,
        block_execution: str | None = None,
    ) -> None:
        self.args = args
        self.ui = ui
        self.expand = expand
        self.block_execution = block_execution

    @property
    def result(self) -> tuple[Any, ...] | None:
        """The results, or None when there are none."""
        return self.args or None

    def __getitem__(self, index: int) -> Any:
        return self.args[index]


class ComfyNode:
    """Base of every node. Its methods are class methods; nothing is kept between runs."""

    RELATIVE_PYTHON_MODULE: str | None = None
    hidden: HiddenHolder = HiddenHolder()

    @classmethod
    def define_schema(cls) -> Schema:
        """Return the node's schema."""
        raise NotImplementedError

    @classmethod
    def execute(cls, **kwargs: Any) -> NodeOutput:
        """Do the node's work."""
        raise NotImplementedError

    @classmethod
    def validate_inputs(cls, **kwargs: Any) -> bool | str:
        """Return True, or what is wrong. Inputs that it names are not checked against the schema's limits."""
        raise NotImplementedError

    @classmethod
    def fingerprint_inputs(cls, **kwargs: Any) -> Any:
        """Return what a result depends on besides the inputs. ComfyUI asks: it caches between runs."""
        raise NotImplementedError

    @classmethod
    def check_lazy_status(cls, **kwargs: Any) -> list[str]:
        """Return the names of lazy inputs that are needed now; those not evaluated yet are None."""
        return [name for name, value in kwargs.items() if value is None]

    @classmethod
    def GET_SCHEMA(cls) -> Schema:
        """Return the finished schema."""
        schema = cls.define_schema()
        schema.finalize()
        return schema

    @classmethod
    def GET_NODE_INFO_V1(cls) -> dict[str, Any]:
        """Return the node's entry of ``/object_info``."""
        return cls.GET_SCHEMA().get_v1_info(cls)


def overrides(node: type[ComfyNode], name: str) -> bool:
    """Return whether a node class defines a method that the base only declares."""
    return inspect.getattr_static(node, name) is not inspect.getattr_static(ComfyNode, name)


class ComfyExtension:
    """A pack: the list of its nodes."""

    async def on_load(self) -> None:
        """Run once before the nodes are asked for."""

    async def get_node_list(self) -> list[type[ComfyNode]]:
        """Return the pack's nodes."""
        raise NotImplementedError
