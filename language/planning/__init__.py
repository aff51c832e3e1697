"""Planners: scenes, boxes and in-between prompts from a language model or a layout prior, with answers kept on disk.

May import ``answers``, ``llm``, ``formats`` and ``models``.
"""
