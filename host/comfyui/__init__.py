"""The first host: ComfyUI. The only folder that imports it.

Reading order: ``entry`` (what ComfyUI calls), ``port`` (what nodes call), ``install`` (an edit on a model), ``seams``
(what each part of an edit does to ComfyUI's UNet), ``run`` (what happens while it samples), ``train`` (while a module
learns); ``load`` builds models; ``version`` knows hosts apart. May import ``host`` and ``models``; ``entry`` the nodes.
"""
