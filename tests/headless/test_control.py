"""ControlNets: files, what a condition carries, and what it changes; ComfyUI's own numbers are in tests/host."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from frameloom.headless.core_nodes.conditioning import ControlNetApplyAdvanced
from frameloom.headless.core_nodes.loaders import ControlNetLoader
from frameloom.headless.engine import denoise
from frameloom.headless.engine.conditions import select_frames
from frameloom.headless.engine.control import Control, ControlRun, fit_hints
from frameloom.headless.engine.denoise import sample
from frameloom.headless.engine.edits import EditedRun
from frameloom.headless.engine.guidance import CFG
from frameloom.headless.engine.noise import draw_noise
from frameloom.headless.port import HeadlessHost
from frameloom.headless.samplers.sigmas import schedule_sigmas
from frameloom.headless.samplers.table import find_sampler
from frameloom.headless.text.prompt import Tokenizer
from frameloom.headless.weights.control_loading import load_controlnet
from frameloom.headless.weights.loading import load_checkpoint
from frameloom.host import api
from frameloom.host.bundled import DEMO_TOKENIZER
from frameloom.models.edits.call import Call, Condition
from frameloom.models.edits.edit import Edit
from frameloom.models.errors import CheckpointError
from frameloom.models.network.sizes import DEMO
from frameloom.models.network.unet import UNetSize
from frameloom.tests.contract.test_windows import FRAMES, PLANS, apart
from frameloom.tests.support.random_demo import write_control, write_model
from safetensors.torch import load_file, save_file

CPU = torch.device("cpu")
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
    return load_controlnet(folder / "net.safetensors", CPU)


@pytest.fixture(scope="module")
def other(folder):
    return load_controlnet(folder / "other.safetensors", CPU)


@pytest.fixture(scope="module")
def model(folder):
    path = write_model(folder / "model.safetensors")
    return load_checkpoint(path, Tokenizer.from_folder(DEMO_TOKENIZER), CPU, DEMO)[0]


def pictures(count, height=64, width=64, seed=0):
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(seed))


def condition(seed):
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(1, 77, DEMO.unet.context_dim, generator=generator), {}]]


def apply(net, image, strength=1.0, start=0.0, end=1.0, sides=None):
    """Both prompts with a ControlNet, as the node makes them."""
    positive, negative = sides or (condition(1), condition(2))
    return ControlNetApplyAdvanced.execute(positive, negative, net, image, strength, start, end).args


def draw(model, sides, frames=3, steps=3, cfg=3.0):
    latent = torch.zeros(frames, 4, 8, 8)
    return sample(
        model,
        draw_noise(latent, 1),
        CFG(*sides, cfg),
        sampler=find_sampler("euler"),
        sigmas=schedule_sigmas(model.sampling, "normal", steps),
        latent=latent,
    )[0]


def called(chunks, frames, frame_ids=None):
    ids = frame_ids or tuple(range(frames))
    conditions = tuple(Condition(number) for number in range(chunks))
    return Call(frames, 1, conditions, ids, 3.0, 0.5, (8, 8), is_part=frame_ids is not None)


def added(model, control, chunks=1, frames=2, sigma=3.0):
    """What a condition's ControlNets add, skip connections and middle, in a row."""
    generator = torch.Generator().manual_seed(5)
    seen = torch.randn(chunks * frames, 4, 8, 8, generator=generator)
    tokens = torch.randn(chunks, 77, DEMO.unet.context_dim, generator=generator)
    run = ControlRun(model.sampling, EditedRun(()))
    with torch.no_grad():
        found = run.residuals(
            control, seen, torch.tensor([500]), tokens, sigma=sigma, call=called(chunks, frames)
        )
    return [*found.get("down_block_additional_residuals", []), *list(found.values())[1:]]


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


def test_weights_stay_trainable_through_when_a_node_loads_them(folder):
    with torch.inference_mode():
        loaded = load_controlnet(folder / "net.safetensors", CPU)
    assert not any(parameter.is_inference() for parameter in loaded.parameters())


NET = "control_model."
WRONG = {
    "checkpoint": (
        {"model.diffusion_model.input_blocks.0.0.weight": CONV},
        r"is a whole Stable Diffusion checkpoint; expected a ControlNet for SD1.5; put it into checkpoints",
    ),
    "LoRA": ({"lora_unet_x.lora_down.weight": SOME}, r"is a LoRA of the base model;.*put it into loras"),
    "T2I-Adapter": (
        {"body.0.block1.weight": CONV, "conv_in.weight": CONV},
        r"is a T2I-Adapter; .*choose a ControlNet for SD1.5",
    ),
    "Control-LoRA": (
        {"lora_controlnet": SOME, "input_hint_block.0.weight": CONV, "input_blocks.0.0.up": SOME},
        r"is a Control-LoRA, a ControlNet that needs its base model's weights; expected a ControlNet",
    ),
    "Flux": ({"controlnet_blocks.0.weight": SOME}, r"is a ControlNet for a transformer model"),
    "UNet": ({"input_blocks.0.0.weight": CONV}, r"is a UNet .*; expected a ControlNet for SD1.5; choose an"),
    "unknown": ({"x": SOME}, r"is of no kind we know \(its first key is 'x'\); .*; choose another file"),
    "SDXL": (
        {"input_hint_block.0.weight": CONV, "label_emb.0.0.weight": SOME},
        r"is a ControlNet for SDXL; expected a ControlNet for SD1.5; choose another file",
    ),
    "union": ({f"{NET}input_hint_block.0.weight": CONV, "task_embedding": SOME}, r"is a union ControlNet;"),
    "difference": (
        {f"{NET}input_hint_block.0.weight": CONV, "difference": SOME},
        r"is a ControlNet stored as differences from its base model;",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_file_of_another_kind_is_named(tmp_path, kind):
    state, message = WRONG[kind]
    save_file({key: value.clone() for key, value in state.items()}, tmp_path / "wrong.safetensors")
    with pytest.raises(CheckpointError, match=rf"^wrong.safetensors {message}") as caught:
        load_controlnet(tmp_path / "wrong.safetensors", CPU)
    assert "\n" not in str(caught.value)


def test_a_web_page_is_named(tmp_path):
    (tmp_path / "net.pth").write_text("<!DOCTYPE html><html>Sign in</html>")
    with pytest.raises(CheckpointError, match=r"net.pth: a web page \(HTML, \d+ bytes\)"):
        load_controlnet(tmp_path / "net.pth", CPU)


IN, MIDDLE = f"{NET}input_blocks.0.0.weight", f"{NET}middle_block.1.proj_in.weight"
CHANGED = {
    "truncated": (
        lambda s: {k: v for k, v in s.items() if "zero_convs.7" not in k},
        r"lacks control_model.zero_convs.7.0.weight, one of 2 tensors",
    ),
    "misspelt": (
        lambda s: {k.replace("zero_convs.7.0.bias", "zero_conws.7.0.bias"): v for k, v in s.items()},
        r"lacks control_model.zero_convs.7.0.bias \(it holds 'control_model.zero_conws.7.0.bias', which",
    ),
    "three levels": (
        lambda s: {k: v for k, v in s.items() if "input_blocks.10." not in k},
        r"lacks control_model.input_blocks.10.0.out_layers.3.weight; expected a ControlNet for SD1.5, .* SDXL, SD2",
    ),
    "SD2": (
        lambda s: s | {MIDDLE: s[MIDDLE][..., 0, 0]},
        r"a ControlNet with 4 latent channels and text width 64",
    ),
    "inpaint": (lambda s: s | {IN: torch.zeros(32, 9, 3, 3)}, r"a ControlNet with 9 latent channels"),
}


@pytest.mark.parametrize("fault", CHANGED)
def test_a_net_of_another_shape_is_refused(folder, tmp_path, fault):
    change, message = CHANGED[fault]
    state = {k: v.contiguous() for k, v in change(load_file(folder / "net.safetensors")).items()}
    save_file(state, tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match=rf"^net.safetensors: {message}") as caught:
        load_controlnet(tmp_path / "net.safetensors", CPU)
    assert "\n" not in str(caught.value)


def test_the_loader_lists_and_loads_the_users_files(tmp_path, no_host):
    (tmp_path / "controlnet").mkdir()
    write_control(tmp_path / "controlnet" / "canny.safetensors")
    port = HeadlessHost("cpu", tmp_path, tmp_path, tmp_path)
    api.select(io=None, ui=None, extension=None, port=port)
    assert ControlNetLoader.choices() == {"control_net_name": ["canny.safetensors"]}
    loaded = ControlNetLoader.execute("canny.safetensors").args[0]
    assert loaded.config.block_out_channels == DEMO.unet.widths
    with pytest.raises(ValueError, match=r"controlnet: '\.\./x' was not found"):
        ControlNetLoader.execute("../x")


def test_one_control_hangs_on_every_condition_and_the_input_stays(net, other):
    positive, negative = [*condition(1), *condition(3)], condition(2)
    once = apply(net, pictures(1), sides=(positive, negative))
    twice = apply(other, pictures(1), strength=0.5, start=0.2, end=0.9, sides=once)
    assert all("control" not in options for _, options in [*positive, *negative])
    (first,) = {options["control"] for side in once for _, options in side}
    (last,) = {options["control"] for side in twice for _, options in side}
    assert (last.network, last.strength, last.start_percent, last.end_percent) == (other, 0.5, 0.2, 0.9)
    assert list(last.chain()) == [first, last]


def test_conditions_with_other_nets_before_get_a_control_each(net, other):
    positive, _ = apply(net, pictures(1))
    both = apply(other, pictures(1), sides=(positive, condition(2)))
    assert [len(list(side[0][1]["control"].chain())) for side in both] == [2, 1]


def test_strength_0_leaves_the_conditions(net):
    sides = (condition(1), condition(2))
    assert all(
        got is given for got, given in zip(apply(net, pictures(1), 0.0, sides=sides), sides, strict=True)
    )


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


def test_a_hint_changes_its_own_frame_alone(model, net):
    image = pictures(3)
    changed = image.clone()
    changed[1] = 1 - changed[1]
    one, two = draw(model, apply(net, image)), draw(model, apply(net, changed))
    difference = (one - two).flatten(1).norm(dim=1) / one.flatten(1).norm(dim=1)
    assert difference[1] > 0.05
    assert difference[[0, 2]].max() < 1e-5  # the same numbers in other batches of kernels


def test_hints_are_cut_to_the_latents_shape_and_resized_by_nearest(model, net):
    """Each latent pixel is 8 x 8 of the hint: a wide picture loses its sides, blocks of one colour stay as they are."""
    blocks = pictures(2, 16, 16)
    exact = blocks.repeat_interleave(4, 1).repeat_interleave(4, 2)
    wide = torch.nn.functional.pad(blocks, (0, 0, 5, 5), value=9.0)
    plain, resized = (added(model, Control(net, image.movedim(-1, 1))) for image in (exact, wide))
    assert all(torch.equal(one, two) for one, two in zip(plain, resized, strict=True))


def test_what_is_added_grows_with_strength(model, net):
    hints = pictures(2).movedim(-1, 1)
    once, half = (added(model, Control(net, hints, strength)) for strength in (1.0, 0.5))
    assert len(once) == 13
    assert all(torch.allclose(part * 0.5, other) for part, other in zip(once, half, strict=True))


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


def calls_of(net, run):
    """How often a net runs."""
    seen = []
    handle = net.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].shape[0]))
    try:
        run()
    finally:
        handle.remove()
    return seen


def test_a_net_runs_in_its_part_of_the_steps_only(model, net):
    """Five steps of ``normal`` are at 0, 25, 50, 75 and 100 percent; both ends of a range count."""
    image = pictures(3)
    for (start, end), count in {(0, 1): 5, (0.25, 0.75): 3, (0.3, 0.7): 1, (0.6, 0.4): 0}.items():
        sides = apply(net, image, start=start, end=end)
        assert calls_of(net, lambda sides=sides: draw(model, sides, steps=5)) == [6] * count, (start, end)


def test_a_net_that_never_acts_changes_no_bit(model, net):
    plain = draw(model, (condition(1), condition(2)))
    assert torch.equal(draw(model, apply(net, pictures(3), start=0.6, end=0.4)), plain)
    assert not torch.allclose(draw(model, apply(net, pictures(3))), plain, rtol=0.05)


def test_a_net_on_one_prompt_leaves_the_other_as_it_is(model, net):
    positive, _ = apply(net, pictures(3))
    assert calls_of(net, lambda: draw(model, (positive, condition(2)))) == [3] * 3
    alone = draw(model, (condition(1), condition(2)), steps=1)
    controlled = draw(model, (positive, condition(2)), steps=1)
    guided = draw(model, (positive, condition(2)), steps=1, cfg=1.0)
    plain = draw(model, (condition(1), condition(2)), steps=1, cfg=1.0)
    # negative + 3 (positive - negative): what the net changes comes three times, the negative's part is the same
    assert torch.allclose(controlled - alone, 3 * (guided - plain), atol=1e-3 * float(alone.abs().max()))


def test_a_net_runs_inside_the_unets_call(model, net, monkeypatch):
    """Hooks on the net may read the same call as hooks on the UNet."""
    calls, seen = [], []
    begin = denoise.EditedRun.begin

    def note(run, call, instead=None):
        calls.append(call)
        return begin(run, call, instead)

    monkeypatch.setattr(denoise.EditedRun, "begin", note)
    handle = (
        net.down_blocks[0]
        .attentions[0]
        .transformer_blocks[0]
        .attn1.register_forward_pre_hook(
            lambda _module, inputs: seen.append((len(calls), inputs[0].shape[0]))
        )
    )
    try:
        draw(model, apply(net, pictures(3)))
    finally:
        handle.remove()
    assert seen == [(1, 6), (2, 6), (3, 6)]
    assert [each.index for each in calls[0].conditions] == [1, 0]


def test_a_net_for_another_base_is_named(model, tmp_path):
    size = replace(DEMO.unet, context_dim=48)
    wider = load_controlnet(write_control(tmp_path / "x.safetensors", size), CPU)
    with pytest.raises(
        ValueError, match=r"^control_net: .*text width 48, the model has \(32, 64, 64, 64\) and 64;"
    ):
        draw(model, apply(wider, pictures(1)))


def test_hints_with_alpha_are_named(model, net):
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


@pytest.mark.parametrize("plan", PLANS[:4], ids=lambda plan: plan.schedule)
def test_hints_arrive_at_their_frames_under_context_windows(model, net, other, plan):
    """Of a chain of one for each frame and one with fewer hints; the model alone mixes no frames."""
    sides = apply(other, pictures(4, seed=1), sides=apply(net, pictures(FRAMES)))
    plain = draw(model, sides, FRAMES)
    windows = replace(model, edits=(Edit("test", windows=plan),))
    assert apart(draw(windows, sides, FRAMES), plain) <= 1e-4
    turned = apply(other, pictures(4, seed=1), sides=apply(net, pictures(FRAMES).roll(1, 0)))
    assert apart(draw(model, turned, FRAMES), plain) > 1e-2
