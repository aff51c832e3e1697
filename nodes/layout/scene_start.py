"""What a scene is sampled from: its frames, their noise, and a picture whose looks they take."""

from __future__ import annotations

from typing import Any, get_args

from torch import Tensor

from ...host import api
from ...models.network.family import check_channels, check_makes_pictures
from ...models.storyboard.scene_start import SceneNoise, empty_latent, with_lead
from ...models.storyboard.scenes import Storyboard
from ...models.video.latents import frames_of
from ...models.video.noise import NoiseMode
from ..sockets import StoryboardType, one_scene
from ..widgets import choice, out, schema, seed, share, socket

io = api.io


class SceneStart(io.ComfyNode):
    """Start a scene so that what recurs in other scenes keeps its look.

    An entity's start noise is its own, goes with its box, and is the same in all scenes of its consistency
    group; and frames can take their look from an anchor, a picture before the first frame. With an anchor,
    put Cross Frame Attention (anchor first) on the model, and let Join Scenes skip 1. What this cannot do:
    noise alone makes scenes a little more alike, no more; an anchor carries colors, style and a background
    that the prompt leaves open, not a face, and not a thing that it does not show.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Scene Start", "layout",
            aliases=[
                "consistent character", "reference frame", "VideoDirectorGPT", "story", "identity",
                "shared noise",
            ],
            inputs=[
                one_scene(),
                seed(
                    "Seed of all scenes: the same here for each of them. What does not recur has noise of "
                    "its own anyway.", "noise_seed"),
                choice("mode", get_args(NoiseMode), "Relation of frames outside of boxes, see Video Noise."),
                share("entity_share", 1.0,
                    "Share of the noise in an entity's box that goes with the entity; the rest is the "
                    "frame's own. With a motion module less than 1 leaves it more to move."),
                socket(io.Latent, "anchor",
                    "A finished picture of what recurs, sampled or encoded; its first frame is taken, and "
                    "its size. Leave it out where a motion module acts: that takes the anchor for the "
                    "video's first frame.", optional=True),
                socket(io.Model, "model",
                    "The model that samples the scene, if it isn't SD1.5: its kind of latent is made then, "
                    "and a model of video, such as Wan, is refused. Without it, such a model makes a clip of "
                    "one frame of each frame.", optional=True),
            ],
            outputs=[
                out(StoryboardType, "storyboard",
                    "The scene, behind its anchor if it has one, for Layout Conditioning."),
                out(io.Latent, "latent", "The scene's frames, empty, behind the anchor."),
                out(io.Noise, "noise", "The start noise, for the noise input of SamplerCustomAdvanced."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        storyboard: Storyboard,
        noise_seed: int,
        mode: NoiseMode,
        entity_share: float,
        anchor: dict[str, Any] | None = None,
        model: Any = None,
    ) -> io.NodeOutput:
        """Run the node."""
        picture = (
            None if anchor is None else frames_of(anchor, "take a still of a model of pictures", "anchor")[:1]
        )
        channels = _check_model(model, picture)
        latent = empty_latent(storyboard.only_scene().frames, storyboard.size, picture, channels)
        noise = SceneNoise(storyboard, noise_seed, mode, entity_share, lead=0 if picture is None else 1)
        return io.NodeOutput(storyboard if picture is None else with_lead(storyboard), latent, noise)


def _check_model(model: Any, anchor: Tensor | None) -> int:
    """Return how many channels the latents of what samples a scene have; without a model, Stable Diffusion's."""
    if model is None:
        return 4
    family = api.port().family(model)
    check_makes_pictures(family, "Scene Start", "start from an empty latent of the family, as core has them")
    if anchor is not None:
        check_channels(family, anchor, "anchor")
    return family.channels


NODES: list[type] = [SceneStart]
