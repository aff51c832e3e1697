"""Run by ComfyUI's Python from its folder: its own nodes on small workflows with the demo-sized model.

    python sampling_in_comfyui.py FOLDER --cpu --base-directory FOLDER

FOLDER has ``model.safetensors``, ``edit.safetensors`` (8 input channels), the ControlNets ``net.safetensors``,
``other.safetensors`` and ``net_shuffle.safetensors``, ``gligen.safetensors``, ``motion.safetensors``,
``told.safetensors``, and ``cases.json``; writes ``results.safetensors``, a tensor a case. It may have narrow SDXLs
``sdxl*.safetensors``, and motion modules for them, ``moves_*_sdxl.safetensors``.
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
import comfy.controlnet  # noqa: E402
import comfy.model_base  # noqa: E402
import comfy.model_management  # noqa: E402
import comfy.model_patcher  # noqa: E402
import comfy.model_sampling  # noqa: E402
import comfy.sd  # noqa: E402
import comfy.utils  # noqa: E402
import nodes  # noqa: E402
import torch  # noqa: E402
from comfy_api.latest import io  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

_spec = spec_from_file_location("frameloom", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
sys.modules["frameloom"] = module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["frameloom"])

from frameloom.host.bundled import BUNDLED  # noqa: E402
from frameloom.host.comfyui.install import install  # noqa: E402
from frameloom.host.comfyui.load.demo import DemoConfig, load_demo  # noqa: E402
from frameloom.host.comfyui.load.motion import load_motion  # noqa: E402
from frameloom.models.motion.checkpoint import read_motion_weights  # noqa: E402
from frameloom.tests.host.inside.control import SIZES, empty_network  # noqa: E402
from frameloom.tests.support.gligen import WideClip  # noqa: E402
from frameloom.tests.support.sdxl_in_comfyui import load_sdxl  # noqa: E402
from frameloom.tests.support.workflow_steps import run  # noqa: E402

DEMO_MOTION = BUNDLED["animatediff_models"]["frameloom_demo_motion.safetensors"]


class EpsSampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
    """Noise prediction on the same schedule."""


def control(name, prefix, pooled=False):
    """A ControlNet as ControlNetLoader makes it."""
    state = comfy.utils.load_torch_file(str(folder / f"{name}.safetensors"), safe_load=True)
    network = empty_network()
    network.load_state_dict({key.removeprefix(prefix): value for key, value in state.items()})
    device = comfy.model_management.get_torch_device()
    return comfy.controlnet.ControlNet(network, pooled, load_device=device)


class EditConfig(DemoConfig):
    """The demo's sizes as ComfyUI's instruct-pix2pix model."""

    def get_model(self, state_dict, prefix="", device=None):
        return comfy.model_base.SD15_instructpix2pix(self, device=device)


def edit_model():
    more = {"out_channels": 4, "transformer_depth_output": [1] * 9 + [0] * 3, "use_checkpoint": False}
    more |= {"adm_in_channels": None, "use_linear_in_transformer": False, "in_channels": 8}
    more |= {"use_temporal_resblock": False, "use_temporal_attention": False}
    config = EditConfig(SIZES | more)
    config.set_inference_dtype(torch.float32, None)
    prefix = "model.diffusion_model."
    state = comfy.utils.load_torch_file(str(folder / "edit.safetensors"), safe_load=True)
    model = config.get_model(state, prefix, device=comfy.model_management.get_torch_device())
    model.load_model_weights(state, prefix)
    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)


def call(class_type, inputs):
    node = nodes.NODE_CLASS_MAPPINGS[class_type]
    if issubclass(node, io.ComfyNode):
        return node.execute(**inputs).args
    return getattr(node(), node.FUNCTION)(**inputs)


def main():
    for name in ("nodes_custom_sampler.py", "nodes_ip2p.py", "nodes_clip_sdxl.py"):
        extras = os.path.join("comfy_extras", name)
        asyncio.run(nodes.load_custom_node(extras, module_parent="comfy_extras"))
    results = {}
    with torch.inference_mode():
        model, clip, vae = load_demo(folder / "model.safetensors")
        eps = model.clone()
        eps.add_object_patch("model_sampling", EpsSampling(model.model.model_config))
        sockets = {
            "net": (control("net", "control_model."),),
            "other": (control("other", ""),),
            "pooled": (control("net_shuffle", "control_model.", pooled=True),),
            "edit": (edit_model(),),
            "gligen": (comfy.sd.load_gligen(str(folder / "gligen.safetensors")),),
            "wide": (WideClip(clip),),
            "motion": (load_motion(read_motion_weights(folder / "motion.safetensors")),),
            "told": (load_motion(read_motion_weights(folder / "told.safetensors")),),
            "trained": load_demo(),
            "moves": (load_motion(read_motion_weights(DEMO_MOTION)),),
            **{path.stem: load_sdxl(path) for path in folder.glob("sdxl*.safetensors")},
            **{
                path.stem: (load_motion(read_motion_weights(path)),) for path in folder.glob("moves_*_sdxl.*")
            },
        }
        for name, case in json.loads((folder / "cases.json").read_text()).items():
            demo = (eps if case["prediction"] == "eps" else model, clip, vae)
            results[name] = run(case, {"demo": demo, **sockets}, call, install).float().contiguous()
    save_file(results, folder / "results.safetensors")


main()
