"""Where language models run: a server behind HTTP, by its profile, or a folder or file in this process.

May import ``answers`` and ``models``.
"""
