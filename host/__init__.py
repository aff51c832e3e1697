"""The port: what nodes may ask of a host (``contract``), and the names they are written in (``api``).

``comfyui`` is the first host and the only folder that imports ComfyUI; the second lives in ``headless``.
"""
