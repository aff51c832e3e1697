"""A frozen network as data: its sizes, levels and temporal slots, and the layers that several techniques share.

In comes what is true of a network whatever edits it. May import ``errors``.
"""
