"""The first host: ComfyUI. The only folder that imports it.

Reading order: ``entry`` (what ComfyUI calls), ``port`` (what nodes call), ``install`` (an edit on a model) and its
parts ``slots``, ``run``, ``schedule``, ``clip_norm``; ``motion`` and ``demo`` build models; ``version`` knows hosts
apart.
"""
