"""Clips as tensors: frames, noise, windows, schedules, decoding in chunks, joining scenes, figures, guards.

In comes what knows clips but not the inside of a model. May import ``errors``.
"""
