"""What every host promises: each file here runs headless, and in ComfyUI's own Python by tests/host/test_inside.py.

A test gets the host as ``port``, and models of it: ``demo`` (MODEL, CLIP, VAE), ``motion``, and ``scene``, a small run.
"""

import os

if "FRAMELOOM_INSIDE" in os.environ:
    from frameloom.tests.support.host_in_comfyui import as_in_a_node, demo, kind_folder, motion, port, scene

    __all__ = ["as_in_a_node", "demo", "kind_folder", "motion", "port", "scene"]
else:
    from frameloom.tests.support.headless_host import demo, kind_folder, motion, port, scene

    __all__ = ["demo", "kind_folder", "motion", "port", "scene"]
