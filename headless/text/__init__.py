"""Prompts as ComfyUI reads them: weights, escapes, chunks of 77, and CLIP's vocabulary.

May import ``models``.
"""
