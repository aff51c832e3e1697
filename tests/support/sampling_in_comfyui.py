"""Run by ComfyUI's Python from its folder: its own nodes on small workflows with the demo-sized model.

    python sampling_in_comfyui.py FOLDER --cpu --base-directory FOLDER

FOLDER has ``model.safetensors`` and ``cases.json``; writes ``results.safetensors``, a tensor a case.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

folder = Path(sys.argv.pop(1))
ROOT = Path(__file__).resolve().parents[2]
sys.path[:] = [os.getcwd(), *(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT)]

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import utils.extra_config  # noqa: E402, F401, I001  before the path has other modules of that name
import comfy.model_sampling  # noqa: E402
import nodes  # noqa: E402
import torch  # noqa: E402
from comfy_api.latest import io  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

_spec = spec_from_file_location("frameloom", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
sys.modules["frameloom"] = module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["frameloom"])

from frameloom.host.comfyui.demo import load_demo  # noqa: E402
from frameloom.tests.support.workflow_steps import run  # noqa: E402


class EpsSampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
    """Noise prediction on the same schedule."""


def call(class_type, inputs):
    node = nodes.NODE_CLASS_MAPPINGS[class_type]
    if issubclass(node, io.ComfyNode):
        return node.execute(**inputs).args
    return getattr(node(), node.FUNCTION)(**inputs)


def main():
    extras = os.path.join("comfy_extras", "nodes_custom_sampler.py")
    asyncio.run(nodes.load_custom_node(extras, module_parent="comfy_extras"))
    results = {}
    with torch.inference_mode():
        model, clip, vae = load_demo(folder / "model.safetensors")
        eps = model.clone()
        eps.add_object_patch("model_sampling", EpsSampling(model.model.model_config))
        for name, case in json.loads((folder / "cases.json").read_text()).items():
            demo = (eps if case["prediction"] == "eps" else model, clip, vae)
            results[name] = run(case, demo, call).float().contiguous()
    save_file(results, folder / "results.safetensors")


main()
