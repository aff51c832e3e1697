"""Text2Video-Zero's nodes on the headless host: what the technique promises, and what a wrong input is told."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.video.noise import draw_noise
from frameloom.models.zero_shot.motion_path import translation
from frameloom.tests.support.layout import lay_out
from frameloom.tests.support.tensors import apart

STEPS = 8
EMPTY = {"samples": torch.zeros(1, 4, 8, 8)}


@pytest.fixture
def prompts(host, demo):
    return [
        host.encode_text(demo[1], text)[0] for text in ("a big red circle on a navy background", "no circle")
    ]


@pytest.fixture
def make(run, model, prompts):
    """The sampler node, with its settings replaced at will."""
    given = {"model": model, "positive": prompts[0], "negative": prompts[1], "latent": EMPTY}
    given |= {"seed": 5, "steps": STEPS, "cfg": 3.0, "scheduler": "normal", "t0": 640.0, "t1": 720.0}
    return lambda path, **changes: run("ZeroShotSampler", path=path, **(given | changes))[0]


@pytest.fixture
def draw(make):
    return lambda path, **changes: make(path, **changes)["samples"]


@pytest.fixture
def plain(host, model, prompts):
    """The whole schedule for one frame, from the sampler node's start noise."""
    sigmas, noise = host.sigmas(model, STEPS, "normal"), draw_noise(5, [0], (4, 8, 8))
    return host.sample(model, *prompts, EMPTY, noise=noise, sigmas=sigmas, sampler="ddim", cfg=3.0)["samples"]


def close(one, other):
    assert apart(one, other) <= 1e-5


def away(one, other):
    assert apart(one, other) > 1e-2


def test_the_first_frame_is_the_picture_alone_and_others_are_not(draw, plain):
    close(draw(translation(1, 12, 12)), plain)
    frames = draw(translation(4, -30, 12), sampler_name="euler")
    close(frames[:1], plain)
    for frame in frames[1:]:
        away(frame, frames[0])


def test_other_frames_never_change_the_first_nor_each_other(draw):
    one, other = draw(translation(4, 60, 0)), draw(translation(4, -60, 0))
    close(one[0], other[0])
    away(one[1], other[1])
    close(draw(translation(3, 60, 0)), one[:3])


def test_chunks_change_nothing(draw):
    path = translation(4, -30, 12)
    whole = draw(path)
    for size in (2, 3, 9):
        close(draw(path, chunk_size=size), whole)


def test_layouts_are_for_all_frames_at_once(host, demo, draw):
    laid_out = lay_out(host, demo[1], frames=4)
    with pytest.raises(ValueError, match=r"positive: got a layout.* and 2 chunks.*set chunk_size to 0"):
        draw(translation(4, 30, 0), positive=laid_out, chunk_size=3)
    assert len(draw(translation(4, 30, 0), positive=laid_out, chunk_size=4)) == 4


def test_what_is_for_each_frame_is_for_as_many_as_the_path_has(draw, prompts):
    tokens, options = prompts[0][0]
    for positive, what in (
        ([[tokens.expand(3, -1, -1), options]], "prompts"),
        ([[tokens, options | {"mask": torch.ones(3, 8, 8)}]], "masks"),
    ):
        with pytest.raises(ValueError, match=f"positive: got {what} for 3 frames, the path has 4"):
            draw(translation(4, 30, 0), positive=positive)
    each = [[tokens.expand(4, -1, -1), options | {"mask": torch.ones(4, 8, 8)}]]
    close(draw(translation(4, 30, 0), positive=each), draw(translation(4, 30, 0)))


def test_levels_in_percent_are_the_same_levels(draw):
    path = translation(3, 30, 0)
    as_percent = {"t0": 1 - 640 / 999, "t1": 1 - 720 / 999, "level_unit": "percent"}
    assert torch.equal(draw(path, **as_percent), draw(path))


def test_small_nodes_make_what_the_sampler_makes(run, host, model, prompts, draw):
    strengths = {"motion_field_strength_x": -30.0, "motion_field_strength_y": 12.0}
    path = run("MotionPath", kind="translation", frames=4, **strengths)[0]
    (crossed,) = run("CrossFrameAttnPatch", model=model)
    sigmas = host.sigmas(crossed, STEPS, "normal")

    def sample(latent, levels, noise=None):
        noise = torch.zeros_like(latent["samples"]) if noise is None else noise
        return host.sample(crossed, *prompts, latent, noise=noise, sigmas=levels, sampler="ddim", cfg=3.0)

    at_t1 = sample(EMPTY, sigmas[:3], draw_noise(5, [0], (4, 8, 8)))  # t1 = 720 is nearest to step 2
    at_t0 = sample(at_t1, sigmas[2:4])
    warping = {"latent": at_t0, "path": path, "sigmas": sigmas[2:4], "seed": 5, "first_frame": at_t1}
    (frames,) = run("NoiseWarp", model=model, **warping)
    mask = torch.zeros(4, 64, 64)
    mask[:, 16:48, 16:48] = 1
    (smooth,) = run("BackgroundSmooth", latent=frames, mask=mask, path=path, keep=0.4)
    wanted = draw(path, mask=mask, keep=0.4)
    close(sample(smooth, sigmas[2:])["samples"], wanted)
    away(sample(frames, sigmas[2:])["samples"], wanted)


def test_samplers_with_memory_or_noise_are_refused_by_name(nodes):
    answer = nodes["ZeroShotSampler"].validate_inputs(sampler_name="dpmpp_2m")
    assert "sampler_name='dpmpp_2m' remembers earlier steps" in answer
    assert "ddim, euler" in answer
    assert nodes["ZeroShotSampler"].validate_inputs(sampler_name="euler") is True


NAN = {"samples": torch.full((1, 4, 8, 8), float("nan"))}
MASKED = EMPTY | {"noise_mask": torch.ones(1, 128, 128)}
WRONG = {
    "t0 = t1": ({"t0": 720.0}, r"t0=720 is not below t1=720 in noise.*exchange them"),
    "t1 at the start": ({"t1": 999.0}, r"nearest to steps 0 and . of .*; .*t1 lower"),
    "too few steps": ({"steps": 2}, r"nearest to steps . and . of 2; .*raise steps"),
    "noise mask": ({"latent": MASKED}, r"latent is \(1, 4, 8, 8\) with a noise mask"),
    "NaN": ({"latent": NAN}, r"latent holds NaN or infinity"),
    "mask": ({"mask": torch.zeros(3, 8, 8)}, r"mask has 3 frames, the video has 4"),
    "sampler by a link": ({"sampler_name": "dpmpp_2m"}, r"sampler_name='dpmpp_2m' remembers earlier steps"),
    "chunk of one": ({"chunk_size": 1}, r"chunk_size=1 holds the first frame alone"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_input_is_named_before_anything_is_sampled(host, draw, monkeypatch, case):
    monkeypatch.setattr(type(host), "sample", lambda *_, **__: pytest.fail("it sampled"))
    settings, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        draw(translation(4, 30, 0), **settings)


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


def test_a_video_does_not_say_of_itself_what_the_picture_said(run, model, make):
    path, levels = translation(3, 30, 0), torch.tensor([10.0, 7.0])
    masked = PICKED | {"noise_mask": MASKED["noise_mask"]}
    (warped,) = run("NoiseWarp", model=model, latent=masked, path=path, sigmas=levels)
    for video in (warped, make(path, latent=PICKED)):
        assert set(video) == {"samples", "kept"}
        assert len(run("VideoNoise")[0].generate_noise(video)) == 3


@pytest.mark.parametrize(
    ("latent", "levels", "first", "message"),
    [
        (NAN, [10.0, 7.0], None, "latent holds NaN or infinity"),
        (EMPTY, [10.0], None, r"sigmas holds 1 noise levels; .*Split Sigmas"),
        (EMPTY, [7.0, 10.0], None, r"noise level 7 is below the latents' own, 10"),
        (EMPTY, [10.0, 7.0], {"samples": torch.zeros(1, 4, 4, 4)}, r"first frame at t1 is \(1, 4, 4, 4\)"),
        ({"samples": torch.zeros(3, 4, 8, 8)}, [10.0, 7.0], None, "one frame"),
        (EMPTY, [10.0, 7.0], NAN, "latent holds NaN or infinity"),
    ],
)
def test_noise_warp_names_what_does_not_fit(run, model, latent, levels, first, message):
    given = {"latent": latent, "path": translation(4, 30, 0), "sigmas": torch.tensor(levels)}
    with pytest.raises(ValueError, match=message):
        run("NoiseWarp", model=model, **given, first_frame=first)


def test_smoothing_names_what_does_not_fit(run):
    given = {"latent": {"samples": torch.zeros(4, 4, 8, 8)}, "path": translation(4, 30, 0)}
    with pytest.raises(ValueError, match=r"mask has 3 frames, the video has 4"):
        run("BackgroundSmooth", **given, mask=torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match=r"path.*3"):
        run("BackgroundSmooth", **(given | {"path": translation(3, 30, 0)}), mask=torch.zeros(4, 8, 8))
