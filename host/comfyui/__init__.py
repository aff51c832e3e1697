"""The first host: ComfyUI. The only folder that imports it.

Reading order: ``entry`` (what ComfyUI calls), ``port`` (what nodes call), ``install`` (an edit on a model) and its
parts ``patches`` (ours of ComfyUI's places), ``run`` (what happens while it samples), ``hooks`` (on layers, for one
call: ``slots``, ``clip_norm``), ``guests`` (other packs' layers), ``schedule``; ``motion`` and ``demo`` build models;
``version`` knows hosts apart.
"""
