"""Text2Video-Zero's nodes on the headless host: what the technique promises, and what a wrong input is told."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.video.noise import draw_noise
from frameloom.models.zero_shot.motion_path import translation
from frameloom.tests.support.layout import lay_out

STEPS = 8
EMPTY = {"samples": torch.zeros(1, 4, 16, 16)}
SIZES = {"width": 128, "height": 128}


@pytest.fixture
def demo(nodes):
    return nodes["DemoModelLoader"].execute()


@pytest.fixture
def prompts(host, demo):
    return [
        host.encode_text(demo[1], text)[0] for text in ("a big red circle on a navy background", "no circle")
    ]


@pytest.fixture
def draw(nodes, demo, prompts):
    """The sampler node, with its settings replaced at will."""

    def run(path, model=None, latent=EMPTY, positive=None, **settings):
        defaults = {
            "seed": 5,
            "steps": STEPS,
            "cfg": 3.0,
            "sampler_name": "ddim",
            "scheduler": "normal",
            "t0": 640.0,
            "t1": 720.0,
            "level_unit": "timestep",
            "chunk_size": 0,
        }
        out = nodes["ZeroShotSampler"].execute(
            model or demo[0], positive or prompts[0], prompts[1], latent, path, **(defaults | settings)
        )
        return out[0]["samples"]

    return run


@pytest.fixture
def plain(host, demo, prompts):
    """The whole schedule for one frame, from the sampler node's start noise."""
    sigmas = host.sigmas(demo[0], STEPS, "normal")
    noise = draw_noise(5, [0], (4, 16, 16))
    return host.sample(demo[0], *prompts, EMPTY, noise=noise, sigmas=sigmas, sampler="ddim", cfg=3.0)[
        "samples"
    ]


def close(one, other):
    assert float((one - other).norm() / other.norm()) <= 1e-5


def away(one, other):
    assert float((one - other).norm() / other.norm()) > 1e-2


def test_one_frame_is_plain_sampling(draw, plain):
    close(draw(translation(1, 12, 12)), plain)


@pytest.mark.parametrize("sampler", ["ddim", "euler"])
def test_the_first_frame_is_the_picture_alone_and_others_are_not(draw, plain, sampler):
    frames = draw(translation(4, -30, 12), sampler_name=sampler)
    close(frames[:1], plain)
    for frame in frames[1:]:
        away(frame, frames[0])


def test_other_frames_never_change_the_first_nor_each_other(draw):
    one, other = draw(translation(4, 30, 0)), draw(translation(4, -30, 0))
    close(one[0], other[0])
    away(one[1], other[1])
    close(draw(translation(3, 30, 0)), one[:3])


def test_chunks_change_nothing(draw):
    path = translation(6, -30, 12)
    whole = draw(path)
    for size in (2, 3, 6, 9):
        close(draw(path, chunk_size=size), whole)


def test_layouts_are_for_all_frames_at_once(host, demo, draw):
    laid_out = lay_out(host, demo[1], frames=4)
    with pytest.raises(ValueError, match=r"positive: got a layout.* and 2 chunks.*set chunk_size to 0"):
        draw(translation(4, 30, 0), positive=laid_out, chunk_size=3)
    assert len(draw(translation(4, 30, 0), positive=laid_out, chunk_size=4)) == 4


@pytest.mark.parametrize("rows", [3, 5])
def test_what_is_for_each_frame_is_for_as_many_as_the_path_has(draw, prompts, rows):
    tokens, options = prompts[0][0]
    for positive, what in (
        ([[tokens.expand(rows, -1, -1), options]], "prompts"),
        ([[tokens, options | {"mask": torch.ones(rows, 16, 16)}]], "masks"),
    ):
        with pytest.raises(ValueError, match=f"positive: got {what} for {rows} frames, the path has 4"):
            draw(translation(4, 30, 0), positive=positive)
    each = [[tokens.expand(4, -1, -1), options | {"mask": torch.ones(4, 16, 16)}]]
    close(draw(translation(4, 30, 0), positive=each), draw(translation(4, 30, 0)))


def test_levels_in_percent_are_the_same_levels(draw):
    path = translation(3, 30, 0)
    as_percent = {"t0": 1 - 640 / 999, "t1": 1 - 720 / 999, "level_unit": "percent"}
    assert torch.equal(draw(path, **as_percent), draw(path))


@pytest.mark.parametrize("is_smoothed", [False, True])
def test_small_nodes_make_what_the_sampler_makes(nodes, host, demo, prompts, draw, is_smoothed):
    path = nodes["MotionPath"].execute(
        kind="translation",
        frames=4,
        motion_field_strength_x=-30.0,
        motion_field_strength_y=12.0,
        canvas="512 x 512 (paper)",
        move_right=0.0,
        move_down=0.0,
        zoom=1.0,
        angle=0.0,
        keyframes="",
        **SIZES,
    )[0]
    crossed = cross(nodes, demo[0])
    sigmas = host.sigmas(crossed, STEPS, "normal")

    def sample(latent, levels, noise=None):
        noise = torch.zeros_like(latent["samples"]) if noise is None else noise
        return host.sample(crossed, *prompts, latent, noise=noise, sigmas=levels, sampler="ddim", cfg=3.0)

    at_t1 = sample(EMPTY, sigmas[:3], draw_noise(5, [0], (4, 16, 16)))  # t1 = 720 is nearest to step 2
    at_t0 = sample(at_t1, sigmas[2:4])
    frames = nodes["NoiseWarp"].execute(demo[0], at_t0, path, sigmas[2:4], 5, at_t1)[0]
    mask = torch.zeros(4, 128, 128)
    mask[:, 32:96, 32:96] = 1
    if is_smoothed:
        frames = nodes["BackgroundSmooth"].execute(frames, mask, path, 0.4)[0]
    wanted = draw(path, mask=mask, keep=0.4) if is_smoothed else draw(path)
    close(sample(frames, sigmas[2:])["samples"], wanted)


def test_smoothing_changes_the_video(draw):
    path = translation(4, -30, 12)
    away(draw(path, mask=torch.zeros(4, 16, 16), keep=0.0)[1], draw(path)[1])
    close(draw(path, mask=torch.ones(4, 16, 16), keep=0.0), draw(path))


def test_a_path_that_stands_still_differs_by_noise_alone(nodes, demo):
    x = {"samples": torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))}
    sigmas = torch.tensor([10.4, 7.5])
    frames = nodes["NoiseWarp"].execute(demo[0], x, translation(4, 0, 0), sigmas, 7)[0]["samples"]
    grown = (10.4**2 - 7.5**2) ** 0.5 / demo[0].latent_scale
    noise = draw_noise(7, range(4), (4, 16, 16))
    torch.testing.assert_close(frames, x["samples"] + noise * grown, rtol=1e-5, atol=1e-5)


def cross(nodes, model, **settings):
    defaults = {
        "anchor": "first",
        "frame": 0,
        "strength": 1.0,
        "start_percent": 0.0,
        "end_percent": 1.0,
        "levels": "0, 1, 2, 3",
    }
    return nodes["CrossFrameAttnPatch"].execute(model, **(defaults | settings))[0]


def test_strength_0_is_the_model_itself(nodes, demo):
    assert cross(nodes, demo[0], strength=0.0) is demo[0]


def test_settings_reach_the_edit(nodes, demo):
    edit = cross(
        nodes, demo[0], anchor="chosen frame", frame=2, strength=0.5, end_percent=0.5, levels="1, 3",
        in_controlnet=False,
    ).edits[-1].self_attention  # fmt: skip
    assert (edit.anchor, edit.frame, edit.strength, edit.end_percent) == ("chosen frame", 2, 0.5, 0.5)
    assert (edit.levels, edit.in_control) == ({1, 3}, False)
    assert demo[0].edits == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": "0, 4"}, "4"),
        ({"levels": ""}, "levels"),
        ({"start_percent": 0.6, "end_percent": 0.4}, r"start_percent=0.6 is after end_percent=0.4"),
    ],
)
def test_wrong_settings_of_cross_frame_attention_are_named(nodes, demo, settings, message):
    with pytest.raises(ValueError, match=message):
        cross(nodes, demo[0], **settings)
    assert demo[0].edits == ()


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler_ancestral", "uni_pc"])
def test_samplers_with_memory_or_noise_are_refused_by_name(nodes, sampler):
    answer = nodes["ZeroShotSampler"].validate_inputs(sampler_name=sampler)
    assert sampler in answer
    assert "ddim, euler" in answer
    assert nodes["ZeroShotSampler"].validate_inputs(sampler_name="euler") is True
    assert nodes["ZeroShotSampler"].validate_inputs(sampler_name=None) is True  # comes by a link


NAN = {"samples": torch.full((1, 4, 16, 16), float("nan"))}
MASKED = EMPTY | {"noise_mask": torch.ones(1, 128, 128)}
WRONG = {
    "t0 = t1": ({"t0": 720.0}, r"t0=720 is not below t1=720 in noise.*exchange them"),
    "t0 > t1": ({"t0": 900.0}, r"t0=900 is not below t1=720 in noise.*exchange them"),
    "t1 at the start": ({"t1": 999.0}, r"nearest to steps 0 and . of .*; .*t1 lower"),
    "too few steps": ({"steps": 2}, r"nearest to steps . and . of 2; .*raise steps"),
    "percent over 1": ({"level_unit": "percent"}, r"t=640 is more than 1 with level_unit='percent'"),
    "several frames": ({"latent": {"samples": torch.zeros(2, 4, 16, 16)}}, r"latent is \(2, 4, 16, 16\)"),
    "video latent": (
        {"latent": {"samples": torch.zeros(1, 4, 8, 16, 16)}},
        r"one of a video model, \[1, 4, 8, 16, 16\]",
    ),
    "noise mask": ({"latent": MASKED}, r"latent is \(1, 4, 16, 16\) with a noise mask"),
    "NaN": ({"latent": NAN}, r"latent holds NaN or infinity"),
    "mask": ({"mask": torch.zeros(3, 16, 16)}, r"mask has 3 frames, the video has 4"),
    "sampler by a link": ({"sampler_name": "dpmpp_2m"}, r"sampler_name='dpmpp_2m' remembers earlier steps"),
    "chunk of one": ({"chunk_size": 1}, r"chunk_size=1 holds the first frame alone"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_input_is_named_before_anything_is_sampled(host, demo, draw, monkeypatch, case):
    monkeypatch.setattr(type(host), "sample", lambda *_, **__: pytest.fail("it sampled"))
    settings, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        draw(translation(4, 30, 0), **settings)
    assert demo[0].edits == ()


class Away(torch.Tensor):
    """What lies on the compute device, where a machine has only one, until it is moved to a device by name."""

    def to(self, *args, **kwargs):
        moved = super().to(*args, **kwargs)
        return moved.as_subclass(torch.Tensor) if isinstance(args[0], torch.device) else moved


def test_a_video_lies_where_its_latent_lay(host, draw, monkeypatch):
    """ComfyUI's sampler leaves what it makes on the compute device."""
    sample, path = type(host).sample, translation(3, 30, 0)
    here = draw(path)

    def leaving(*args, **settings):
        out = sample(*args, **settings)
        return out | {"samples": out["samples"].as_subclass(Away)}

    monkeypatch.setattr(type(host), "sample", leaving)
    brought = draw(path)
    assert type(brought) is torch.Tensor
    assert torch.equal(brought, here)


PICKED = EMPTY | {"batch_index": [2], "kept": True}  # a picture from Latent From Batch


def test_a_video_does_not_say_of_itself_what_the_picture_said(nodes, host, demo, prompts):
    path, levels = translation(3, 30, 0), torch.tensor([10.0, 7.0])
    warped = nodes["NoiseWarp"].execute(
        demo[0], PICKED | {"noise_mask": MASKED["noise_mask"]}, path, levels, 1
    )[0]
    drawn = nodes["ZeroShotSampler"].execute(
        demo[0], *prompts, PICKED, path, 5, STEPS, 3.0, "ddim", "normal", 640.0, 720.0, "timestep", 0
    )[0]
    for video in (warped, drawn):
        assert set(video) == {"samples", "kept"}
        assert len(nodes["VideoNoise"].execute(7, "mixed", 0.4)[0].generate_noise(video)) == 3


@pytest.mark.parametrize(
    ("latent", "levels", "first", "message"),
    [
        (NAN, [10.0, 7.0], None, "latent holds NaN or infinity"),
        (EMPTY, [10.0], None, r"sigmas holds 1 noise levels; .*Split Sigmas"),
        (EMPTY, [7.0, 10.0], None, r"noise level 7 is below the latents' own, 10"),
        (EMPTY, [10.0, 7.0], {"samples": torch.zeros(1, 4, 8, 8)}, r"first frame at t1 is \(1, 4, 8, 8\)"),
        ({"samples": torch.zeros(3, 4, 16, 16)}, [10.0, 7.0], None, "one frame"),
        (EMPTY, [10.0, 7.0], NAN, "latent holds NaN or infinity"),
    ],
)
def test_noise_warp_names_what_does_not_fit(nodes, demo, latent, levels, first, message):
    with pytest.raises(ValueError, match=message):
        nodes["NoiseWarp"].execute(demo[0], latent, translation(4, 30, 0), torch.tensor(levels), 1, first)


def test_smoothing_names_what_does_not_fit(nodes):
    latent, smooth = {"samples": torch.zeros(4, 4, 16, 16)}, nodes["BackgroundSmooth"].execute
    with pytest.raises(ValueError, match=r"mask has 3 frames, the video has 4"):
        smooth(latent, torch.zeros(3, 16, 16), translation(4, 30, 0), 0.4)
    with pytest.raises(ValueError, match=r"path.*3"):
        smooth(latent, torch.zeros(4, 16, 16), translation(3, 30, 0), 0.4)
