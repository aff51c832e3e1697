"""The seams: what a frozen network lets an edit change, what an edit is told on each call, and how edits compose.

``call`` is the model call, ``edit`` has a protocol for each seam, ``active`` composes by one written rule a seam, and
``run`` does so once a sampling run. ``lockstep`` makes one call several of some frames each, and ``clip_norm`` takes
norms over clips. In comes a new seam, never a technique. May import ``errors``, ``network`` and ``video``.
"""
