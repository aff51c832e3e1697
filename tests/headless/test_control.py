"""ControlNets: files, what a condition carries, and what it changes; ComfyUI's own numbers are in tests/host."""

from __future__ import annotations

import json
import operator
from dataclasses import replace

import pytest
import torch
from frameloom.headless.core_nodes.conditioning import ControlNetApplyAdvanced
from frameloom.headless.core_nodes.loaders import ControlNetLoader
from frameloom.headless.engine.conditions import select_frames
from frameloom.headless.engine.control import Control, ControlRun, fit_hints
from frameloom.headless.engine.edits import EditedRun
from frameloom.headless.engine.guidance import CFG
from frameloom.headless.weights.control_loading import load_controlnet
from frameloom.models.edits.call import Call, Condition
from frameloom.models.edits.edit import Edit
from frameloom.models.edits.lockstep import Cut
from frameloom.models.errors import CheckpointError
from frameloom.models.network.sizes import DEMO
from frameloom.models.network.unet import UNetSize
from frameloom.tests.contract.test_windows import FRAMES, PLANS, apart
from frameloom.tests.support.random_demo import CPU, draw_clip, random_text, write_control
from frameloom.tests.support.tensors import draw as numbers
from safetensors.torch import load_file, save_file

SOME = torch.zeros(4, 4)
CONV = torch.zeros(32, 4, 3, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("control")
    write_control(folder / "net.safetensors")
    write_control(folder / "bare.safetensors", prefix="")
    write_control(folder / "diffusers.safetensors", prefix=None)
    write_control(folder / "other.safetensors", seed=4)
    return folder


@pytest.fixture(scope="module")
def net(folder):
    with torch.inference_mode():  # as a node loads it
        return load_controlnet(folder / "net.safetensors", CPU)


@pytest.fixture(scope="module")
def other(folder):
    return load_controlnet(folder / "other.safetensors", CPU)


def pictures(count, height=64, width=64, seed=0):
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(seed))


def apply(net, image, strength=1.0, start=0.0, end=1.0, sides=None):
    """Both prompts with a ControlNet, as the node makes them."""
    sides = sides or (random_text(1), random_text(2))
    return ControlNetApplyAdvanced.execute(*sides, net, image, strength, start, end).args


def draw(model, sides, frames=3, steps=3):
    return draw_clip(model, CFG(*sides, 3.0), frames=frames, steps=steps)


def added(model, control, at_once=2):
    """What a condition's ControlNets add to two frames, skip connections and middle, in a row."""
    seen, tokens = numbers(2, 4, 8, 8, seed=5), numbers(1, 77, DEMO.unet.context_dim, seed=6)
    call = Call(2, 1, (Condition(0),), (0, 1), 3.0, 0.5, (8, 8))
    run = ControlRun(model.sampling, EditedRun(()))
    with torch.no_grad():
        found = run.residuals(
            control, seen, torch.tensor([500]), tokens, sigma=3.0, call=call, cut=Cut(1, 2, at_once)
        )
    return [*found["down_block_additional_residuals"], found["mid_block_additional_residual"]]


@pytest.mark.parametrize("name", ["bare", "diffusers"])
def test_the_same_net_is_read_from_every_form_of_keys(folder, net, name):
    loaded = load_controlnet(folder / f"{name}.safetensors", CPU).state_dict()
    assert loaded.keys() == net.state_dict().keys()
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in loaded.items())


def test_sizes_are_read_off_the_tensors(tmp_path):
    size = UNetSize(model_channels=64, channel_mult=(1, 1, 2, 3), context_dim=48, num_heads=8)
    config = load_controlnet(write_control(tmp_path / "x.safetensors", size), CPU).config
    assert (config.block_out_channels, config.cross_attention_dim) == (size.widths, 48)
    assert config.attention_head_dim == 8


def test_a_diffusers_folder_says_how_many_heads(folder, tmp_path):
    (tmp_path / "net").mkdir()
    state = load_file(folder / "diffusers.safetensors")
    save_file(state, tmp_path / "net" / "diffusion_pytorch_model.safetensors")
    (tmp_path / "net" / "config.json").write_text(json.dumps({"attention_head_dim": 2}))
    assert load_controlnet(tmp_path / "net", CPU).config.attention_head_dim == 2


def test_a_training_checkpoint_gives_its_control_part(folder, net, tmp_path):
    state = load_file(folder / "net.safetensors")
    rest = {"model.diffusion_model.out.2.bias": SOME, "first_stage_model.x": SOME}
    torch.save({"state_dict": state | rest}, tmp_path / "control_sd15_canny.pth")
    loaded = load_controlnet(tmp_path / "control_sd15_canny.pth", CPU)
    assert torch.equal(loaded.conv_in.weight, net.conv_in.weight)


def test_weights_stay_trainable_through_when_a_node_loads_them(net):
    assert not any(parameter.is_inference() for parameter in net.parameters())


NET = "control_model."
IN, MIDDLE = f"{NET}input_blocks.0.0.weight", f"{NET}middle_block.1.proj_in.weight"
WRONG = {
    "checkpoint": (
        lambda s: {"model.diffusion_model.input_blocks.0.0.weight": CONV},
        " is a whole Stable Diffusion checkpoint; expected a ControlNet for SD1.5; put it into checkpoints",
    ),
    "LoRA": (
        lambda s: {"lora_unet_x.lora_down.weight": SOME},
        " is a LoRA of the base model;.*put it into loras",
    ),
    "T2I-Adapter": (
        lambda s: {"body.0.block1.weight": CONV, "conv_in.weight": CONV},
        " is a T2I-Adapter; .*choose a ControlNet for SD1.5",
    ),
    "Control-LoRA": (
        lambda s: {"lora_controlnet": SOME, "input_hint_block.0.weight": CONV, "input_blocks.0.0.up": SOME},
        " is a Control-LoRA, a ControlNet that needs its base model's weights; expected a ControlNet",
    ),
    "Flux": (lambda s: {"controlnet_blocks.0.weight": SOME}, " is a ControlNet for a transformer model"),
    "UNet": (
        lambda s: {"input_blocks.0.0.weight": CONV},
        " is a UNet .*; expected a ControlNet for SD1.5; choose",
    ),
    "unknown": (
        lambda s: {"x": SOME},
        r" is of no kind we know \(its first key is 'x'\); .*; choose another file",
    ),
    "SDXL": (
        lambda s: {"input_hint_block.0.weight": CONV, "label_emb.0.0.weight": SOME},
        " is a ControlNet for SDXL; expected a ControlNet for SD1.5; choose another file",
    ),
    "union": (
        lambda s: {f"{NET}input_hint_block.0.weight": CONV, "task_embedding": SOME},
        " is a union ControlNet;",
    ),
    "difference": (
        lambda s: {f"{NET}input_hint_block.0.weight": CONV, "difference": SOME},
        " is a ControlNet stored as differences from its base model;",
    ),
    "truncated": (
        lambda s: {k: v for k, v in s.items() if "zero_convs.7" not in k},
        ": lacks control_model.zero_convs.7.0.weight, one of 2 tensors",
    ),
    "misspelt": (
        lambda s: {k.replace("zero_convs.7.0.bias", "zero_conws.7.0.bias"): v for k, v in s.items()},
        r": lacks control_model.zero_convs.7.0.bias \(it holds 'control_model.zero_conws.7.0.bias', which",
    ),
    "three levels": (
        lambda s: {k: v for k, v in s.items() if "input_blocks.10." not in k},
        ": lacks control_model.input_blocks.10.0.out_layers.3.weight; expected .* and ControlNets for SDXL",
    ),
    "SD2": (
        lambda s: s | {MIDDLE: s[MIDDLE][..., 0, 0]},
        ": a ControlNet with 4 latent channels and text width 64",
    ),
    "inpaint": (lambda s: s | {IN: torch.zeros(32, 9, 3, 3)}, ": a ControlNet with 9 latent channels"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_file_of_another_kind_is_named(folder, tmp_path, kind):
    change, message = WRONG[kind]
    state = change(load_file(folder / "net.safetensors"))
    save_file({key: value.clone() for key, value in state.items()}, tmp_path / "wrong.safetensors")
    with pytest.raises(CheckpointError, match=f"^wrong.safetensors{message}") as caught:
        load_controlnet(tmp_path / "wrong.safetensors", CPU)
    assert "\n" not in str(caught.value)


def test_the_loader_lists_and_loads_the_users_files(port):
    (port.models_dir / "controlnet").mkdir(parents=True)
    write_control(port.models_dir / "controlnet" / "canny.safetensors")
    assert ControlNetLoader.choices() == {"control_net_name": ["canny.safetensors"]}
    loaded = ControlNetLoader.execute("canny.safetensors").args[0]
    assert loaded.config.block_out_channels == DEMO.unet.widths
    with pytest.raises(ValueError, match=r"controlnet: '\.\./x' was not found"):
        ControlNetLoader.execute("../x")


def test_one_control_hangs_on_every_condition_and_the_input_stays(net, other):
    positive, negative = [*random_text(1), *random_text(3)], random_text(2)
    once = apply(net, pictures(1), sides=(positive, negative))
    twice = apply(other, pictures(1), strength=0.5, start=0.2, end=0.9, sides=once)
    assert all("control" not in options for _, options in [*positive, *negative])
    (first,) = {options["control"] for side in once for _, options in side}
    (last,) = {options["control"] for side in twice for _, options in side}
    assert (last.network, last.strength, last.start_percent, last.end_percent) == (other, 0.5, 0.2, 0.9)
    assert list(last.chain()) == [first, last]


def test_conditions_with_other_nets_before_get_a_control_each(net, other):
    positive, _ = apply(net, pictures(1))
    both = apply(other, pictures(1), sides=(positive, random_text(2)))
    assert [len(list(side[0][1]["control"].chain())) for side in both] == [2, 1]


def test_strength_0_leaves_the_conditions(net):
    sides = (random_text(1), random_text(2))
    assert all(map(operator.is_, apply(net, pictures(1), 0.0, sides=sides), sides))


def marked(count):
    return torch.arange(count)[:, None, None, None].expand(count, 3, 2, 2).float()


@pytest.mark.parametrize(
    ("hints", "batch", "chunks", "rows"),
    [
        (1, 6, 2, [0]),
        (3, 6, 2, [0, 1, 2, 0, 1, 2]),
        (2, 6, 2, [0, 1, 0, 0, 1, 0]),
        (5, 6, 2, [0, 1, 2, 0, 1, 2]),
        (6, 6, 2, [0, 1, 2, 3, 4, 5]),
        (6, 3, 1, [0, 1, 2]),
        (2, 9, 3, [0, 1, 0, 0, 1, 0, 0, 1, 0]),
    ],
)
def test_frames_get_the_hints_that_comfyui_gives_them(hints, batch, chunks, rows):
    assert fit_hints(marked(hints), batch, chunks)[:, 0, 0, 0].tolist() == rows


def test_hints_are_cut_to_the_latents_shape_and_resized_by_nearest(model, net):
    """Each latent pixel is 8 x 8 of the hint: a wide picture loses its sides, blocks of one colour stay as they are."""
    blocks = pictures(2, 16, 16)
    exact = blocks.repeat_interleave(4, 1).repeat_interleave(4, 2)
    wide = torch.nn.functional.pad(blocks, (0, 0, 5, 5), value=9.0)
    plain, resized = (added(model, Control(net, image.movedim(-1, 1))) for image in (exact, wide))
    assert all(torch.equal(one, two) for one, two in zip(plain, resized, strict=True))


def test_a_frame_at_a_time_adds_what_all_at_once_add(model, net, other):
    hints, seen = pictures(2).movedim(-1, 1), []
    control = Control(other, hints, 2.0, previous=Control(net, hints, 0.5))
    handle = net.conv_in.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    one, both = added(model, control, at_once=1), added(model, control)
    handle.remove()
    assert seen == [1, 1, 2]
    assert max(apart(each, whole) for each, whole in zip(one, both, strict=True)) <= 1e-5


def test_chained_nets_add_up(model, net, other):
    hints = pictures(2).movedim(-1, 1)
    first = Control(net, hints, 0.5)
    both = added(model, Control(other, hints, 2.0, previous=first))
    apart = zip(added(model, first), added(model, Control(other, hints, 2.0)), strict=True)
    assert all(torch.allclose(part, one + two) for part, (one, two) in zip(both, apart, strict=True))


def test_a_shuffle_net_adds_averages_over_the_picture(model, folder, tmp_path, net):
    path = tmp_path / "control_v11e_sd15_shuffle.safetensors"
    path.write_bytes((folder / "net.safetensors").read_bytes())
    hints = pictures(2).movedim(-1, 1)
    pooled = added(model, Control(load_controlnet(path, CPU), hints))
    plain = added(model, Control(net, hints))
    for one, other in zip(pooled, plain, strict=True):
        assert torch.allclose(
            one.expand_as(other), other.mean((2, 3), keepdim=True).expand_as(other), atol=1e-6
        )


def test_a_net_runs_in_its_part_of_the_steps_only(model, net):
    """Five steps of ``normal`` are at 0, 25, 50, 75 and 100 percent; both ends of a range count."""
    for (start, end), count in {(0, 1): 5, (0.25, 0.75): 3, (0.3, 0.7): 1, (0.6, 0.4): 0}.items():
        calls = []
        handle = net.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        draw(model, apply(net, pictures(3), start=start, end=end), steps=5)
        handle.remove()
        assert len(calls) == count, (start, end)


def test_a_net_for_another_base_and_hints_with_alpha_are_named(model, net, tmp_path):
    wider = write_control(tmp_path / "x.safetensors", replace(DEMO.unet, context_dim=48))
    with pytest.raises(
        ValueError, match=r"^control_net: .*text width 48, the model has \(32, 64, 64, 64\) and 64;"
    ):
        draw(model, apply(load_controlnet(wider, CPU), pictures(1)))
    with pytest.raises(
        ValueError, match=r"^image: has 4 channels; the ControlNet expects 3; leave out the alpha"
    ):
        draw(model, apply(net, torch.zeros(1, 64, 64, 4)))


def test_some_frames_of_a_clip_have_their_own_hints(net, other):
    """Of chained ControlNets too, and what shares one still does."""
    sides = apply(other, pictures(5, seed=1), sides=apply(net, pictures(5)))
    both = [*sides[0], *select_frames(sides[0], [0, 3]), *select_frames(sides[0], [3, 6])]
    whole, some, beyond = (options["control"] for _, options in both)
    for one, link, again in zip(whole.chain(), some.chain(), beyond.chain(), strict=True):
        assert torch.equal(link.hints, one.hints[[0, 3]])
        assert torch.equal(again.hints, one.hints[[3, 1]])
        assert link.network is one.network
    shared = select_frames([*sides[0], *sides[0]], [1])
    assert shared[0][1]["control"] is shared[1][1]["control"]


@pytest.mark.parametrize("plan", PLANS[2:4], ids=lambda plan: plan.schedule)
def test_hints_arrive_at_their_frames_under_context_windows(model, net, other, plan):
    """Of a chain of one for each frame and one with fewer hints; the model alone mixes no frames."""
    sides = apply(other, pictures(4, seed=1), sides=apply(net, pictures(FRAMES)))
    plain = draw(model, sides, FRAMES)
    windows = replace(model, edits=(Edit("test", windows=plan),))
    assert apart(draw(windows, sides, FRAMES), plain) <= 1e-4
    turned = apply(other, pictures(4, seed=1), sides=apply(net, pictures(FRAMES).roll(1, 0)))
    assert apart(draw(model, turned, FRAMES), plain) > 1e-2
