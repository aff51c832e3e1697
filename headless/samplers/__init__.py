"""The samplers and schedulers by ComfyUI's names, step for step what ComfyUI does.

May import ``models.video``.
"""
