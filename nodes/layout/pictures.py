"""Storyboards as pictures: to look at, as masks, and as hints for ControlNets; and as tracks of points."""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor

from ...host import api
from ...models.network.family import law_of
from ...models.storyboard.hints import Kind, draw_control
from ...models.storyboard.masks import Shape, feather_masks, latent_masks, scene_masks
from ...models.storyboard.scenes import Storyboard
from ...models.storyboard.tracks import ati_text, describe_tracks, scene_tracks, wan_move_text
from ..drawing.plot import to_image
from ..drawing.storyboard_sheet import FrameArtist, draw_sheet
from ..sockets import StoryboardType, one_scene
from ..widgets import choice, line, number, out, schema, seed, socket, switch, whole

io = api.io


class LayoutPreview(io.ComfyNode):
    """Look at a storyboard before anything is sampled.

    The node draws every frame with its labelled boxes, their ways and keypoints, and one sheet of all scenes
    with their prompts, entities and what must look alike. It shows the sheet. Only Latin letters can be
    drawn; others become empty squares.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Layout Preview", "layout",
            aliases=["boxes", "storyboard", "bounding boxes", "contact sheet", "VideoDirectorGPT", "LVD", "VisorGPT"],
            inputs=[
                socket(StoryboardType, "storyboard", "A storyboard of any number of scenes."),
                whole("longer_side", 512, 64, 4096,
                    "Longer side of the frames, in pixels; their shape is the storyboard's."),
                whole("columns", 4, 1, 12, "Frames of each scene on the sheet."),
            ],
            outputs=[
                out(io.Image, "frames", "Every frame of every scene, in order."),
                out(io.Image, "sheet", "One picture of all scenes, with captions."),
            ],
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    def execute(cls, storyboard: Storyboard, longer_side: int, columns: int) -> io.NodeOutput:
        """Run the node."""
        frames = _draw_frames(storyboard, longer_side)
        sheet = to_image(draw_sheet(storyboard, columns))
        shown = api.ui.PreviewImage(sheet, cls=cls).as_dict()
        return io.NodeOutput(frames, sheet, ui={**shown, "frameloom_storyboard": [storyboard.to_json()]})


def _draw_frames(storyboard: Storyboard, longer_side: int) -> Tensor:
    """Return every frame of every scene, [F, H, W, 3]."""
    artist = FrameArtist(storyboard, longer_side)
    bar = api.port().progress(sum(scene.frames for scene in storyboard.scenes))
    frames: list[Tensor] = []
    for scene in storyboard.scenes:
        for picture in artist.draw(scene, range(scene.frames)):
            frames.append(to_image(picture))
            bar.update(len(frames))
    return torch.cat(frames)


class LayoutToMasks(io.ComfyNode):
    """Turn a scene's bounding boxes into a mask for each frame.

    For inpainting, for conditions that act in an area, or for latents. Edges between two pixels are exact:
    each pixel has its covered share.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Layout To Masks", "layout",
            aliases=["boxes", "bounding box to mask", "storyboard", "regional prompt", "attention mask", "LVD"],
            inputs=[
                one_scene(),
                line("entity", "", "The entity's id, as Layout Preview shows it; empty: all of them."),
                *_size_inputs(),
                number("feather", 0.0, 0.0, 1024.0, 0.5, "Pixels over which an edge falls off; 0 is sharp."),
                choice("shape", get_args(Shape), "Shape of the mask: the box, or the ellipse in it."),
                switch("invert", False, "Make the mask 1 where the entity is not, instead of where it is."),
                socket(io.Model, "model",
                    "A model of video, for a mask for each of its latent frames, as Conditioning (Set Mask) takes "
                    "them there: all that is covered in one of the frames that it stands for.", optional=True),
            ],
            outputs=[out(io.Mask, "mask", "A mask for each frame, 1 = the entity.")],
            has_intermediate_output=True,
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        storyboard: Storyboard,
        entity: str,
        width: int,
        height: int,
        feather: float,
        shape: Shape,
        invert: bool,
        model: Any = None,
    ) -> io.NodeOutput:
        """Run the node."""
        width, height = _size_of(storyboard, width, height)
        masks = feather_masks(
            scene_masks(storyboard.only_scene(), entity.strip(), height, width, shape), feather
        )
        masks = masks if model is None else latent_masks(masks, law_of(api.port().family(model)))
        masks = 1 - masks if invert else masks
        return io.NodeOutput(masks, ui=api.port().show_clips({"mask": masks}))


class LayoutToControl(io.ComfyNode):
    """Draw a scene's boxes and keypoints as pictures for Apply ControlNet, one for each frame.

    Nearer things hide what is behind them: what is larger, or ends lower, is nearer.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Layout To Control", "layout",
            aliases=["boxes", "ControlNet", "OpenPose", "depth", "canny", "lineart", "scribble", "segmentation"],
            inputs=[
                one_scene(),
                choice("kind", get_args(Kind),
                    "Kind of picture. box outlines: white lines on black, for canny and lineart. filled "
                    "labels: a colour for each id, like a segmentation; a ControlNet trained on ADE20K takes "
                    "colours for classes, which these are not. blob depth: ellipses, near is bright. "
                    "scribble: ellipses as by hand. openpose skeletons: from keypoints with the names of a "
                    "body's points."),
                *_size_inputs(),
                whole("line_width", 3, 1, 64, "Width of a line, in pixels, of box outlines and scribble."),
                seed("Seed of scribble's hand, which draws an entity alike in all frames."),
            ],
            outputs=[out(io.Image, "images", "A hint for each frame of the scene.")],
            has_intermediate_output=True,
        )  # fmt: skip

    @classmethod
    def execute(
        cls, storyboard: Storyboard, kind: Kind, width: int, height: int, line_width: int, seed: int
    ) -> io.NodeOutput:
        """Run the node."""
        width, height = _size_of(storyboard, width, height)
        scene = storyboard.only_scene()
        hints = draw_control(scene, kind, height, width, line_width=line_width, seed=seed)
        return io.NodeOutput(hints, ui=api.port().show_clips({"images": hints}))


class LayoutToTracks(io.ComfyNode):
    """Turn a scene's bounding boxes into tracks of points, along which Wan moves what a picture shows.

    For ComfyUI's nodes of two models that make a video of a picture: WanTrackToVideo takes `tracks` for ATI, and
    WanMoveTracksFromCoords takes `coords` for Wan-Move. Each box of frame 0 should lie on its thing in the picture. A
    point keeps its place in its box, so several of them tell that a thing grows.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Declare the node."""
        return schema(
            cls, "Layout To Tracks", "layout",
            aliases=["boxes", "Wan", "ATI", "Wan-Move", "trajectory", "motion tracking", "point tracking", "drag"],
            inputs=[
                one_scene(),
                line("entity", "", "The entity's id, as Layout Preview shows it; empty: all of them."),
                *_size_inputs(),
                whole("grid", 1, 1, 16, "Points across each box, and down. 1 is its middle. 2 or more also tell that a "
                    "box grows or shrinks."),
            ],
            outputs=[
                out(io.String, "tracks", "Tracks for WanTrackToVideo: 121 places each, spread over the clip. A track "
                    "ends where its box is first absent."),
                out(io.String, "coords", "Tracks for WanMoveTracksFromCoords: a place for each frame; -1 where the box "
                    "is absent."),
                out(io.Int, "frames", "The scene's frames, for the other node's length."),
                out(io.String, "report", "A line for each entity: its points, and what is left out."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, storyboard: Storyboard, entity: str, width: int, height: int, grid: int
    ) -> io.NodeOutput:
        """Run the node."""
        width, height = _size_of(storyboard, width, height)
        scene = storyboard.only_scene()
        found = scene_tracks(scene, entity.strip(), width, height, grid)
        tracks = [track for each in found.values() for track in each]
        report = describe_tracks(found, scene.frames)
        return io.NodeOutput(ati_text(tracks), wan_move_text(tracks), scene.frames, report)


def _size_of(storyboard: Storyboard, width: int, height: int) -> tuple[int, int]:
    return width or storyboard.size[0], height or storyboard.size[1]


def _size_inputs() -> list[Any]:
    return [
        whole(name.lower(), 0, 0, 16_384, f"{name} in pixels; 0 takes the storyboard's.")
        for name in ("Width", "Height")
    ]


NODES: list[type] = [LayoutPreview, LayoutToMasks, LayoutToControl, LayoutToTracks]
