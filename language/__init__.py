"""Language models and what they are asked: from a script to a storyboard, and other people's formats of layouts.

Rooms, in the order in which they build on each other: ``answers``, ``stories``, ``llm``, ``formats``, ``planning``,
``english``. All may import ``models`` and ``host.contract``.
"""
