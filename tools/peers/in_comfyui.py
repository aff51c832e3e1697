"""Steps in real ComfyUI, by the nodes that people use: plain, with Frameloom, and with AnimateDiff-Evolved.

Run in ComfyUI's own Python by ``__main__.py``. One process holds all of its arms, which share the base model's weights.

usage: in_comfyui.py COMFYUI FOLDER PEER [PEER ...]
    FOLDER  a base directory, with random weights in models/diffusion_models and models/animatediff_models
    PEER    folder of a pack, if there is one: AnimateDiff-Evolved's, and Advanced-ControlNet's for families
"""

# ruff: noqa: E402, I001  ComfyUI must be on the path, and its arguments set, before it is imported; order matters

from __future__ import annotations

import asyncio
import gc
import runpy
import sys
from pathlib import Path
from typing import Any

TREE, FOLDER, *PEERS = sys.argv[1:]
sys.path.insert(0, TREE)
sys.argv = ["main.py", "--cpu", "--disable-api-nodes", "--base-directory", FOLDER]
import comfy.options

comfy.options.enable_args_parsing()
import utils.extra_config  # noqa: F401  first, as ComfyUI's main has it
import server
import torch
from comfy.patcher_extension import WrappersMP

import nodes

runpy.run_path(str(Path(__file__).parents[2] / "tests" / "bind.py"))
import frameloom
from frameloom.tools.peers import families
from frameloom.tools.peers.worker import clock, hold_all_but, memory, serve, start_peak

comfy_nodes: Any = nodes  # ComfyUI's; to who reads types, the name is our package of nodes
UNET, LORA = "sd15.safetensors", "lora.safetensors"
TOKENS, TEXT_WIDTH = 77, 768


class Bench:
    """The arms of one module, and what the last steps gave."""

    def __init__(self) -> None:
        self._base = call("UNETLoader", unet_name=UNET, weight_dtype="default")
        self._base.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "bench", self._timed)
        generator = torch.Generator().manual_seed(1)
        self._sides = [
            [[torch.randn(1, TOKENS, TEXT_WIDTH, generator=generator), {}]] for _ in ("positive", "negative")
        ]
        self._loaded: dict[str, Any] = {}
        self._wanted = torch.empty(0)
        self._seconds: list[float] = []
        self._clock = clock(beside_work=False)
        self._pictures: list[int] = []
        watched = self._base.model.diffusion_model.out
        watched.register_forward_hook(lambda _, inputs, __: self._pictures.append(len(inputs[0])))

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make a step, and return its seconds, memory in MiB, and distance from the first arm's result.

        Args:
            request: ``arm``, ``module``, ``frames``, ``pixels``, ``cfg``, ``window`` (0: none), ``free_noise``; of ours
                ``at_once``; ``lora``; ``family`` of a picture or control; ``free`` GiB; ``first`` for the result that
                others are held against; ``beside_work`` as ``worker.start_peak`` has it.
        """
        frames, cells = request["frames"], request["pixels"] // 8
        positive, negative = self._sides
        if request["family"]:
            model, (positive, negative) = self._family(request)
        else:
            model = getattr(self, f"_{request['arm']}")(request)
        latent = {"samples": torch.zeros(frames, 4, cells, cells)}
        gc.collect()
        anonymous = memory("RssAnon")
        ballast = hold_all_but(request["free"] * 1024) if request["free"] else None
        self._clock = clock(beside_work=request["beside_work"])
        end_peak = start_peak(beside_work=request["beside_work"])
        self._seconds.clear()
        self._pictures.clear()
        result = call(
            "KSampler", model=model, seed=0, steps=1, cfg=request["cfg"], sampler_name="euler", scheduler="normal",
            positive=positive, negative=negative, latent_image=latent, denoise=1.0,
        )["samples"]  # fmt: skip
        peak = end_peak()
        del ballast
        if request.get("first"):
            self._wanted = result
        alike = self._wanted if self._wanted.shape == result.shape else result
        return {
            "seconds": sum(self._seconds),
            "peak": peak,
            "anonymous": anonymous,
            "at_once": max(self._pictures),
            "cores": torch.get_num_threads(),
            "apart": float((result - alike).norm() / alike.norm()),
        }

    def _timed(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        started = self._clock()
        result = executor(*args, **kwargs)
        self._seconds.append(self._clock() - started)
        return result

    def _family(self, request: dict[str, Any]) -> tuple[Any, list[Any]]:
        """Return the model and the conditions of a family's arm."""
        frames, cells = request["frames"], request["pixels"] // 8
        latent = {"samples": torch.zeros(frames, 4, cells, cells)}
        picture = torch.rand(1, 8 * cells, 8 * cells, 3, generator=torch.Generator().manual_seed(2))
        vae = call("Frameloom_DemoModelLoader", every=True)[2]
        scene = families.Scene(call, self._load, latent, picture, vae, request["module"])
        make = families.ours if request["arm"] == "ours" else families.theirs
        return make(request["family"], scene, self._base, self._sides)

    def _plain(self, _request: dict[str, Any]) -> Any:
        return self._base

    def _ours(self, request: dict[str, Any]) -> Any:
        motion = self._load("Frameloom_MotionModuleLoader", file=request["module"])
        if request["lora"]:
            motion = call("Frameloom_MotionLoRALoader", motion=motion, file=LORA, strength=1.0)
        model = call(
            "Frameloom_ApplyMotionModule", model=self._base, motion=motion, strength=1.0, start_percent=0.0,
            end_percent=1.0, beta_schedule="auto", frames_at_once=request.get("at_once") or request["frames"],
        )  # fmt: skip
        if request["window"]:
            model = call(
                "Frameloom_ContextWindows", model=model, length=request["window"], overlap=4, schedule="static",
                stride=1, weights="pyramid", frames=request["frames"],
            )  # fmt: skip
        if request["free_noise"]:
            model = call(
                "Frameloom_FreeNoise",
                model=model,
                window_length=16,
                stride=4,
                seed=0,
                reshuffle=True,
                fuse=True,
            )
        return model

    def _evolved(self, request: dict[str, Any]) -> Any:
        loaded = self._load("ADE_LoadAnimateDiffModel", model_name=request["module"])
        lora = (
            {"motion_lora": call("ADE_AnimateDiffLoRALoader", name=LORA, strength=1.0)}
            if request["lora"]
            else {}
        )
        options = {
            "m_models": call("ADE_ApplyAnimateDiffModelSimple", motion_model=loaded, **lora),
            "beta_schedule": "autoselect",
        }
        if request["window"]:
            options["context_options"] = call(
                "ADE_StandardStaticContextOptions", context_length=request["window"], context_overlap=4
            )
        return call("ADE_UseEvolvedSampling", model=self._base, **options)

    def _load(self, node: str, **inputs: Any) -> Any:
        """Load a motion module once; one at a time is kept of each pack."""
        key = f"{node} {inputs}"
        if key not in self._loaded:
            self._loaded = {name: each for name, each in self._loaded.items() if not name.startswith(node)}
            self._loaded[key] = call(node, **inputs)
        return self._loaded[key]


def call(name: str, /, *, every: bool = False, **inputs: Any) -> Any:
    """Return the first output of a node, or all of them."""
    node = comfy_nodes.NODE_CLASS_MAPPINGS[name]
    result: Any = getattr(node(), node.FUNCTION)(**inputs)
    outputs = getattr(result, "args", result)
    return outputs if every else outputs[0]


async def load_packs() -> None:
    """Load the nodes of both packs."""
    server.PromptServer(asyncio.get_running_loop())
    ours: Any = await frameloom.comfy_entrypoint()
    for node in await ours.get_node_list():
        comfy_nodes.NODE_CLASS_MAPPINGS[node.GET_SCHEMA().node_id] = node
    for peer in PEERS:
        if Path(peer).exists():
            assert await comfy_nodes.load_custom_node(peer)


def start() -> Any:
    """Load both packs and the base model, and return the function of a request."""
    asyncio.run(load_packs())
    return Bench().answer


with torch.inference_mode():
    serve(start)
