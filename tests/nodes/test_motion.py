"""Motion LoRAs on a module from a file. What Apply Motion Module installs is in ``test_techniques``."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.errors import CheckpointError

KEY = "mid_block.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.to_q.weight"


@pytest.fixture
def loaded(run):
    return run("MotionModuleLoader", file="mine.safetensors")[0]


def test_loras_stack_with_their_signs_and_leave_the_module_as_it_was(run, loaded):
    def add(motion, strength):
        return run("MotionLoRALoader", motion=motion, file="pan.safetensors", strength=strength)[0]

    def weight(motion):
        return motion.network.state_dict()[KEY]

    plain, once = weight(loaded).clone(), add(loaded, 0.75)
    # fp32 sums in another order
    torch.testing.assert_close(weight(add(add(loaded, 0.5), 0.25)), weight(once), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(weight(add(once, -0.75)), plain, atol=1e-5, rtol=1e-5)
    assert (weight(once) - plain).abs().max() > 0.1
    assert torch.equal(weight(loaded), plain)
    assert add(loaded, 0.0) is loaded


def test_a_lora_of_another_base_is_refused_by_name(run, loaded):
    with pytest.raises(
        CheckpointError, match=r"wide.safetensors: .* is \(64, 64\), mine.safetensors has \(32, 32\)"
    ):
        run("MotionLoRALoader", motion=loaded, file="wide.safetensors")


def test_numbers_that_change_nothing_give_the_module_itself(nodes):
    motion = object()
    assert nodes["AdjustMotionWeights"].execute(motion, "all", 0.0, 1.0).args == (motion,)
