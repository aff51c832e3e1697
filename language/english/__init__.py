"""The planner without a language model: plain English, read by tables and rules.

May import ``answers``, ``llm``, ``planning`` and ``models``.
"""
