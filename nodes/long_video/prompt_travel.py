"""Prompts that change over a clip."""

from __future__ import annotations

from typing import Any, get_args

from ...host import api
from ...models.long_video.prompt_text import Keys, parse_prompts, storyboard_prompts
from ...models.long_video.prompt_travel import (
    MAX_FRAMES,
    Interpolation,
    describe_travel,
    fill_travel,
    plan_travel,
    travel_conditions,
    used_prompts,
)
from ...models.long_video.prompt_video import join_prompts
from ...models.network.family import check_reads_beside
from ...models.network.time_law import TimeLaw
from ...models.storyboard.scenes import Storyboard
from ..drawing.plan import Plan, show_travel
from ..early import UNLINKED, check_early
from ..sockets import StoryboardType
from ..widgets import choice, lines, out, schema, socket, whole

io = api.io

MOST_VALUES = 20_000  # of expressions, that a plan works out to check them


class PromptTravel(io.ComfyNode):
    """Give every frame of a clip a prompt of its own: prompts at keyframes, and mixtures between them.

    For positive or negative; the other may be an ordinary prompt, and ControlNets go behind it as usual.
    Sample as many frames as it says. A motion module mixes neighbouring frames, and tells a change that takes
    one frame as one that takes several. Boxes belong to the words of one prompt, so Layout Conditioning does
    not take prompts that travel. On Wan and LTX-Video, in ComfyUI, each latent frame reads the prompts of the
    first frame that it stands for.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Prompt Travel", "long video",
            aliases=[
                "Prompt Scheduling",
                "prompt schedule", "prompt scheduling", "BatchPromptSchedule", "ADE_PromptScheduling",
                "FizzNodes", "keyframes", "prompt interpolation",
            ],
            inputs=[
                socket(io.Clip, "clip", "The model's text encoder."),
                lines("text", "0: a red circle\n100%: a blue cross",
                    'A prompt at each keyframe, one a line: `16: a blue cross`. Or as JSON has it: `"16": "a '
                    'blue cross",`, in braces or not. 50% is the middle of the clip. Lines that begin with # '
                    "are remarks. Frames count from 0; before the first keyframe its prompt holds. Between "
                    "back quotes is arithmetic, as in FizzNodes: (cross:`t / max_f`), t being the frame and "
                    "max_f the last one. Not read where a storyboard is connected."),
                whole("frames", 16, 0, MAX_FRAMES,
                    "Number of frames that are sampled. What the schedule has beyond is not used. 0: as many "
                    "as the storyboard has."),
                choice("interpolation", get_args(Interpolation),
                    "Mixture of prompts between keyframes. linear: evenly from keyframe to keyframe. ease "
                    "in-out: slowly near keyframes, faster between. hold: each prompt stays until the next "
                    "keyframe, as for scenes with hard cuts."),
                lines("prepend", "", "Text that goes before every prompt, with a comma."),
                lines("append", "", "Text that goes behind every prompt, with a comma."),
                socket(StoryboardType, "storyboard",
                    "A storyboard, whose scenes' prompts take the text's place, each from the frame on where "
                    "its scene starts.", optional=True),
                socket(io.Model, "model",
                    "The model that samples. A model of video has to be connected: it says how many frames one "
                    "of its latents stands for. Wan and LTX-Video read prompts by frame; others, such as "
                    "HunyuanVideo, are refused.", optional=True),
            ],
            outputs=[
                out(io.Conditioning, "conditioning", "A prompt for every frame."),
                out(io.String, "schedule",
                    "A table of what is drawn when, a line for every range of frames, and what is not used."),
                out(io.Int, "frames", "Number of frames to sample, for an empty latent's batch."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, text: str | None, frames: int | None, storyboard: Any = UNLINKED) -> bool | str:
        """Refuse a text that is no schedule, where it is read."""
        return storyboard is not UNLINKED or check_early(_check_schedule, text, frames)

    @classmethod
    def plan(
        cls,
        text: str,
        frames: int,
        interpolation: Interpolation,
        prepend: str,
        append: str,
        storyboard: Any = UNLINKED,
    ) -> Plan:
        """Return what each prompt counts in each frame, for the editor; a storyboard's are known when it has run."""
        if storyboard is not UNLINKED:
            return Plan("the prompts are the storyboard's", frames)
        keys = _surround(parse_prompts(text, frames), prepend, append)
        blends = plan_travel(keys, frames, interpolation)
        if text.count("`") * frames <= MOST_VALUES:
            fill_travel(keys, blends, text)  # tells what is wrong with it
        return show_travel(keys, blends)

    @classmethod
    def execute(
        cls,
        clip: Any,
        text: str,
        frames: int,
        interpolation: Interpolation,
        prepend: str,
        append: str,
        storyboard: Storyboard | None = None,
        model: Any = None,
    ) -> io.NodeOutput:
        """Run the node."""
        law = _check_family(clip, model)
        if storyboard is None:
            keys = parse_prompts(text, frames)
        else:
            keys, length = storyboard_prompts(storyboard)
            frames = frames or length
        keys = _surround(keys, prepend, append)
        blends = plan_travel(keys, frames, interpolation)
        filled, moved = (keys, blends) if storyboard else fill_travel(keys, blends, text)
        encoded = {prompt: api.port().encode_text(clip, prompt)[0] for prompt in used_prompts(filled, moved)}
        conditions = _travel(encoded, filled, moved, law)
        return io.NodeOutput(conditions, describe_travel(keys, blends), frames)


def _check_schedule(text: str, frames: int) -> None:
    plan_travel(parse_prompts(text, frames), frames, "hold")


def _surround(keys: Keys, prepend: str, append: str) -> Keys:
    return {frame: join_texts(prepend, prompt, append) for frame, prompt in keys.items()}


def join_texts(*texts: str) -> str:
    """Return texts as one prompt, with commas between; empty ones are left out."""
    return ", ".join(text for text in map(str.strip, texts) if text)


def _check_family(clip: Any, model: Any) -> TimeLaw | None:
    """Return the time law of a model of video that reads prompts by frame; None: it makes pictures.

    Told by the model, or else by the text encoder, of which one for video does not tell the law.
    """
    what, part = ("clip", clip) if model is None else ("model", model)
    family = api.port().family(part)
    check_reads_beside(family, "Prompt Travel", what)
    return family.law


def _travel(encoded: Any, keys: Keys, blends: Any, law: TimeLaw | None) -> Any:
    """Return one condition for all frames: with a row of tokens for each picture, or with shares of each prompt."""
    if law is None or len(encoded) == 1:
        return travel_conditions(encoded, keys, blends)
    return api.port().read_by_frame(join_prompts(encoded, keys, blends, law))


NODES: list[type] = [PromptTravel]
