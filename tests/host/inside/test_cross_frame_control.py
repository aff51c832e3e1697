"""Cross-frame attention inside ComfyUI's ControlNets: what it reaches and what it leaves. Its numbers: test_parity."""

from __future__ import annotations

import comfy.controlnet
import pytest
import torch
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.host.inside.control import (
    assert_untouched,
    attributes_of,
    controlled,
    controlnet,
    hinted,
    network,
)

FINEST = "input_blocks.1.1.transformer_blocks.0.attn1"


@pytest.fixture(scope="module")
def net():
    with torch.inference_mode():
        return network(1)


@pytest.fixture
def link(net):
    return hinted(controlnet(1, net=net))


def hooks_of(net):
    return [hook for part in net.modules() for hook in (*part._forward_pre_hooks, *part._forward_hooks)]


@pytest.mark.parametrize(
    ("settings", "rows"),
    [({}, 2), ({"in_control": False}, 8), ({"levels": frozenset({1, 2, 3})}, 8)],
    ids=["all", "UNet alone", "other levels"],
)
def test_conditions_keep_sharing_a_batch_and_the_anchor_is_projected_once(
    demo, scene, net, link, settings, rows
):
    projected = []
    handle = net.get_submodule(f"{FINEST}.to_k").register_forward_hook(
        lambda _, inputs, __: projected.append(inputs[0].shape[0])
    )
    scene.run(scene.crossing(demo[0], **settings), **controlled(scene, link))
    handle.remove()
    assert projected == [rows] * 3  # positive and negative, three steps


def test_the_first_frame_is_what_it_is_alone(demo, scene, link):
    models = scene.crossing(demo[0]), demo[0], scene.crossing(demo[0], in_control=False)
    crossed, plain, unet_alone = (scene.run(model, **controlled(scene, link)) for model in models)
    torch.testing.assert_close(crossed[0], plain[0], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(crossed[1], unet_alone[1], atol=1e-2)


def test_in_windows_each_link_of_one_network_keeps_its_own_anchor(demo, scene):
    """Two Apply ControlNet nodes of one loader, on one prompt."""
    model = scene.windowed(scene.crossing(demo[0]), WindowPlan(4, 1))

    def draw(first, second):
        chain = hinted(controlnet(0, net=second), 7, previous=hinted(controlnet(0, net=first), 7, seed=1))
        return scene.run(model, frames=7, **controlled(scene, chain))

    one, twin = network(1), network(1)
    torch.testing.assert_close(draw(one, one), draw(one, twin), rtol=1e-3, atol=1e-4)


def test_nothing_is_left_behind_by_a_run_or_an_error(demo, scene, net, link):
    """Hooks go, the ControlNets that the user made keep every attribute, and runs stay as they were."""
    chain = hinted(controlnet(5), previous=link)
    before, sides, crossed = attributes_of(chain), controlled(scene, chain), scene.crossing(demo[0])
    plain, wanted = (scene.run(model, **sides) for model in (demo[0], crossed))
    assert hooks_of(net) == []
    assert_untouched(chain, before)

    def fail(*_):
        raise RuntimeError("stopped")

    handle = net.get_submodule(FINEST).to_out.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="stopped"):
        scene.run(crossed, **sides)
    handle.remove()
    assert hooks_of(net) == []
    for model, drawn in ((demo[0], plain), (crossed, wanted)):
        assert torch.equal(scene.run(model, **sides), drawn)


def test_a_t2i_adapter_stays_as_it_is(demo, scene):
    """It has no attention; its condition goes through like any other."""

    class Adapter(comfy.controlnet.ControlBase):
        def get_control(self, x_noisy, t, cond, batched_number, transformer_options):
            return {"input": [], "middle": [torch.full_like(x_noisy[:, :1, :1, :1], 0.1)], "output": []}

    sides = controlled(scene, Adapter())
    crossed, plain = (scene.run(model, **sides) for model in (scene.crossing(demo[0]), demo[0]))
    torch.testing.assert_close(crossed[0], plain[0], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(crossed[1], plain[1], atol=1e-2)


def test_some_frames_of_a_clip_have_their_own_hints(port, demo, scene, link):
    """Of chained ControlNets too; the user's stay as they are."""
    chain = hinted(controlnet(5), previous=link)
    before, sides, noise = attributes_of(chain), controlled(scene, chain), scene.noise()[[0, 3]]

    def draw(frame_ids):
        return scene.run(
            demo[0],
            noise=noise,
            **{name: port.select_frames(side, frame_ids) for name, side in sides.items()},
        )

    whole = scene.run(demo[0], **sides)
    torch.testing.assert_close(draw([0, 3]), whole[[0, 3]], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(draw([0, 1])[1], whole[3], atol=1e-2)
    assert_untouched(chain, before)
