"""ComfyUI's V3 node interface as far as our nodes use it: inputs, schemas, ``ui``, folders, and core nodes' schemas.

May import ``host`` and ``models``.
"""
