"""Few-step sampling: the settings that a motion module was made for."""

from __future__ import annotations

from typing import Any

from ...host import api
from ...models.files.weight_file import open_weights
from ...models.motion import few_steps
from ...models.motion.checkpoint import describe_motion_weights
from ...models.motion.edit import TemporalEdit
from ...models.motion.few_steps import SCHEDULER, choose_settings, count_taken, find_few_steps
from ..drawing.plan import Plan, show_few_steps
from ..early import UNLINKED
from ..widgets import number, out, schema, socket, whole
from .modules import LORA_FILES, MODULE_FILES

io = api.io

_LOADERS = {
    "Frameloom_MotionModuleLoader": MODULE_FILES,
    "Frameloom_MotionLoRALoader": LORA_FILES,
    "Frameloom_MotionLoRASchedule": LORA_FILES,
}
_TEACHER = "Frameloom_TrainMotionModule"


class FewStepSettings(io.ComfyNode):
    """Sample a few-step motion module as it was taught: AnimateDiff-Lightning, AnimateLCM, or one of your own.

    Wire sampler and sigmas to SamplerCustomAdvanced, cfg to its CFGGuider; or all three to SamplerCustom. A sampler
    whose settings do not fit such a module says so when it runs.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Few Step Settings", "motion",
            aliases=[
                "fast", "4 steps", "AnimateDiff-Lightning", "AnimateLCM", "LCM", "few steps", "turbo",
                "sgm_uniform", "trailing",
            ],
            inputs=[
                socket(io.Model, "model", "The model that comes out of Apply Motion Module."),
                whole("steps", 0, 0, 1000,
                    "Number of steps. 0 takes the file's own: AnimateDiff-Lightning's is in its name, a "
                    "module of Frameloom's has it in the file, AnimateLCM draws in 4 to 8. Say it for a Lightning "
                    "file that you renamed."),
                number("denoise", 1.0, 0.0, 1.0, 0.01,
                    "Share of the steps to take, from the last one back. Less than 1 keeps something of the "
                    "latent that goes in: .5 of 4 steps are 2."),
            ],
            outputs=[
                out(io.Sampler, "sampler", "The sampler: euler, or lcm for AnimateLCM."),
                out(io.Sigmas, "sigmas", "The noise levels: sgm_uniform's of so many steps."),
                out(io.Float, "cfg", "The guidance: 1, since such a module has it in it already."),
            ],
        )  # fmt: skip

    @classmethod
    def plan(cls, steps: int, denoise: float, before: str, model: Any = UNLINKED) -> Plan:
        """Return the settings for the files that lead to the node, for the editor."""
        if model is UNLINKED:
            return Plan("connect the model that comes out of Apply Motion Module", 0)
        found = _settings_of(before)
        if not found:
            return Plan("the motion module's settings: known when the graph runs", 0)
        settings = choose_settings(found, steps)
        name = next((name for name, own in reversed(found) if own), found[-1][0])
        return show_few_steps(name, settings, count_taken(settings.steps, denoise))

    @classmethod
    def execute(cls, model: Any, steps: int, denoise: float) -> io.NodeOutput:
        """Run the node."""
        port = api.port()
        motions = [edit.slots.motion for edit in port.edits(model) if isinstance(edit.slots, TemporalEdit)]
        settings = choose_settings([find_few_steps(each) for each in motions], steps, port.family(model).name)
        sigmas = port.sigmas(model, settings.steps, SCHEDULER)
        taken = count_taken(settings.steps, denoise)
        sigmas = sigmas[-(taken + 1) :] if taken else sigmas[:0]  # none, as BasicScheduler has it
        return io.NodeOutput(port.sampler(settings.sampler), sigmas, 1.0)


def _settings_of(before: str) -> list[tuple[str, few_steps.FewStepSettings | None]]:
    """Return names and settings of a plan's modules, and of its LoRAs that have any.

    There are none where a file is known only in a run: its name comes over a link, it is learned there, or is a pickle.
    """
    found: list[tuple[str, few_steps.FewStepSettings | None]] = []
    for line in before.splitlines():
        node, _, name = line.partition(" ")
        folder = _LOADERS.get(node)
        if folder is None and node != _TEACHER:
            continue
        path = api.port().resolve(folder, name) if folder and name else None
        if path is None or path.suffix != ".safetensors":
            return []
        if folder == MODULE_FILES:
            weights = describe_motion_weights(path)
            found.append((weights.name, weights.few_steps))
        elif taught := few_steps.read_few_steps(path.name, open_weights(path).metadata):
            found.append((path.name, taught))
    return found


NODES: list[type] = [FewStepSettings]
