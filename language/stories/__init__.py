"""Made-up scripts with their storyboards, which a language model learns to plan from.

May import ``models``.
"""
