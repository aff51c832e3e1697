"""What every host promises: each file here runs headless, and in ComfyUI's own Python by tests/host/test_inside.py.

A test gets the host as ``port``; models of it: ``demo`` (MODEL, CLIP, VAE), ``motion``, ``moving``, of both;
``scene``, a small run; ``core``, what ComfyUI's own nodes and its cancel button do; and folders of its own: ``folders``
of input and output, and ``kind_folder`` of a kind of model file.
"""

import os

if "FRAMELOOM_INSIDE" not in os.environ:
    from frameloom.tests.support.headless_host import (
        core,
        demo,
        folders,
        kind_folder,
        motion,
        moving,
        port,
        scene,
    )

    __all__ = ["core", "demo", "folders", "kind_folder", "motion", "moving", "port", "scene"]
