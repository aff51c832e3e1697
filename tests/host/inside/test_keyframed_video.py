"""Keyframed Video on small random models of video and VAEs of core's own classes, given their ends by core's nodes."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import comfy.clip_vision
import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_lt import EmptyLTXVLatentVideo, LTXVAddGuide, LTXVCropGuides
from comfy_extras.nodes_wan import WanFirstLastFrameToVideo, WanVaceToVideo
from frameloom.models.long_video.keyframed import KeyframedPlan, job_noise
from frameloom.models.network.time_law import TimeLaw
from frameloom.tests.host.inside.tiny_models import WAN, build, build_of
from frameloom.tests.host.inside.video import stride_of, with_mask
from frameloom.tests.host.inside.video_files import ltx_vae, wan_vae

import nodes

FLF, VACE, LTX = "Wan, image to video", "Wan VACE", "LTX-Video"
TAKEN = [FLF, VACE, LTX]
SIZE = 64, 96
SAMPLING = {"seed": 3, "steps": 2, "cfg": 2.0, "sampler_name": "euler", "scheduler": "simple"}


@pytest.fixture(scope="module", autouse=True)
def registered(port):
    """Core's nodes that give ends, as a server has them."""
    extras = Path(os.environ["FRAMELOOM_INSIDE"]) / "comfy_extras"
    for name in ("nodes_wan.py", "nodes_lt.py"):
        assert asyncio.run(nodes.load_custom_node(str(extras / name), module_parent="comfy_extras"))


@pytest.fixture(scope="module")
def vaes():
    with torch.inference_mode():
        wan, ltx = wan_vae(), ltx_vae()
    return {FLF: wan, VACE: wan, LTX: ltx}


@pytest.fixture
def user_folder(port, tmp_path, monkeypatch):
    monkeypatch.setattr(type(port), "user_dir", lambda self: tmp_path)
    return tmp_path / "keyframed_video"


@pytest.fixture
def draw(port, demo, vaes, user_folder):
    """Run the node."""
    from frameloom.nodes.long_video.keyframed_video import KeyframedVideo

    def run(family, model=None, text="a red circle", **changes):
        positive, negative = (with_mask(port.encode_text(demo[1], each)[0], family) for each in (text, ""))
        given = {
            "vae": vaes.get(family), "positive": positive, "negative": negative, "keyframes": keyframes(),
            "length": stride_of(family) + 1,
        }  # fmt: skip
        return KeyframedVideo.execute(model or build(family), **(given | SAMPLING | changes))[0]

    return run


def keyframes(count=4, seed=0, size=SIZE):
    return torch.rand(count, *size, 3, generator=torch.Generator().manual_seed(seed))


def clips(folder):
    return sorted(folder.glob("*/clip-*"))


@pytest.mark.parametrize("family", TAKEN)
def test_keyframes_stay_bit_for_bit_and_neighbours_share_one(draw, family):
    given, stride = keyframes(), stride_of(family)
    video = draw(family, keyframes=given)
    assert video.shape == (3 * stride + 1, *SIZE, 3)
    assert torch.equal(video[::stride], given)
    assert len({frame.numpy().tobytes() for frame in video}) == len(video)
    assert video.min() >= 0
    assert video.max() <= 1


def by_core(family, model, vae, positive, negative, ends, length, noise_of, port, **views):
    """Return a clip that core's own nodes and sampler make of two pictures."""
    height, width = SIZE
    if family == LTX:
        (latent,) = EmptyLTXVLatentVideo.execute(width, height, length).args
        given = positive, negative, latent
        for frame in (0, length - 1):
            picture = ends[:1] if frame == 0 else ends[1:]
            given = LTXVAddGuide.execute(given[0], given[1], vae, given[2], picture, frame, 1.0).args
    elif family == FLF:
        given = WanFirstLastFrameToVideo.execute(
            positive,
            negative,
            vae,
            width,
            height,
            length,
            1,
            start_image=ends[:1],
            end_image=ends[1:],
            **views,
        ).args
    else:
        control = torch.full((length, *SIZE, 3), 0.5)
        control[0], control[-1] = ends
        mask = torch.ones(length, *SIZE)
        mask[0] = mask[-1] = 0
        given = WanVaceToVideo.execute(
            positive, negative, vae, width, height, length, 1, 1.0, control_video=control, control_masks=mask
        ).args[:3]
    positive, negative, latent = given
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(SAMPLING["cfg"])
    samples = guider.sample(
        noise_of(latent["samples"].shape), latent["samples"], comfy.samplers.sampler_object("euler"),
        port.sigmas(model, 2, "simple"), denoise_mask=latent.get("noise_mask"), seed=0, disable_pbar=True,
    )  # fmt: skip
    if family == LTX:
        samples = LTXVCropGuides.execute(positive, negative, {**latent, "samples": samples}).args[2][
            "samples"
        ]
    return vae.decode(samples)[0]


@pytest.mark.parametrize("family", [FLF, VACE])
def test_a_clip_is_what_cores_own_nodes_make_of_its_two_keyframes(port, demo, draw, vaes, family):
    given, length, model = keyframes(), 9, build(family)
    sides = [with_mask(port.encode_text(demo[1], text)[0], family) for text in ("a red circle", "")]
    video = draw(family, model, keyframes=given, length=length)
    for job in KeyframedPlan(4, length, TimeLaw(4)).jobs:
        clip = by_core(
            family, model, vaes[family], *sides, given[job.keyframes], length,
            lambda shape, job=job: job_noise(SAMPLING["seed"], job, shape), port,
        )  # fmt: skip
        torch.testing.assert_close(video[job.frames[1] : job.frames[-1]], clip[1:-1], rtol=0, atol=1e-5)


def test_a_clip_of_ltx_is_what_cores_own_nodes_make_but_for_its_decoders_noise(
    port, demo, draw, vaes, user_folder
):
    given, length, model = keyframes(), 17, build(LTX)
    sides = [with_mask(port.encode_text(demo[1], text)[0], LTX) for text in ("a red circle", "")]
    vae = vaes[LTX]
    before = vae.first_stage_model.decode_noise_scale
    vae.first_stage_model.decode_noise_scale = 0.0
    try:
        video = draw(LTX, model, keyframes=given, length=length)
        for job in KeyframedPlan(4, length, TimeLaw(8)).jobs:
            clip = by_core(
                LTX, model, vae, *sides, given[job.keyframes], length,
                lambda shape, job=job: job_noise(SAMPLING["seed"], job, shape), port,
            )  # fmt: skip
            torch.testing.assert_close(video[job.frames[1] : job.frames[-1]], clip[1:-1], rtol=0, atol=1e-5)
    finally:
        vae.first_stage_model.decode_noise_scale = before


@pytest.mark.parametrize("family", TAKEN)
def test_both_keyframes_reach_what_is_between_and_no_other_does(draw, family):
    given, stride = keyframes(), stride_of(family)
    video = draw(family, keyframes=given)
    for place in range(4):
        other = given.clone()
        other[place] = 1 - other[place]
        changed = draw(family, keyframes=other) != video
        touched = {index for index in range(3) if changed[index * stride + 1 : (index + 1) * stride].any()}
        assert touched == {index for index in (place - 1, place) if 0 <= index < 3}


@pytest.mark.parametrize("family", TAKEN)
def test_any_order_of_jobs_makes_the_same_bits_and_leaves_torchs_noise_alone(draw, user_folder, family):
    """A clip that is taken away is drawn last, after the others, with another state of torch's generator."""
    wanted = draw(family)
    for index in range(3):
        clips(user_folder)[index].unlink()
        torch.manual_seed(index)
        before = torch.random.get_rng_state()
        assert torch.equal(draw(family), wanted)
        assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("family", TAKEN)
def test_parts_are_the_whole_bit_for_bit_and_each_finds_what_the_other_finished(draw, user_folder, family):
    given, stride = keyframes(), stride_of(family)
    parts = [draw(family, keyframes=given[place : place + 2], first_clip=place) for place in range(3)]
    kept = {path: path.stat().st_mtime_ns for path in clips(user_folder)}
    for path in kept:
        path.rename(path.with_suffix(".aside"))
    whole = draw(family, keyframes=given)
    assert torch.equal(torch.cat([parts[0], *(part[1:] for part in parts[1:])]), whole)
    assert {path.name for path in clips(user_folder)} >= {path.name for path in kept}
    assert len(list(user_folder.iterdir())) == 1
    now = {path: path.stat().st_mtime_ns for path in kept}
    assert torch.equal(draw(family, keyframes=given[1:3], first_clip=1), parts[1])
    assert now == {path: path.stat().st_mtime_ns for path in kept}
    other = draw(family, keyframes=given[1:3])
    assert not torch.equal(other[1:-1], whole[stride + 1 : 2 * stride])


def test_a_run_that_is_stopped_goes_on_and_draws_only_what_is_missing(
    port, core, draw, user_folder, tmp_path, monkeypatch
):
    """By core's own cancel button, between two clips."""
    wanted = draw(FLF)
    for path in clips(user_folder):
        path.unlink()
    real = type(port).check_interrupt

    def check(self):
        if len(clips(user_folder)) == 2:
            core.cancel()
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(type(port), "check_interrupt", check)
        with pytest.raises(core.cancelled):
            draw(FLF)
    kept = {path: path.stat().st_mtime_ns for path in clips(user_folder)}
    assert len(kept) == 2
    assert torch.equal(draw(FLF), wanted)
    assert len(clips(user_folder)) == 3
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_another_question_or_model_has_a_folder_of_its_own(draw, user_folder):
    model, other = build(FLF), build(FLF)
    for value in other.model.diffusion_model.parameters():
        value.mul_(1.1)
    pair = {"low_noise_model": other, "switch_step": 1}
    changes = [
        {}, {"text": "a blue cross"}, {"seed": 4}, {"cfg": 3.0}, {"steps": 3}, {"length": 9}, {"scheduler": "normal"},
        {"sampler_name": "uni_pc"}, {"model": other}, {"keyframes": keyframes(size=(32, 32))}, pair,
        pair | {"low_noise_model": model},
    ]  # fmt: skip
    for number, change in enumerate(changes, 1):
        draw(FLF, **({"model": model} | change))
        assert len(list(user_folder.iterdir())) == number, change
    draw(FLF, model=model, keyframes=keyframes(5, seed=1))
    assert len(list(user_folder.iterdir())) == len(changes)


def test_a_pair_of_models_takes_the_steps_as_one_where_they_are_the_same(draw):
    """Flow models: what the first leaves at a noise level is handed over without more noise."""
    model, other = build(FLF), build(FLF)
    for value in other.model.diffusion_model.parameters():
        value.mul_(1.5)
    settings = {"steps": 4, "scheduler": "simple"}
    alone = draw(FLF, model, **settings)
    pair = draw(FLF, model, low_noise_model=model, switch_step=2, **settings)
    torch.testing.assert_close(pair, alone, rtol=0, atol=2e-4)
    assert (draw(FLF, model, low_noise_model=other, switch_step=2, **settings) - alone).abs().max() > 1e-3


REFUSED = {
    "a length": ({"length": 8}, r"length=8; expected .*4 n \+ 1 frames: 5 or 9 is nearest"),
    "a width": (
        {"keyframes": keyframes(size=(32, 40))},
        r"keyframes: got pictures of 40 x 32; expected sides that 16 divides.*to (32|48) x 32 say",
    ),
    "one picture": ({"keyframes": keyframes(1)}, r"keyframes: got 1; expected 2 or more"),
    "no number": ({"keyframes": keyframes() / 0}, r"keyframes: got NaN or infinity in 4 of 4 frames"),
    "the step": (
        {"low_noise_model": True, "switch_step": 2},
        r"switch_step=2; expected 1 to 1, so that both",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_before_anything_is_sampled(draw, user_folder, case):
    change, said = REFUSED[case]
    if change.get("low_noise_model"):
        change = change | {"low_noise_model": build(FLF)}
    with pytest.raises(Exception, match=said):
        draw(FLF, **change)
    assert not user_folder.exists()


def test_ltx_has_lengths_and_sides_of_its_own(draw):
    with pytest.raises(ValueError, match=r"length=13; expected .*8 n \+ 1 frames: 9 or 17 is nearest"):
        draw(LTX, length=13)
    with pytest.raises(
        ValueError, match=r"pictures of 48 x 32; expected sides that 32 divides, as LTX-Video"
    ):
        draw(LTX, keyframes=keyframes(size=(32, 48)))


@pytest.mark.parametrize(
    ("family", "said"),
    [
        (
            "Wan",
            "got Wan, which was trained for text to video, and takes no picture; expected .*FLF2V.*; load",
        ),
        ("Wan 2.2 5B", "got Wan 2.2 5B, which takes a first picture and no last one; expected"),
        ("HunyuanVideo", "got HunyuanVideo, which is not known here to take a first and a last"),
        ("CogVideoX", "got CogVideoX, which is not known"),
        ("SDXL", "got SDXL, which is not known .*; use Nuwa Interpolate with this one, or load"),
    ],
)
def test_families_without_ends_are_refused_by_name(draw, vaes, family, said):
    with pytest.raises(ValueError, match=f"model: {said}"):
        draw(FLF, build(family))


def test_parts_of_another_model_are_refused(draw, vaes, demo):
    expected = "expected one for Wan, which makes video, of 16; load"
    with pytest.raises(ValueError, match=rf"vae: got LTX, which makes video, of 128 channels; {expected}"):
        draw(FLF, vae=vaes[LTX])
    with pytest.raises(ValueError, match=rf"vae: got .*, which makes pictures, of 4 channels; {expected}"):
        draw(FLF, vae=demo[2])
    with pytest.raises(
        ValueError, match=r"low_noise_model: got LTX-Video beside Wan; expected two models of one"
    ):
        draw(FLF, low_noise_model=build(LTX))


def test_a_model_that_reads_what_clip_sees_wants_clip_vision(draw):
    model = build_of("WAN21_I2V", WAN | {"in_dim": 36, "model_type": "i2v"})
    with pytest.raises(
        ValueError, match=r"clip_vision: got none; .*; connect core's Load CLIP Vision with clip_v"
    ):
        draw(FLF, model)


@pytest.fixture(scope="module")
def clip_vision(tmp_path_factory):
    """A CLIP of the width that Wan reads, of two small layers."""
    sizes = {
        "hidden_act": "quick_gelu", "hidden_size": 1280, "image_size": 28, "intermediate_size": 16, "patch_size": 14,
        "layer_norm_eps": 1e-5, "num_attention_heads": 16, "num_channels": 3, "num_hidden_layers": 2,
        "projection_dim": 8, "model_type": "clip_vision_model",
    }  # fmt: skip
    path = tmp_path_factory.mktemp("clip") / "sizes.json"
    path.write_text(json.dumps(sizes))
    clip = comfy.clip_vision.ClipVisionModel(str(path))
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for value in clip.model.parameters():
            value.copy_(0.05 * torch.randn(value.shape, generator=generator))
    return clip


@pytest.mark.parametrize("places", [("start",), ("start", "end")], ids=["image to video", "FLF2V"])
def test_wan_of_before_reads_what_clip_sees_in_its_pictures(port, demo, draw, vaes, clip_vision, places):
    both = {"flf_pos_embed_token_number": 10} if len(places) == 2 else {}
    model = build_of("WAN21_I2V", WAN | {"in_dim": 36, "model_type": "i2v"} | both)
    given = keyframes(2)
    sides = [port.encode_text(demo[1], text)[0] for text in ("a red circle", "")]
    video = draw(FLF, model, keyframes=given, clip_vision=clip_vision)
    (job,) = KeyframedPlan(2, 5, TimeLaw(4)).jobs
    views = {
        f"clip_vision_{place}_image": clip_vision.encode_image(given[[number]], crop=False)
        for number, place in enumerate(places)
    }
    seen, unseen = (
        by_core(
            FLF,
            model,
            vaes[FLF],
            *sides,
            given,
            5,
            lambda shape: job_noise(SAMPLING["seed"], job, shape),
            port,
            **each,
        )
        for each in (views, {})
    )
    torch.testing.assert_close(video[1:-1], seen[1:-1], rtol=0, atol=1e-5)
    assert (seen - unseen).abs().max() > 1e-3
