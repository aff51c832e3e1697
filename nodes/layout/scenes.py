"""A storyboard's scenes through one graph: one of them, all of them as lists, and their pictures as one video."""

from __future__ import annotations

from torch import Tensor

from ...host import api
from ...models.storyboard.scenes import Storyboard
from ...models.video.scene_joins import join_scenes
from ..sockets import StoryboardType
from ..widgets import SEEDS, out, schema, seed, socket, whole

io = api.io


class SelectScene(io.ComfyNode):
    """Take one scene out of a storyboard, for the nodes that work on one.

    To render all of them in one run, use Scene List.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Select Scene", "layout",
            aliases=["VideoDirectorGPT", "shot", "storyboard scene", "pick scene"],
            inputs=[
                socket(StoryboardType, "storyboard", "A storyboard of any number of scenes."),
                whole("scene", 1, 0, 1_000_000, "The scene's number, as Layout Preview shows it."),
            ],
            outputs=[
                out(StoryboardType, "storyboard", "The storyboard with that scene alone."),
                out(io.String, "prompt", "Prompt of the whole picture."),
                out(io.String, "background", "Background: what lies behind the entities."),
                out(io.Int, "frames", "Length of the scene."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, storyboard: Storyboard, scene: int) -> io.NodeOutput:
        """Run the node."""
        chosen = storyboard.select_scene(scene)
        found = chosen.only_scene()
        return io.NodeOutput(chosen, found.prompt, found.background, found.frames)


class SceneList(io.ComfyNode):
    """Split a storyboard into lists with an item for each scene.

    What is connected to a list runs once for each of its items, so the graph of one scene renders them all;
    end it in Join Scenes.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Scene List", "layout",
            aliases=["VideoDirectorGPT", "storyboard", "multi-scene video", "batch scenes", "loop"],
            inputs=[
                socket(StoryboardType, "storyboard", "A storyboard of any number of scenes."),
                seed(
                    "Seed that each scene's number is added to, so a scene keeps its seed when other scenes "
                    "come or go."),
            ],
            outputs=[
                out(StoryboardType, "storyboards",
                    "A storyboard for each scene, with that scene alone.", is_output_list=True),
                out(io.String, "prompts", "Prompts of the whole picture.", is_output_list=True),
                out(io.Int, "frames", "Lengths of the scenes.", is_output_list=True),
                out(io.Int, "seeds",
                    "A seed for each scene. Connect the seed itself instead for the "
                    "same noise in all scenes.", is_output_list=True),
                out(io.String, "backgrounds",
                    "Backgrounds: what lies behind the entities.", is_output_list=True),
            ],
        )  # fmt: skip

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
    """Put the pictures of all scenes one after the other, by hard cuts or cross-fades.

    The result is one batch for Create Video. The node waits for the whole list.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Join Scenes", "layout",
            aliases=["concatenate videos", "crossfade", "image list to batch", "merge clips"],
            inputs=[
                socket(io.Image, "images", "A list with the frames of each scene, all of one size."),
                whole("cross_fade", 0, 0, 10_000,
                    "Frames over which a scene turns into the next; 0 is a hard cut. Scenes overlap by these "
                    "frames, so each joint makes the video shorter by them."),
                whole("skip", 0, 0, 10_000,
                    "Frames to leave out at the start of every scene: 1 behind Scene Start with an anchor."),
            ],
            outputs=[out(io.Image, "images", "The frames of the whole video.")],
            is_input_list=True,
            has_intermediate_output=True,
        )  # fmt: skip

    @classmethod
    def execute(cls, images: list[Tensor], cross_fade: list[int], skip: list[int]) -> io.NodeOutput:
        """Run the node."""
        video = join_scenes([scene[skip[0] :] for scene in images], cross_fade[0])
        return io.NodeOutput(video, ui=api.port().show_clips({"images": video}))


NODES: list[type] = [SelectScene, SceneList, JoinScenes]
