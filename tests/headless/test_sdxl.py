"""SDXL headless, file to answer: files read whole and wrong ones named, and the network as diffusers has it."""

from __future__ import annotations

import weakref

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from frameloom.headless.core_nodes.conditioning import CLIPTextEncodeSDXL
from frameloom.headless.engine.conditions import RunConditions
from frameloom.headless.engine.encode import encode_prompt, encode_two
from frameloom.headless.engine.guidance import CFG
from frameloom.headless.samplers.sigmas import Sampling
from frameloom.headless.text.prompt import Tokenizer
from frameloom.headless.weights.loading import load_checkpoint
from frameloom.headless.weights.measure import measure
from frameloom.headless.weights.model import Model
from frameloom.headless.weights.networks import build_unet
from frameloom.headless.weights.shared_attention import share_tokens
from frameloom.host.bundled import DEMO_TOKENIZER
from frameloom.models.edits.edit import Question
from frameloom.models.errors import CheckpointError
from frameloom.models.files.weight_file import WeightFile, open_weights
from frameloom.models.motion.checkpoint import read_motion_weights
from frameloom.models.motion.edit import motion_edit
from frameloom.models.video.schedules import STABLE_DIFFUSION, BetaSchedule, ZeroTerminalSNR
from frameloom.tests.support import tiny_sdxl
from frameloom.tests.support.motion import as_hotshot
from frameloom.tests.support.random_demo import CPU, NARROW, draw_clip, load_random
from frameloom.tests.support.sdxl_cases import NARROW_SDXL
from frameloom.tests.support.sdxl_file import write_sdxl
from safetensors.torch import load_file, save_file

UNET, CLIP_L, CLIP_G = (
    "model.diffusion_model.",
    "conditioner.embedders.0.transformer.text_model.",
    "conditioner.embedders.1.model.",
)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_folder(DEMO_TOKENIZER)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_sdxl(tmp_path_factory.mktemp("sdxl") / "sdxl.safetensors")


@pytest.fixture(scope="module")
def stored(checkpoint):
    return load_file(checkpoint)


@pytest.fixture(scope="module")
def sdxl(checkpoint, tokenizer):
    return load_checkpoint(checkpoint, tokenizer, CPU)


def test_sizes_are_read_off_the_tensors(checkpoint):
    assert measure(open_weights(checkpoint), list) == NARROW_SDXL


def test_every_network_has_the_files_weights(sdxl, stored):
    model, clip, vae = sdxl
    layer = clip.larger.text_model.encoder.layers[2]
    stacked = stored[f"{CLIP_G}transformer.resblocks.2.attn.in_proj_weight"].float()
    attention = layer.self_attn
    parts = [attention.q_proj, attention.k_proj, attention.v_proj]
    assert torch.equal(torch.cat([each.weight for each in parts]), stacked)
    assert torch.equal(clip.larger.text_projection.weight.T, stored[f"{CLIP_G}text_projection"].float())
    assert torch.equal(
        layer.mlp.fc1.weight, stored[f"{CLIP_G}transformer.resblocks.2.mlp.c_fc.weight"].float()
    )
    assert torch.equal(
        model.unet.add_embedding.linear_2.weight, stored[f"{UNET}label_emb.0.2.weight"].float()
    )
    table = clip.network.get_input_embeddings().weight
    assert torch.equal(table, stored[f"{CLIP_L}embeddings.token_embedding.weight"].float())
    for network in (model.unet, clip.network, clip.larger, vae.network):
        assert {each.device.type for each in (*network.parameters(), *network.buffers())} == {"cpu"}
    assert (model.family.is_sdxl, model.family.tokens, model.latent_scale) == (True, 192, 0.13025)


def test_of_what_is_read_one_layer_at_a_time_is_held_beside_the_networks(checkpoint, tokenizer, monkeypatch):
    read, given = WeightFile._read, []
    most = 0

    def watched(file, keys):
        nonlocal most
        for key, tensor in read(file, keys):
            given.append(weakref.ref(tensor))
            most = max(most, sum(each() is not None for each in given))
            yield key, tensor
            del tensor

    monkeypatch.setattr(WeightFile, "_read", watched)
    load_checkpoint(checkpoint, tokenizer, CPU)
    assert len(given) > 500
    assert most <= 13  # of OpenCLIP's layer, and the one that comes


@pytest.mark.parametrize(
    ("marks", "prediction", "schedule"),
    [
        ((), "eps", BetaSchedule("linear")),
        (("v_pred",), "v", BetaSchedule("linear")),
        (("v_pred", "ztsnr"), "v", ZeroTerminalSNR()),
    ],
)
def test_how_it_was_trained_is_told_by_the_file(tokenizer, tmp_path, marks, prediction, schedule):
    path = write_sdxl(tmp_path / "marked.safetensors", marks=marks)
    assert load_checkpoint(path, tokenizer, CPU)[0].sampling == Sampling(prediction, schedule)


def test_a_schedule_without_signal_at_its_end_is_diffusers():
    theirs = 1 - rescale_zero_terminal_snr(STABLE_DIFFUSION.betas())
    kept = ZeroTerminalSNR().alphas_cumprod()
    assert torch.allclose(kept[:-1], torch.cumprod(theirs, 0)[:-1], atol=1e-12)
    assert float(ZeroTerminalSNR().sigmas()[-1]) == pytest.approx(4518.76, abs=0.01)


def without(state, *prefixes):
    return {key: value for key, value in state.items() if not key.startswith(prefixes)}


def of_depths(state, depths):
    """With other blocks on the UNet's way down: the depth of the transformer of each by its number."""
    kept = without(state, *(f"{UNET}input_blocks.{block}." for block in range(1, 9)))
    names = [
        f"{UNET}input_blocks.{block}.{name}.weight"
        for block, depth in depths.items()
        for name in ("0.in_layers.0", *(f"1.transformer_blocks.{each}.norm1" for each in range(depth)))
    ]
    return kept | {name: torch.zeros(1) for name in names}


def renamed(state, old, new):
    return {key.replace(old, new): value for key, value in state.items()}


C_FC = f"{CLIP_G}transformer.resblocks.1.mlp.c_fc.weight"
WRONG = {
    "the refiner": (
        lambda state: renamed(without(state, "conditioner.embedders.0."), "embedders.1.", "embedders.0."),
        "SDXL's refiner, which is not built headless.*choose SDXL's base",
    ),
    "Segmind-Vega": (
        lambda state: of_depths(state, {1: 0, 2: 0, 4: 1, 5: 1, 7: 2, 8: 2}),
        "is Segmind-Vega, which is not built headless.*run the workflow in ComfyUI",
    ),
    "KOALA": (lambda state: of_depths(state, {1: 0, 3: 2, 5: 5}), "is KOALA-700M, which is not built headless"),
    "Playground": (lambda state: state | {"edm_mean": torch.zeros(4)}, r"is Playground v2.5 \(EDM\), which is not"),
    "CosXL": (lambda state: state | {"edm_vpred.sigma_max": torch.ones(1)}, "is CosXL, or another"),
    "without CLIP-L": (
        lambda state: without(state, "conditioner.embedders.0."),
        "lacks conditioner.embedders.0.transformer.embeddings.token_embedding.weight.*both text encoders",
    ),
    "without CLIP-G": (
        lambda state: without(state, "conditioner.embedders.1."),
        "lacks conditioner.embedders.1.model.token_embedding.weight.*both text encoders",
    ),
    "a layer of CLIP-G cut": (
        lambda state: without(state, C_FC),
        r"makes nothing of OpenCLIP's text_model.encoder.layers.1.mlp.fc1.weight .*, one of 1 tensors",
    ),
    "a narrower layer of CLIP-G": (
        lambda state: state | {C_FC: state[C_FC][:, :32].contiguous()},
        r"makes \(512, 32\) of OpenCLIP's text_model.encoder.layers.1.mlp.fc1.weight",
    ),
    "encoders of another model": (
        lambda state: state | {f"{UNET}label_emb.0.0.weight": torch.zeros(128, 2816)},
        "has 4 input channels, text width 192 and 2816 numbers beside it, with encoders of 64 and 128",
    ),
    "inpainting": (
        lambda state: state | {f"{UNET}input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3)},
        "has 9 input channels.*expected SDXL",
    ),
    "a key too many": (lambda state: state | {f"{UNET}out.2.bias.x": torch.zeros(4)}, "holds .*out.2.bias.x"),
}  # fmt: skip


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_checkpoints_are_named(stored, tokenizer, tmp_path, fault):
    change, message = WRONG[fault]
    path = tmp_path / "wrong.safetensors"
    save_file(change(stored), path)
    with pytest.raises(
        CheckpointError, match=f"wrong.safetensors.*{message}" if fault != "the refiner" else message
    ):
        load_checkpoint(path, tokenizer, CPU)


def test_openclip_reads_zeros_behind_the_end_and_the_last_layer_but_one(sdxl):
    _, clip, _ = sdxl
    ids = [token.id for token in clip.tokenizer.chunks("a red circle")[0]]
    end = ids.index(clip.tokenizer.end)
    with torch.no_grad():
        large = clip.larger(torch.tensor([ids[: end + 1] + [0] * (76 - end)]), output_hidden_states=True)
        small = clip.network(torch.tensor([ids]), output_hidden_states=True)
    tokens, pooled = encode_prompt(clip, "a red circle")
    assert torch.allclose(
        tokens, torch.cat([small.hidden_states[-2], large.hidden_states[-2]], -1), atol=1e-5
    )
    assert torch.allclose(pooled, large.text_embeds, atol=1e-5)


def test_a_prompt_for_each_encoder_is_that_encoders(sdxl):
    _, clip, _ = sdxl
    prompts = {"text_g": "a circle", "text_l": "on navy, " * 40}
    [[tokens, options]] = CLIPTextEncodeSDXL.execute(clip, 64, 32, 0, 0, 64, 32, **prompts)[0]
    assert (options["width"], tokens.shape[1]) == (64, 77 * len(clip.tokenizer.chunks("on navy, " * 40)))
    smaller, (larger, pooled) = encode_prompt(clip, "on navy, " * 40)[0], encode_prompt(clip, "a circle")
    assert torch.allclose(tokens[..., :64], smaller[..., :64], atol=1e-5)
    assert torch.allclose(tokens[:, :77, 64:], larger[..., 64:], atol=1e-5)
    assert torch.allclose(options["pooled_output"], pooled, atol=1e-5)


def test_the_two_prompts_of_sdxl_are_refused_by_one_encoder(tmp_path):
    _, clip, _ = load_random(tmp_path / "sd15.safetensors", NARROW)
    with pytest.raises(
        ValueError, match=r"got the text encoder of Stable Diffusion 1.x.*expected SDXL's two"
    ):
        encode_two(clip, "a", "b")


def test_prompts_of_another_models_encoder_are_named(sdxl):
    model = sdxl[0]
    for tokens, options, message in (
        (64, {}, "got prompts whose tokens are 64 wide; expected 192"),
        (192, {}, "got no pooled text; expected 128, as SDXL reads it"),
        (192, {"pooled_output": torch.zeros(1, 64)}, "got pooled text 64 wide; expected 128"),
    ):
        side = [[torch.zeros(1, 77, tokens), options]]
        with pytest.raises(ValueError, match=message):
            draw_clip(model, CFG(side, side, 1.0))


def test_what_is_asked_in_a_conditions_place_has_its_own_pooled_text_and_the_pictures_sizes(sdxl):
    options = {"pooled_output": torch.ones(1, 128), "width": 512, "crop_h": 3}
    side = [[torch.zeros(1, 77, 192), options]]
    [asked] = RunConditions({"positive": side}, sdxl[0], torch.Size([2, 4, 8, 16])).at(1.0)
    told = torch.tensor([[64.0, 512, 3, 0, 64, 512]])  # height of the latents, the rest as it is given
    tokens, pooled = torch.ones(1, 77, 192), torch.full((1, 128), 2.0)
    others = asked.variant(0, Question(tokens, {}, pooled)), asked.variant(0, Question(tokens, {}))
    first, own, same = (each.added for each in (asked, *others))
    assert first is not None
    assert own is not None
    assert same is not None
    assert torch.equal(first, torch.cat([torch.ones(1, 128), told], 1))
    assert torch.equal(own, torch.cat([pooled, told], 1))
    assert torch.equal(same, first)


def test_pooled_text_of_each_frame_goes_to_its_frame(sdxl):
    tokens, pooled = torch.randn(2, 77, 192), torch.randn(2, 128)
    each = [
        draw_clip(sdxl[0], CFG(side, side, 1.0), frames=2, steps=1)
        for side in ([[tokens, {"pooled_output": pooled}]], [[tokens, {"pooled_output": pooled[:1]}]])
    ]
    assert torch.allclose(each[0][0], each[1][0], atol=1e-4)
    assert not torch.allclose(each[0][1], each[1][1], atol=1e-2)


@pytest.fixture(scope="module")
def reference():
    return tiny_sdxl.reference()


@pytest.fixture(scope="module")
def known(reference):
    """SDXL of the reference's weights, and what it is asked there."""
    unet = build_unet(tiny_sdxl.SIZE, reference["pooled"].shape[1]).eval()
    state = unet.state_dict()
    unet.load_state_dict({key: reference[f"unet.{key}"].reshape(value.shape) for key, value in state.items()})
    model = Model(share_tokens(unet), tiny_sdxl.SIZE, Sampling("eps", STABLE_DIFFUSION), 0.13025)
    names = ("height", "width", "crop_h", "crop_w", "target_height", "target_width")
    told = dict(zip(names, tiny_sdxl.PICTURE, strict=True))
    return model, [[reference["tokens"], {"pooled_output": reference["pooled"], **told}]]


def answer(port, known, reference, model):
    """What the UNet says of the reference's input at timestep 500."""
    conditioning, sigma = known[1], known[0].sampling.sigma(500)
    noisy = reference["noisy"] * (sigma**2 + 1) ** 0.5
    clean = port.predict(model, conditioning, {"samples": noisy / model.latent_scale}, sigma)
    return (noisy - clean * model.latent_scale) / sigma


def apart(one, other):
    return float((one - other).abs().max() / other.abs().max())


def test_a_still_answer_is_diffusers(port, known, reference):
    assert apart(answer(port, known, reference, known[0]), reference["still"]) < 1e-4


@pytest.mark.parametrize("kind", ["animatediff_sdxl", "hotshotxl"])
def test_a_moving_answer_is_diffusers(port, known, reference, tmp_path, kind):
    state = {key[7:]: value.clone() for key, value in reference.items() if key.startswith("motion.")}
    path = tmp_path / f"{kind}.safetensors"
    save_file(as_hotshot(state) if kind == "hotshotxl" else state, path)
    module = port.load_motion(read_motion_weights(path))
    moving = port.install(known[0], motion_edit("motion module", module))
    assert apart(answer(port, known, reference, moving), reference[kind]) < 1e-4
    assert apart(reference[kind], reference["still"]) > 0.01
