"""A file a seam: how ComfyUI's UNet gives an edit what ``models.edits`` promises, by official patches and wrappers.

``patches`` and ``hooks`` are the one list of what acts inside the UNet, ``live`` the call that is on, ``network`` the
UNet as a table. In comes a new seam, never a technique. May import of ``models``: ``edits``, ``network``, ``video``,
``files`` and ``errors``.
"""
