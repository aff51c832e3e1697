"""A storyboard's scenes through one graph: one of them, all of them as lists, and their pictures as one video."""

from __future__ import annotations

from torch import Tensor

from ..host import api
from ..models.scene_joins import join_scenes
from ..models.storyboard import Storyboard
from .sockets import StoryboardType

io = api.io

SEEDS = 1 << 64


class SelectScene(io.ComfyNode):
    """Frameloom_SelectScene."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return io.Schema(
            node_id="Frameloom_SelectScene",
            display_name="Select Scene",
            category="frameloom/layout",
            description="Take one scene out of a storyboard, for the nodes that work on one. To render all of them in "
            "one run, use Scene List.",
            search_aliases=["VideoDirectorGPT", "shot", "storyboard scene", "pick scene"],
            inputs=[
                StoryboardType.Input("storyboard", tooltip="Of any number of scenes."),
                io.Int.Input(
                    "scene",
                    default=1,
                    min=0,
                    max=1_000_000,
                    tooltip="The scene's number, as Layout Preview shows it.",
                ),
            ],
            outputs=[
                StoryboardType.Output(
                    "storyboard", display_name="storyboard", tooltip="The storyboard with that scene alone."
                ),
                io.String.Output("prompt", display_name="prompt", tooltip="Of the whole picture."),
                io.String.Output(
                    "background", display_name="background", tooltip="What lies behind the entities."
                ),
                io.Int.Output("frames", display_name="frames", tooltip="Length of the scene."),
            ],
        )

    @classmethod
    def execute(cls, storyboard: Storyboard, scene: int) -> io.NodeOutput:
        """Run the node."""
        chosen = storyboard.select_scene(scene)
        found = chosen.only_scene()
        return io.NodeOutput(chosen, found.prompt, found.background, found.frames)


class SceneList(io.ComfyNode):
    """Frameloom_SceneList."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return io.Schema(
            node_id="Frameloom_SceneList",
            display_name="Scene List",
            category="frameloom/layout",
            description="Split a storyboard into lists with an item for each scene. What is connected to a list runs "
            "once for each of its items, so the graph of one scene renders them all; end it in Join Scenes.",
            search_aliases=["VideoDirectorGPT", "storyboard", "multi-scene video", "batch scenes", "loop"],
            inputs=[
                StoryboardType.Input("storyboard", tooltip="Of any number of scenes."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=SEEDS - 1,
                    control_after_generate=True,
                    tooltip="A scene's seed is this plus the scene's number, so it stays the same when other scenes "
                    "come or go.",
                ),
            ],
            outputs=[
                StoryboardType.Output(
                    "storyboards",
                    display_name="storyboards",
                    is_output_list=True,
                    tooltip="A storyboard for each scene, with that scene alone.",
                ),
                io.String.Output(
                    "prompts",
                    display_name="prompts",
                    is_output_list=True,
                    tooltip="Prompts of the whole picture.",
                ),
                io.Int.Output(
                    "frames", display_name="frames", is_output_list=True, tooltip="Lengths of the scenes."
                ),
                io.Int.Output(
                    "seeds",
                    display_name="seeds",
                    is_output_list=True,
                    tooltip="A seed for each scene. Connect the seed itself instead for the same noise in all scenes.",
                ),
                io.String.Output(
                    "backgrounds",
                    display_name="backgrounds",
                    is_output_list=True,
                    tooltip="What lies behind the entities.",
                ),
            ],
        )

    @classmethod
    def execute(cls, storyboard: Storyboard, seed: int) -> io.NodeOutput:
        """Run the node."""
        scenes = storyboard.scenes
        return io.NodeOutput(
            [storyboard.select_scene(scene.id) for scene in scenes],
            [scene.prompt for scene in scenes],
            [scene.frames for scene in scenes],
            [(seed + scene.id) % SEEDS for scene in scenes],
            [scene.background for scene in scenes],
        )


class JoinScenes(io.ComfyNode):
    """Frameloom_JoinScenes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return io.Schema(
            node_id="Frameloom_JoinScenes",
            display_name="Join Scenes",
            category="frameloom/layout",
            description="Put the pictures of all scenes one after the other, by hard cuts or cross-fades: one batch "
            "for Create Video. It waits for the whole list.",
            search_aliases=["concatenate videos", "crossfade", "image list to batch", "merge clips"],
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="A list with the frames of each scene, all of one size."),
                io.Int.Input(
                    "cross_fade",
                    default=0,
                    min=0,
                    max=10_000,
                    tooltip="Frames over which a scene turns into the next; 0 is a hard cut. The scenes overlap by "
                    "these frames, so the video is as much shorter at each of its joints.",
                ),
                io.Int.Input(
                    "skip",
                    default=0,
                    min=0,
                    max=10_000,
                    tooltip="Frames to leave out at the start of every scene: 1 behind Scene Start with an anchor.",
                ),
            ],
            outputs=[
                io.Image.Output("images", display_name="images", tooltip="The frames of the whole video.")
            ],
        )

    @classmethod
    def execute(cls, images: list[Tensor], cross_fade: list[int], skip: list[int]) -> io.NodeOutput:
        """Run the node."""
        return io.NodeOutput(join_scenes([scene[skip[0] :] for scene in images], cross_fade[0]))


NODES: list[type] = [SelectScene, SceneList, JoinScenes]
