"""Nodes that load checkpoints, LoRAs, ControlNets and GLIGEN."""

from __future__ import annotations

from ..engine.gligen import load_gligen
from ..v3 import io
from ..v3.core_node import CoreNode
from ..weights.control_loading import load_controlnet
from ..weights.model import Model
from .engine import engine


class CheckpointLoaderSimple(CoreNode):
    """One SD1.5 or SDXL checkpoint: MODEL, CLIP, VAE."""

    files = {"ckpt_name": "checkpoints"}

    @classmethod
    def execute(cls, ckpt_name: str) -> io.NodeOutput:
        """Load it."""
        return io.NodeOutput(*engine().load_checkpoint(ckpt_name))


class LoraLoaderModelOnly(CoreNode):
    """A LoRA on a model's UNet."""

    files = {"lora_name": "loras"}

    @classmethod
    def execute(cls, model: Model, lora_name: str, strength_model: float) -> io.NodeOutput:
        """Put it on a clone."""
        return io.NodeOutput(engine().load_lora(model, lora_name, strength_model))


class ControlNetLoader(CoreNode):
    """A ControlNet for SD1.5."""

    files = {"control_net_name": "controlnet"}

    @classmethod
    def execute(cls, control_net_name: str) -> io.NodeOutput:
        """Load it."""
        return io.NodeOutput(
            load_controlnet(engine().resolve("controlnet", control_net_name), engine().device)
        )


class GLIGENLoader(CoreNode):
    """GLIGEN's layers for SD1.5."""

    files = {"gligen_name": "gligen"}

    @classmethod
    def execute(cls, gligen_name: str) -> io.NodeOutput:
        """Load one."""
        return io.NodeOutput(load_gligen(engine().resolve("gligen", gligen_name), engine().device))
