"""A file a seam: how diffusers' UNet gives an edit what ``models.edits`` promises, by forward hooks for one run.

In comes a new seam, never a technique. May import of ``models``: ``edits``, ``network``, ``video``,
``files`` and ``errors``; and ``weights.networks``.
"""
