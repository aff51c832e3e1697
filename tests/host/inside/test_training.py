"""ComfyUI, by our adapter, trains a motion module and nothing else."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import torch
from comfy.patcher_extension import PatcherInjection
from frameloom.host.comfyui import seams
from frameloom.host.comfyui.seams.patches import all_patches
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import HostError
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.parts import Every

SEAMS_WITH_PATCHES = (
    "input", "skips", "self_attention", "merge", "between", "cross_attention", "observe",
)  # fmt: skip


def test_of_a_model_that_dynamic_vram_holds_a_whole_one_is_trained_through(port, demo):
    """What dynamic VRAM keeps on the modules of the live one must not be copied: native memory is freed twice then."""
    from comfy.model_patcher import ModelPatcher
    from frameloom.host.comfyui.load.demo import load_demo_unet

    class Held(ModelPatcher):
        def is_dynamic(self):
            return True

    class Handle:
        def __deepcopy__(self, memo):
            raise AssertionError("a native handle was copied")

    (path,) = demo[0].cached_patcher_init[1]
    live = load_demo_unet(path)
    live.model.diffusion_model.handle = Handle()
    held = Held(live.model, live.load_device, live.offload_device)
    held.cached_patcher_init = live.cached_patcher_init
    layer = "input_blocks.1.0.in_layers.2.weight"
    weight = live.model.diffusion_model.get_parameter(layer).detach().float().clone()
    held.add_patches({f"diffusion_model.{layer}": (torch.ones_like(weight),)})  # as a LoRA
    forward = port.train_forward(held, 4)
    torch.testing.assert_close(forward.unet.get_parameter(layer).detach().cpu(), weight.cpu() + 1)


def test_what_other_packs_patched_is_said_not_to_act(port, demo, scene, caplog):
    patched = demo[0].clone()
    patched.set_model_attn2_patch(lambda q, k, v, extra: (q, k, v))
    wrapped = demo[0].clone()
    wrapped.set_model_unet_function_wrapper(
        lambda apply, given: apply(given["input"], given["timestep"], **given["c"])
    )
    windowed = scene.windowed(demo[0], WindowPlan())
    ours = ((demo[0], 0), (scene.crossing(demo[0]), 0), (windowed, 0))
    for model, count in (*ours, (patched, 1), (wrapped, 2)):
        port.train_forward(model, 4)
        assert caplog.text.count("other packs' nodes have patched it") == count


def test_every_patch_of_a_seam_is_in_the_list_that_training_reads(port):
    files = [f"{seams.__name__}.{each.name}" for each in pkgutil.iter_modules(seams.__path__)]
    found = [getattr(importlib.import_module(name), "PATCHES", {}) for name in files]
    listed = {(place, patch) for place, patches in all_patches().items() for patch in patches}
    assert {each for patches in found for each in patches.items()} == listed


def test_a_patch_is_on_the_clone_alone_and_once(port, demo):
    clone = demo[0]
    for _ in range(2):
        clone = port.install(clone, Edit("test", **dict.fromkeys(SEAMS_WITH_PATCHES, Every())))
    patches = clone.model_options["transformer_options"]["patches"]
    assert patches == all_patches()
    assert demo[0].model_options["transformer_options"].get("patches", {}) == {}


def test_layers_of_another_pack_do_not_come_along(port, demo, caplog):
    class Layer(torch.nn.Module):
        def forward(self, hidden):
            return hidden

    def put_in(patcher):
        patcher.model.diffusion_model.input_blocks[1].insert(1, Layer())

    def take_out(patcher):
        patcher.model.diffusion_model.input_blocks[1].pop(1)

    guest = demo[0].clone()
    guest.set_injections("guest", [PatcherInjection(inject=put_in, eject=take_out)])
    forward = port.train_forward(guest, 4)
    assert not any(isinstance(each, Layer) for each in forward.unet.modules())
    assert caplog.text.count("other packs' nodes have patched it") == 1
    assert forward.hash_weights() == port.train_forward(demo[0], 4).hash_weights()


def test_a_base_that_reads_more_than_latents_is_refused(port, demo, monkeypatch):
    monkeypatch.setattr(demo[0].model.diffusion_model, "in_channels", 9)
    with pytest.raises(
        ValueError, match=r"model: its UNet reads 9 channels, .* expected 4, the noisy latents"
    ):
        port.base(demo[0])


@pytest.mark.parametrize("predicts", ["x0", "flow"])
def test_a_base_that_predicts_neither_noise_nor_velocity_is_refused(port, demo, predicts):
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete, ModelSamplingSD3

    nodes = {
        "x0": lambda: ModelSamplingDiscrete().patch(demo[0], "x0", False),
        "flow": lambda: ModelSamplingSD3().patch(demo[0], 3.0),
    }
    (model,) = nodes[predicts]()
    with pytest.raises(
        HostError, match=r"model: is a .*, which predicts neither noise nor velocity; expected a"
    ):
        port.base(model)
