"""Models that we build for ComfyUI: motion modules under its memory management, and the bundled demo model.

May import ``host`` and ``models``.
"""
