"""Conditioning by layout: every entity of a scene where its boxes say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

import torch

from ...host import api
from ...models.edits.call import PAYLOAD
from ...models.edits.edit import Edit
from ...models.layout.attention import BoxBias, BoxGather, Layout, Reading, Region
from ...models.layout.energy import BoxEnergy
from ...models.layout.gligen import GligenEdit
from ...models.network.family import check_offered, check_tokens
from ...models.network.time_law import TimeLaw
from ...models.storyboard.phrases import Ranges, move_up, with_phrases
from ...models.storyboard.scenes import Entity, Scene, Storyboard
from ..sockets import StoryboardType
from ..widgets import choice, lines, number, out, percent, schema, socket

io = api.io

Method = Literal["bias + gather", "bias", "bias + energy (experimental)"]
Conditioning = list[list[Any]]
_ARTICLES, _JOINTS = ("a", "an", "the"), ("and", ",")


class LayoutConditioning(io.ComfyNode):
    """Draw every entity of a scene inside its bounding box of each frame.

    This needs no weights, and uses GLIGEN's where they are given. Sample as many frames as the scene has,
    with the model and the condition that come out. Works with motion modules, Cross Frame Attention, LoRAs
    and ControlNets, before or behind them, and in context windows.

    On Wan and LTX-Video, in ComfyUI, by the method bias alone: a latent frame has all boxes of the frames that
    it stands for. Sample a clip of the scene's frames.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Layout Conditioning", "layout",
            aliases=[
                "LVD", "VideoDirectorGPT", "regional prompt", "boxes", "paint with words", "attention couple",
                "GLIGEN",
            ],
            inputs=[
                socket(io.Model, "model", "The model that samples: SD1.5, SDXL, the demo model, Wan or LTX-Video."),
                socket(io.Clip, "clip", "The model's text encoder."),
                socket(StoryboardType, "storyboard",
                    "A storyboard of one scene: Select Scene and Scene List take them apart."),
                lines("prompt", "",
                    "Prompt: what to draw. It has to say every entity's text word for word. Empty takes the "
                    "scene's prompt, and adds the texts and the background that it lacks."),
                choice("method", get_args(Method),
                    "Method by which entities get into their boxes. bias: cross-attention reads an entity's "
                    "words inside its box, and not outside; costs next to nothing, and is weak where a model "
                    "reads its prompt as a whole. + gather: the model is also asked for each entity by "
                    "itself and for none, and what an entity's words change is moved into its box; one model "
                    "call more, and another for every further entity, in the steps where it acts. + energy: "
                    "LVD's guidance, by the gradient of how far attention to an entity's words is from its "
                    "box; weaker than gather. It leaves inference mode; a step takes twice the time and 1.4 "
                    "times the memory, and 7 times the memory where all frames have to go at once: with a "
                    "motion module, cross-frame attention, or other packs' patches (demo model, 16 frames of "
                    "256 x 256)."),
                number("strength", 8.0, 0.0, 100.0, 0.1,
                    "Number that is added to the logits of an entity's words inside its box, and subtracted "
                    "outside. 0 leaves attention alone."),
                percent("end_percent", 0.333,
                    "Point of sampling up to which attention is biased, an entity's effect gathered from the "
                    "whole picture, or energy lowered. Places are decided early: a third is enough."),
                percent("gather_percent", 1.0,
                    "Point of sampling up to which gather draws each of several entities by its own words "
                    "alone, which keeps their looks apart. Lower is faster; from there on the whole prompt "
                    "is asked as usual."),
                socket(io.Conditioning, "conditioning",
                    "The same prompt, encoded by the same text encoder, if it has something "
                    "that should stay: ControlNets, masks, a range of steps, other "
                    "conditions combined with it.", optional=True),
                socket(io.Custom("GLIGEN"), "gligen",
                    "Layers trained to draw texts in boxes, from core's Load GLIGEN Model, for SD1.5. Every "
                    "frame has boxes of its own; at most 30 entities. Negative prompts and conditions "
                    "without a layout see no boxes.", optional=True),
                percent("gligen_percent", 0.3,
                    "Point of sampling up to which GLIGEN's layers act; 0 turns them off. Longer binds boxes "
                    "more tightly, and costs quality.", optional=True),
                number("energy_strength", 200.0, 0.0, 10_000.0, 1.0,
                    "Strength with which predictions follow the gradient of energy. More places better, and "
                    "spoils what is drawn. 0 turns it off.", optional=True),
            ],
            outputs=[
                out(io.Model, "model", "A copy of the model that obeys layouts."),
                out(io.Conditioning, "conditioning", "The prompt with its layout, for positive."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        model: Any,
        clip: Any,
        storyboard: Storyboard,
        prompt: str,
        method: Method,
        strength: float,
        end_percent: float,
        gather_percent: float,
        conditioning: Conditioning | None = None,
        gligen: Any = None,
        gligen_percent: float = 0.3,
        energy_strength: float = 200.0,
    ) -> io.NodeOutput:
        """Run the node."""
        scene, law = storyboard.only_scene(), _check_family(model, clip, method, gligen)
        if conditioning is None and not prompt.strip():
            texts = [entity.text for entity in scene.placed]
            prompt = with_phrases(scene.prompt, [*texts, scene.background])
        prompt = prompt.strip() or scene.prompt
        encoded, layout = read_layout(clip, prompt, scene, pooled=gligen is not None, law=law)
        bias = BoxBias(strength, end_percent)
        gather = BoxGather(end_percent, gather_percent) if method == "bias + gather" else None
        guide = BoxEnergy(energy_strength, end_percent) if "energy" in method else None
        grounded = None if gligen is None else GligenEdit(gligen, gligen_percent)
        edit = Edit("layout", cross_attention=bias, conditions=gather, guide=guide, between=grounded)
        return io.NodeOutput(api.port().install(model, edit), _attach(conditioning or encoded, layout))


def read_layout(
    clip: Any, prompt: str, scene: Scene, *, pooled: bool = False, law: TimeLaw | None = None
) -> tuple[Conditioning, Layout]:
    """Encode a prompt, and what it is without some of the scene's entities.

    Args:
        clip: text encoder.
        prompt: text of the picture, with every entity's text in it.
        scene: scene with at least one entity that has boxes.
        pooled: encode the entities' texts by themselves too, for GLIGEN.
        law: time law of a model of video, for which the whole prompt is read alone; None: of pictures.

    Returns:
        The condition, and the layout for its payload.

    Raises:
        ValueError: no entity has boxes, or the prompt does not say one's text.
    """
    port, placed = api.port(), scene.placed
    if not placed:
        raise ValueError(
            f"storyboard: no entity of scene {scene.id} has boxes; expected one that does; give it a track."
        )
    texts = list(dict.fromkeys(entity.text for entity in placed))
    encoded, spans = port.encode_text(clip, prompt, texts, (*_ARTICLES, *_JOINTS))
    embeddings = {text: port.pool_text(clip, text) if pooled else None for text in texts}
    named: list[tuple[Ranges, list[Entity]]] = []
    for text in texts:
        same = [entity for entity in placed if entity.text == text]
        apart = len(spans[text]) == len(same)
        named += (
            [([span], [one]) for span, one in zip(spans[text], same, strict=True)]
            if apart
            else [(spans[text], same)]
        )
    regions = [
        Region(
            own,
            tuple(one.boxes_at(scene.frames) for one in entities),
            embeddings[entities[0].text],
            law or TimeLaw(),
        )
        for own, entities in named
    ]
    tokens, options = encoded[0]
    whole = Reading(tokens, tuple(regions), options.get("pooled_output"))
    if law is not None:
        return encoded, Layout(whole, whole, ())

    def without(places: Ranges, *kept: Region) -> Reading:
        (tokens, options), *_ = port.encode_without(clip, prompt, places)
        moved = tuple(replace(one, spans=move_up(one.spans, places)) for one in kept)
        return Reading(tokens, moved, options.get("pooled_output"))

    def only(one: Region) -> Reading:
        others = [span for other in regions if other is not one for span in _with_links(other.spans, spans)]
        return without(list(dict.fromkeys(others)), one)

    # Articles and joints stay: without them the rest of the picture changes, and would count as an entity's effect.
    bare = without([span for region in regions for span in region.spans])
    return encoded, Layout(whole, bare, tuple(map(only, regions)) if len(regions) > 1 else (whole,))


def _check_family(model: Any, clip: Any, method: Method, gligen: Any) -> TimeLaw | None:
    """Return the time law of a model of video that can be biased; None: it makes pictures."""
    port = api.port()
    family = port.family(model)
    check_offered(family, ["cross_attention"], "Layout Conditioning")
    if gligen is not None and family.law is None:
        check_offered(family, ["between"], "GLIGEN, whose layers are trained for it,")
    check_tokens(family, port.encode_text(clip, "")[0], "clip")
    if family.law is not None and method != "bias":
        raise ValueError(f"method: got {method!r} on {family}; expected 'bias' there; set method to bias.")
    if family.law is not None and gligen is not None:
        raise ValueError(
            f"gligen: got layers for Stable Diffusion 1.x on {family}; expected none; leave gligen unconnected."
        )
    return family.law


def _with_links(spans: Ranges, links: Mapping[str, Ranges]) -> Ranges:
    """Return spans with what makes no sense without them: an article, and the joint behind, or else before."""
    articles, joints = ([span for word in words for span in links[word]] for words in (_ARTICLES, _JOINTS))
    found: Ranges = []
    for start, stop in spans:
        start = next((first for first, last in articles if last == start), start)
        behind = [joint for joint in joints if joint[0] == stop]
        before = [joint for joint in joints if joint[1] == start]
        found += [(start, stop), *(behind or before)[:1]]
    return found


def _attach(conditioning: Conditioning, layout: Layout) -> Conditioning:
    """Return conditions of which those of the layout's prompt carry it; at least one has to be of that prompt."""
    wanted = layout.whole.tokens
    attached, found = [], False
    for tokens, options in conditioning:
        if tokens.shape == wanted.shape and torch.allclose(tokens.to(wanted), wanted, atol=1e-3):
            if "area" in options:
                raise ValueError(
                    "conditioning: got an area, which cuts boxes off; expected masks; use Conditioning (Set Mask)."
                )
            options, found = {**options, PAYLOAD: {**options.get(PAYLOAD, {}), **layout.payload()}}, True
        attached.append([tokens, options])
    if not found:
        rows = max(len(tokens) for tokens, _ in conditioning)
        if rows > 1:
            raise ValueError(
                f"conditioning: got tokens for each of {rows} frames, as Prompt Travel makes them; expected one prompt "
                "for all frames, whose words the boxes are of; lay out scene by scene (Scene List), or combine the "
                "two behind this node (Conditioning (Combine))."
            )
        raise ValueError(
            "conditioning: none was encoded from the prompt given here by this text encoder; expected one that was; "
            "write its text into prompt (empty is the scene's), or leave conditioning unconnected."
        )
    return attached


NODES: list[type] = [LayoutConditioning]
