"""Types of the sockets that are Frameloom's own."""

from __future__ import annotations

from ..host import api

PathType = api.io.Custom("FRAMELOOM_PATH")  # models.zero_shot.motion_path.MotionPath
StoryboardType = api.io.Custom("FRAMELOOM_STORYBOARD")  # models.storyboard.scenes.Storyboard
LLMType = api.io.Custom("FRAMELOOM_LLM")  # language.llm.model.LanguageModel
DatasetType = api.io.Custom("FRAMELOOM_DATASET")  # training.motion.dataset.Dataset
TreeType = api.io.Custom("FRAMELOOM_TREE")  # models.long_video.nuwa_tree.Tree
