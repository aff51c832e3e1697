"""Types of the sockets that are Frameloom's own."""

from __future__ import annotations

from ..host import api

PathType = api.io.Custom("FRAMELOOM_PATH")  # models.motion_path.MotionPath
StoryboardType = api.io.Custom("FRAMELOOM_STORYBOARD")  # models.storyboard.Storyboard
LLMType = api.io.Custom("FRAMELOOM_LLM")  # language.model.LanguageModel
DatasetType = api.io.Custom("FRAMELOOM_DATASET")  # training.video_dataset.Dataset
TreeType = api.io.Custom("FRAMELOOM_TREE")  # models.nuwa_tree.Tree
