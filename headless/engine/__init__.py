"""Sampling on diffusers, numerically ComfyUI's: conditions, guidance, ControlNets, the denoise loop, training forward.

May import ``samplers``, ``text``, ``weights``, ``seams``, ``host`` and ``models``.
"""
