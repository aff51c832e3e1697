"""A GPT-2 over layouts as token sequences: its format and grammar, its network and file, and how good its samples are.

May import the rooms before the techniques, and no other technique.
"""
