"""Run by ComfyUI's Python from its folder: its own nodes on stored inputs, its own JSON of the sample schemas.

    python core_nodes_in_comfyui.py FOLDER --cpu --base-directory FOLDER

FOLDER has ``cases.json`` (node, inputs, with tensors named ``@name``), ``tensors.safetensors`` and ``input/``. Writes
``results.safetensors`` (``case.slot.key``), ``schemas.json``, and what the nodes save in ``output/``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

folder = Path(sys.argv.pop(1))
sys.path.insert(0, os.getcwd())

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import utils.extra_config  # noqa: E402, F401, I001  before the path has other modules of that name
import folder_paths  # noqa: E402
import nodes  # noqa: E402
import torch  # noqa: E402
from comfy_api.latest import io  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

EXTRAS = ("nodes_images.py", "nodes_video.py", "nodes_mask.py", "nodes_canny.py")


def sample_schemas():
    spec = spec_from_file_location("sample_schema", Path(__file__).with_name("sample_schema.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return [module.sample_schema, module.plain_schema]


def entry(make):
    node = type("Sample", (io.ComfyNode,), {
        "define_schema": classmethod(lambda cls: make(io)),
        "execute": classmethod(lambda cls, **_: None),
    })  # fmt: skip
    return node.GET_NODE_INFO_V1()


def run(case, tensors):
    node = nodes.NODE_CLASS_MAPPINGS[case["node"]]
    inputs = {name: resolve(value, tensors) for name, value in case["inputs"].items()}
    if issubclass(node, io.ComfyNode):
        clone = node.PREPARE_CLASS_CLONE({"hidden_inputs": {io.Hidden.prompt: case["prompt"]}})
        return node.EXECUTE_NORMALIZED.__func__(clone, **inputs).args
    if case.get("saves"):
        inputs["prompt"] = case["prompt"]
    result = getattr(node(), node.FUNCTION)(**inputs)
    return result["result"] if isinstance(result, dict) else result


def resolve(value, tensors):
    if isinstance(value, dict) and "video" in value:
        node = "LoadVideo" if "file" in value["video"] else "CreateVideo"
        return run({"node": node, "inputs": value["video"], "prompt": {}}, tensors)[0]
    if isinstance(value, dict):
        return {name: resolve(each, tensors) for name, each in value.items()}
    return tensors[value[1:]] if isinstance(value, str) and value.startswith("@") else value


def main():
    for name in EXTRAS:
        asyncio.run(nodes.load_custom_node(os.path.join("comfy_extras", name), module_parent="comfy_extras"))
    tensors = load_file(folder / "tensors.safetensors")
    results = {}
    with torch.inference_mode():
        for name, case in json.loads((folder / "cases.json").read_text()).items():
            for slot, value in enumerate(run(case, tensors)):
                parts = value if isinstance(value, dict) else {"value": value}
                for key, each in parts.items():
                    if isinstance(each, str):
                        each = list(each.encode())
                    tensor = torch.tensor(each) if isinstance(each, list | int | float) else each
                    if isinstance(tensor, torch.Tensor):
                        results[f"{name}.{slot}.{key}"] = tensor.contiguous().clone()
    save_file(results, folder / "results.safetensors")
    (folder / "schemas.json").write_text(json.dumps([entry(make) for make in sample_schemas()]))
    assert Path(folder_paths.get_output_directory()) == folder / "output"


main()
