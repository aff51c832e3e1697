"""Cross-frame attention inside ComfyUI's ControlNets: what it reaches and what it leaves. Its numbers: test_parity."""

from __future__ import annotations

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_management
import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.network.sizes import DEMO
from frameloom.models.video.windows import WindowPlan

FINEST = "input_blocks.1.1.transformer_blocks.0.attn1"


def network(seed):
    net = comfy.cldm.cldm.ControlNet(
        image_size=32,
        in_channels=4,
        model_channels=DEMO.unet.model_channels,
        hint_channels=3,
        num_res_blocks=[2] * 4,
        channel_mult=list(DEMO.unet.channel_mult),
        num_heads=8,
        use_spatial_transformer=True,
        transformer_depth=[1, 1, 1, 1, 1, 1, 0, 0],
        transformer_depth_middle=1,
        context_dim=DEMO.unet.context_dim,
        legacy=False,
        dtype=torch.float32,
    )
    generator = torch.Generator().manual_seed(seed)
    for value in net.parameters():
        value.copy_(torch.randn(value.shape, generator=generator) / max(1, value[0].numel()) ** 0.5)
    return net.eval()


@pytest.fixture(scope="module")
def net():
    with torch.inference_mode():
        return network(1)


def control(net, frames=4, previous=None, seed=2):
    """A ControlNet with a hint for each frame, as ControlNetApplyAdvanced hangs it on a condition."""
    made = comfy.controlnet.ControlNet(net, load_device=comfy.model_management.get_torch_device())
    made.set_cond_hint(torch.rand(frames, 3, 128, 128, generator=torch.Generator().manual_seed(seed)), 0.5)
    return made if previous is None else made.set_previous_controlnet(previous)


def controlled(conditions, link):
    return [[tokens, {**options, "control": link}] for tokens, options in conditions]


def run(scene, model, link, frames=4):
    both = controlled(scene.positive, link), controlled(scene.negative, link)
    return scene.port.sample(
        model,
        *both,
        {"samples": torch.zeros(frames, 4, 16, 16)},
        noise=scene.noise(frames),
        sigmas=scene.port.sigmas(model, 3, "normal"),
        sampler="euler",
        cfg=3.0,
    )["samples"]


@pytest.fixture
def projected(net):
    """Rows that a ControlNet's finest self-attention projects to keys, call by call."""
    rows = []
    layer = net.get_submodule(FINEST).to_k
    handle = layer.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0].shape[0]))
    yield rows
    handle.remove()


def hooks_of(net):
    return [hook for part in net.modules() for hook in (*part._forward_pre_hooks, *part._forward_hooks)]


def test_conditions_keep_sharing_a_batch_and_the_anchor_is_projected_once(demo, scene, net, projected):
    run(scene, scene.crossing(demo[0]), control(net))
    assert projected == [2] * 3  # positive and negative, three steps
    projected.clear()
    run(scene, scene.crossing(demo[0], in_control=False), control(net))
    assert projected == [8] * 3
    projected.clear()
    run(scene, scene.crossing(demo[0], levels=frozenset({1, 2, 3})), control(net))
    assert projected == [8] * 3


def test_the_first_frame_is_what_it_is_alone(demo, scene, net):
    crossed, plain = (run(scene, model, control(net)) for model in (scene.crossing(demo[0]), demo[0]))
    torch.testing.assert_close(crossed[0], plain[0], rtol=1e-3, atol=1e-4)
    unet_alone = run(scene, scene.crossing(demo[0], in_control=False), control(net))
    assert not torch.allclose(crossed[1], unet_alone[1], atol=1e-2)


def test_in_windows_each_link_of_one_network_keeps_its_own_anchor(demo, scene):
    """Two Apply ControlNet nodes of one loader, on one prompt."""

    def draw(*nets):
        link = None
        for seed, net in enumerate(nets):
            link = control(net, 7, link, seed)
        model = scene.port.install(scene.crossing(demo[0]), Edit("windows", windows=WindowPlan(4, 1)))
        return run(scene, model, link, 7)

    first, second = network(1), network(1)
    for net in (first, second):
        net.input_hint_block[-1].weight.mul_(50.0)  # else random convolutions leave little of a hint
    torch.testing.assert_close(draw(first, first), draw(first, second), rtol=1e-3, atol=1e-4)


def test_nothing_is_left_behind(demo, scene, net):
    """Hooks go, the ControlNet that the user made keeps every attribute, and a plain run stays as it was."""
    first = control(net)
    last = control(network(5), previous=first)
    before = [dict(vars(link)) for link in (first, last)]
    plain = run(scene, demo[0], last)
    run(scene, scene.crossing(demo[0]), last)
    assert hooks_of(net) == []
    for link, attributes in zip((first, last), before, strict=True):
        now = vars(link)
        assert now.keys() == attributes.keys()
        kept = {name for name in now if name != "model_sampling_current"}  # ComfyUI's own, of the latest run
        assert all(now[name] is attributes[name] or now[name] == attributes[name] for name in kept)
    assert torch.equal(run(scene, demo[0], last), plain)


def test_nothing_is_left_behind_by_an_error(demo, scene, net):
    crossed = scene.crossing(demo[0])
    wanted = run(scene, crossed, control(net))

    def fail(*_):
        raise RuntimeError("stopped")

    handle = net.get_submodule(FINEST).to_out.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="stopped"):
        run(scene, crossed, control(net))
    handle.remove()
    assert hooks_of(net) == []
    assert torch.equal(run(scene, crossed, control(net)), wanted)


def test_a_t2i_adapter_stays_as_it_is(demo, scene):
    """It has no attention; its condition goes through like any other."""

    class Adapter(comfy.controlnet.ControlBase):
        def get_control(self, x_noisy, t, cond, batched_number, transformer_options):
            return {"input": [], "middle": [torch.full_like(x_noisy[:, :1, :2, :2], 0.1)], "output": []}

    crossed = run(scene, scene.crossing(demo[0]), Adapter())
    plain = run(scene, demo[0], Adapter())
    torch.testing.assert_close(crossed[0], plain[0], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(crossed[1], plain[1], atol=1e-2)


def test_some_frames_of_a_clip_have_their_own_hints(demo, scene, net):
    """Of chained ControlNets too; the user's stay as they are."""
    last = control(net, previous=control(network(5)))
    hints = last.cond_hint_original.clone()
    both = controlled(scene.positive, last), controlled(scene.negative, last)
    picked = [scene.port.select_frames(side, [0, 3]) for side in both]
    assert picked[0][0][1]["control"] is not picked[1][0][1]["control"]

    def draw(sides, noise):
        return scene.port.sample(
            demo[0],
            *sides,
            {"samples": torch.zeros_like(noise)},
            noise=noise,
            sigmas=scene.port.sigmas(demo[0], 3, "normal"),
            sampler="euler",
            cfg=3.0,
        )["samples"]

    whole = draw(both, scene.noise(4))
    torch.testing.assert_close(draw(picked, scene.noise(4)[[0, 3]]), whole[[0, 3]], rtol=1e-3, atol=1e-4)
    others = [scene.port.select_frames(side, [0, 1]) for side in both]
    assert not torch.allclose(draw(others, scene.noise(4)[[0, 3]])[1], whole[3], atol=1e-2)
    assert torch.equal(last.cond_hint_original, hints)
