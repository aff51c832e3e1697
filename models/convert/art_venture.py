"""ArtVentureX's AnimateDiff, which loads a module and samples with it in one node, as ours and core's KSampler."""

from __future__ import annotations

from .graph import Link, Node
from .rules import part, rule
from .targets import APPLY, CONTEXT, LOAD, LORA
from .work import Work

part("AnimateDiffModuleLoader", here="Load Motion Module")
part("AnimateDiffLoraLoader", here="Load Motion LoRA")
part("AnimateDiffSlidingWindowOptions", here="Context Windows, `looped` or `uniform`",
     but="near: windows begin at other frames from step 2 on")  # fmt: skip


@rule("AnimateDiffSampler", here="Load Motion Module, Apply Motion Module, KSampler",
      but="near where the graph does not say how many frames its latent has, which are not repeated here")  # fmt: skip
def sampler(work: Work, node: Node) -> None:
    """Convert a sampler that has a motion module."""
    module = work.part(node, "motion_module")
    if module is None or module.kind != "AnimateDiffModuleLoader":
        work.say(node, "not possible", "a motion module that does not come from its loader; left as it is. Instead: "
                 "Load Motion Module, Apply Motion Module and KSampler.")  # fmt: skip
        return
    work.take(node)
    loaded = work.new(LOAD, work.take(module), file=work.pass_on(module, "model_name", ""))
    motion = Link(loaded.id, 0)
    work.say(module, "exact", work.title(loaded))
    for lora in work.chain(module, "lora_stack", "lora_stack"):
        made = work.new(LORA, work.take(lora), motion=motion, file=work.pass_on(lora, "lora_name", ""),
                        strength=work.pass_on(lora, "alpha", 1.0))  # fmt: skip
        motion = Link(made.id, 0)
        work.say(lora, "exact", work.title(made))
    apply = work.new(APPLY, node, model=node.inputs.get("model"), motion=motion,
                     beta_schedule="sqrt_linear (AnimateDiff)")  # fmt: skip
    model = Link(apply.id, 0)
    frames = int(work.number(node, "frame_number", 16))
    windows = work.part(node, "sliding_window_opts")
    if frames > (16 if windows is None else work.number(windows, "context_length", 16)):
        model = _windows(work, windows or node, model)
    elif windows is not None:
        work.say(work.take(windows), "exact", f"left out; one window holds {frames} frames")
    latent = node.inputs.get("latent_image")
    if work.length(latent) == 1 and frames > 1:
        latent = Link(work.new("RepeatLatentBatch", node, samples=latent, amount=frames).id, 0)
    names = ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise")
    made = work.new("KSampler", node, model=model, latent_image=latent,
                    **{name: node.inputs.get(name) for name in ("positive", "negative", *names)})  # fmt: skip
    work.graph.rewire(Link(node.id, 0), Link(made.id, 0))
    said = f"{work.title(apply)}, {work.title(made)}"
    if work.length(latent) != frames:
        work.say(node, "near", f"{said}; give a latent of {frames} frames, since fewer are not repeated here")
    else:
        work.say(node, "exact", said)


def _windows(work: Work, node: Node, model: Link) -> Link:
    length = int(work.number(node, "context_length", 16))
    made = work.new(
        CONTEXT, node, model=model, length=length,
        overlap=min(int(work.number(node, "context_overlap", 4)), length - 1), weights="flat",
        schedule="looped" if work.read(node, "closed_loop", False) is True else "uniform",
        stride=min(max(int(work.number(node, "context_stride", 1)), 1), 8),
    )  # fmt: skip
    work.say(work.take(node), "near", f"{work.title(made)}; windows begin at other frames from step 2 on")
    return Link(made.id, 0)
