"""Types of the sockets that are Frameloom's own."""

from __future__ import annotations

from typing import Any

from ..host import api

PathType = api.io.Custom("FRAMELOOM_PATH")  # models.zero_shot.motion_path.MotionPath
StoryboardType = api.io.Custom("FRAMELOOM_STORYBOARD")  # models.storyboard.scenes.Storyboard
CameraType = api.io.Custom("FRAMELOOM_CAMERA")  # models.motion.camera.CameraPoses
LLMType = api.io.Custom("FRAMELOOM_LLM")  # language.llm.model.LanguageModel
DatasetType = api.io.Custom("FRAMELOOM_DATASET")  # training.motion.dataset.Dataset
TreeType = api.io.Custom("FRAMELOOM_TREE")  # models.long_video.nuwa_tree.Tree


def one_scene() -> Any:
    """Return the input of a storyboard that has one scene."""
    about = "A storyboard of one scene; put Select Scene or Scene List before for more."
    return StoryboardType.Input("storyboard", tooltip=about)
