"""The port: what nodes may ask of a host (``contract``), the names they are written in (``api``), and what hosts share.

``comfyui`` is the first host and the only folder that imports ComfyUI; ``headless`` is the second. May import
``models``.
"""
