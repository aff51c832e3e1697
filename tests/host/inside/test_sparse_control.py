"""SparseCtrl in ComfyUI's UNet: diffusers' network beside diffusers' UNet, and ComfyUI's memory management."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.motion.sparse_checkpoint import read_sparse_control
from frameloom.models.motion.sparse_control import SparseControlEdit
from frameloom.tests.host.inside.test_motion import raw_unet, reference, relative
from frameloom.tests.support.sparse import GIVEN, write_sparse

__all__ = ["reference"]
FRAMES = 5


@pytest.fixture(scope="module")
def control(port, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sparse")
    return port.load_sparse_control(read_sparse_control(write_sparse(folder / "rgb.safetensors")))


@pytest.fixture(scope="module")
def sparse(port, demo, control):
    part = SparseControlEdit(control, GIVEN, (0, FRAMES - 1), FRAMES, 0.5)
    return port.install(demo[0], Edit("SparseCtrl", residuals=part))


def test_the_controlled_unet_equals_diffusers(sparse, scene, reference):
    out = raw_unet(sparse, scene, reference["noisy"], reference["tokens"])
    assert relative(out, reference["still"]) > 1e-2, "the network did nothing"
    assert relative(out, reference["sparse"]) <= 1e-4


def test_comfyui_loads_the_network_with_the_model(port, demo, scene, control, sparse):
    (patcher,) = sparse.get_additional_models()
    assert patcher.is_clone(control.network)
    twice = port.install(sparse, port.edits(sparse)[0])
    assert len(twice.get_additional_models()) == 2
    noise = torch.randn(FRAMES, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(scene.run(twice, noise=noise), scene.run(twice.clone(), noise=noise))
