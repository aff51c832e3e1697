"""Long video, few steps and other predictions on SDXL: pooled text and sizes stay with their frames."""

from __future__ import annotations

import pytest
import torch
from frameloom.host.comfyui.levels import progress_at
from frameloom.models.edits.edit import Edit, Part
from frameloom.models.errors import HostError
from frameloom.models.long_video.free_init import NoiseReinit
from frameloom.models.long_video.nuwa_tree import Tree
from frameloom.models.video.held_frames import hold_frames
from frameloom.models.video.schedules import ANIMATEDIFF_SDXL
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.contract.test_free_init import again, by_hand
from frameloom.tests.contract.test_nuwa import PROMPTS, draw_keyframes, given, interpolate, plan
from frameloom.tests.host.inside.tiny_models import TOKENS, XL, build_of
from frameloom.tests.support.input_table import run_node
from frameloom.tests.support.scene import FRAMES, SIDE
from frameloom.tests.support.tensors import apart

TRAVEL = "0: a red circle\n3: a blue cross"
SIZES = {"width": 1024, "height": 512, "crop_w": 8, "crop_h": 16, "target_width": 640, "target_height": 320}


def applied(model, motion, **settings):
    return run_node("ApplyMotionModule", model=model, motion=motion, beta_schedule="auto", **settings)


def travelled(xl, **sizes):
    conditions = run_node("PromptTravel", clip=xl[1], text=TRAVEL, frames=FRAMES)
    return [[tokens, {**options, **sizes}] for tokens, options in conditions]


def asked(scene, model, positive, frames=FRAMES):
    """Frames, and pooled text with sizes, of each positive question in the first step."""
    found = []

    def look(executor, x, timesteps, context, y, control, options, **kwargs):
        window = getattr(options.get("context_window"), "index_list", None)
        rows = len(x) // len(options["cond_or_uncond"])
        if not found or options["sigmas"][0] == found[0][0]:
            at = options["cond_or_uncond"].index(0)
            found.append((options["sigmas"][0], window or list(range(rows)), y.chunk(len(x) // rows)[at]))
        return executor(x, timesteps, context, y, control, options, **kwargs)

    model = model.clone()
    model.add_wrapper_with_key("diffusion_model", "look", look)
    scene.run(model, frames=frames, positive=positive)
    return [(window, y) for _, window, y in found]


@pytest.mark.parametrize("windows", [False, True], ids=["whole", "windows"])
@pytest.mark.parametrize("travels", [False, True], ids=["one prompt", "travelling"])
def test_each_frame_keeps_its_pooled_text_and_its_sizes(port, xl, xl_scene, windows, travels):
    """As core works them out for the prompt of each frame by itself."""
    one = [[tokens, {**options, **SIZES}] for tokens, options in xl_scene.positive]
    positive = travelled(xl, **SIZES) if travels else one
    pooled = positive[0][1]["pooled_output"].expand(FRAMES, -1)
    wanted = torch.cat([xl[0].model.encode_adm(pooled_output=each[None], **SIZES) for each in pooled])
    model = xl_scene.windowed(xl[0], WindowPlan(3, 1)) if windows else xl[0]
    questions = asked(xl_scene, model, positive)
    assert {frame for window, _ in questions for frame in window} == set(range(FRAMES))
    assert len(questions) == (2 if windows else 1)
    for window, y in questions:
        torch.testing.assert_close(y, wanted[window])
    assert len(wanted.unique(dim=0)) == (FRAMES if travels else 1)


def test_frames_at_keyframes_are_those_of_their_prompts(port, xl, xl_scene):
    drawn = xl_scene.run(xl[0], positive=travelled(xl))
    for frame, prompt in ((0, "a red circle"), (3, "a blue cross")):
        alone = xl_scene.run(xl[0], positive=port.encode_text(xl[1], prompt)[0])
        assert apart(drawn[frame], alone[frame]) <= 1e-4
    assert apart(drawn[1], alone[1]) > 1e-3


@pytest.mark.parametrize("family", ["animatediff_sdxl", "hotshotxl"])
def test_travel_in_windows_with_a_module_is_travel_where_one_window_is_the_clip(
    xl, xl_scene, xl_motion, family
):
    moving = applied(xl[0], xl_motion(family))
    whole = xl_scene.run(moving, positive=travelled(xl))
    one = run_node("ContextWindows", model=moving, length=FRAMES, overlap=1, frames=FRAMES)
    assert apart(xl_scene.run(one, positive=travelled(xl)), whole) <= 1e-4
    assert apart(whole, xl_scene.run(xl[0], positive=travelled(xl))) > 1e-2


def test_free_init_samples_again_from_its_own_noise(port, xl, xl_scene, xl_motion):
    moving = applied(xl[0], xl_motion("hotshotxl"))
    settings = {"filter": "gaussian", "spatial": 0.5, "temporal": 0.3}
    drawn = xl_scene.run(again(port, moving, 1, **settings), frames=5)
    wanted = by_hand(xl_scene, moving, NoiseReinit(1, **settings))
    assert apart(drawn, wanted) <= 1e-3
    assert apart(drawn, xl_scene.run(moving, frames=5)) > 1e-2
    assert run_node("FreeInit", model=moving, extra_iterations=0) is moving


def test_keyframes_that_share_nothing_are_those_of_their_own_prompts(xl, xl_scene):
    frames = draw_keyframes(xl, xl_scene, plan(), shared_noise=0.0, shared_attention=0.0)
    for place, prompt in enumerate(PROMPTS.splitlines()):
        alone = draw_keyframes(xl, xl_scene, Tree(3, 2, {0: prompt}), shared_noise=0.0, shared_attention=0.0)
        assert apart(frames[place], alone[place]) <= 1e-4
    shared = draw_keyframes(xl, xl_scene, plan())
    assert apart(shared, frames) > 1e-2


def test_frames_between_keyframes_are_drawn_and_keyframes_stay_bit_for_bit(
    port, xl, xl_scene, xl_motion, tmp_path, monkeypatch
):
    """Towards their ends by the module; without it, what is drawn between does not depend on them."""
    monkeypatch.setattr(type(port), "user_dir", lambda self: tmp_path)
    for model, depends in ((xl[0], False), (applied(xl[0], xl_motion("hotshotxl")), True)):
        one, other = (
            interpolate(model, xl, xl_scene, plan(), given(seed=seed), start="own noise") for seed in (1, 2)
        )
        assert one.shape == (5, 4, SIDE, SIDE)
        assert torch.equal(one[::2], given(seed=1))
        assert torch.isfinite(one).all()
        assert (apart(one[1::2], other[1::2]) > 1e-4) is depends


def test_held_frames_stay(xl, xl_scene, xl_motion):
    moving = applied(xl[0], xl_motion("hotshotxl"))
    picture = xl_scene.noise(1).flip(3) / 0.13025
    clip = hold_frames({"samples": torch.zeros(FRAMES, 4, SIDE, SIDE)}, picture, [0])
    mask = clip["noise_mask"].reshape(FRAMES, 1, SIDE, SIDE)
    drawn = xl_scene.run(moving, latent=clip["samples"], mask=mask)
    assert apart(drawn[:1], picture) <= 1e-4
    assert apart(drawn[1:], xl_scene.run(moving)[1:]) > 2e-4


def test_few_steps_on_sdxl_are_those_that_are_said(port, xl, xl_motion):
    """A module of SDXL is none of few steps; a checkpoint may be, whose number of steps the user says."""
    moving = applied(xl[0], xl_motion("hotshotxl"))
    with pytest.raises(
        ValueError, match=r"hotshotxl.safetensors does not say .*or the checkpoint is \(SDXL-Light"
    ):
        run_node("FewStepSettings", model=moving, steps=0)
    from frameloom.nodes.motion.few_steps import FewStepSettings

    sampler, sigmas, cfg = FewStepSettings.execute(model=moving, steps=4, denoise=1.0).args
    times = [port.sigma_to_timestep(moving, float(sigma)) for sigma in sigmas[:-1]]
    assert times == pytest.approx([999, 749, 499, 249], abs=2)
    assert (cfg, sampler.sampler_function.__name__) == (1.0, "sample_euler")


def test_at_cfg_1_the_positive_prompt_alone_is_asked_and_frames_mix(xl, xl_scene, xl_motion):
    moving = applied(xl[0], xl_motion("hotshotxl"))
    drawn = xl_scene.run(moving, cfg=1.0)
    assert torch.equal(drawn, xl_scene.run(moving, cfg=1.0, negative=xl_scene.positive))
    assert apart(drawn, xl_scene.run(xl[0], cfg=1.0)) > 1e-2


SMALL = XL | {"adm_in_channels": TOKENS // 2 + 6 * 256}


@pytest.mark.parametrize("zsnr", [False, True], ids=["v", "v, zero terminal SNR"])
def test_a_checkpoint_that_predicts_velocity_goes_on_to_with_the_modules_schedule(xl_motion, zsnr):
    marks = {"v_pred": torch.tensor([])} | ({"ztsnr": torch.tensor([])} if zsnr else {})
    model = build_of("SDXL", SMALL, marks)
    own = model.get_model_object("model_sampling")
    sampling = applied(model, xl_motion()).get_model_object("model_sampling")
    x, out = torch.ones(1, 4, 2, 2), torch.full((1, 4, 2, 2), 0.5)
    sigma = torch.tensor([2.0])
    assert torch.equal(sampling.calculate_denoised(sigma, out, x), own.calculate_denoised(sigma, out, x))
    kept = ANIMATEDIFF_SDXL.alphas_cumprod()[-1]
    highest = float(sampling.sigma_max)
    if zsnr:
        assert highest == pytest.approx(
            float(own.sigma_max), rel=1e-3
        )  # core's stand-in for no signal at all
    else:
        assert highest == pytest.approx(float(((1 - kept) / kept).sqrt()), rel=1e-4)


@pytest.fixture
def edm():
    """As CosXL: velocity at continuous noise levels."""
    return build_of(
        "SDXL",
        SMALL,
        {"edm_vpred.sigma_max": torch.tensor(120.0), "edm_vpred.sigma_min": torch.tensor(0.002)},
    )


def test_on_edm_a_range_of_sampling_is_that_of_cores_percents(port, edm, xl_scene):
    seen = []

    class Noted(Part):
        levels = frozenset({1})

        def see(self, query, key, call, layer):
            seen.append((call.sigma, call.progress))

    xl_scene.run(port.install(edm, Edit("test", observe=Noted())), sigmas=port.sigmas(edm, 6, "karras"))
    sampling = edm.get_model_object("model_sampling")
    progress = dict(seen)
    assert len(progress) == 6
    assert list(progress.values()) == sorted(progress.values())
    for sigma, share in list(progress.items())[1:-1]:
        assert sampling.percent_to_sigma(share) == pytest.approx(sigma, rel=1e-4)
        assert 0 < share < 1


def test_progress_of_discrete_levels_undoes_cores_percents(xl):
    sampling = xl[0].get_model_object("model_sampling")
    for percent in (0.1, 0.35, 0.9):
        sigma = torch.tensor(sampling.percent_to_sigma(percent))
        assert progress_at(sampling, sigma) == pytest.approx(percent, abs=1e-3)


def test_what_edm_has_not_is_refused_by_name(port, edm, xl, xl_scene, xl_motion):
    with pytest.raises(
        HostError, match=r"beta schedule linear: the model samples with .*expected discrete timesteps"
    ):
        applied(edm, xl_motion())
    clip = {"samples": xl_scene.noise()}
    with pytest.raises(
        HostError, match=r"model: got SDXL with continuous noise levels .*expected the 1000 timesteps"
    ):
        run_node("ForegroundMask", model=edm, clip=xl[1], prompt="a red circle", phrase="circle", latent=clip)
    playground = build_of("SDXL", SMALL, {"edm_mean": torch.zeros(4), "edm_std": torch.ones(4)})
    with pytest.raises(
        HostError, match=r"model: got SDXL with a scale of its own for each channel .*expected one"
    ):
        port.noise_unit(playground)


def test_notices_of_a_module_say_what_it_was_trained_on(xl, xl_scene, xl_motion, caplog):
    """To who samples by a node of core's; nodes of ours that sample know how many frames they want."""
    from frameloom.tests.host.inside.core import sample_plain

    for family, told in (
        ("animatediff_sdxl", "got 64 x 64; expected one of their sizes"),
        ("hotshotxl", "trained on clips of 8 frames; got 4 at once; expected 8"),
    ):
        caplog.clear()
        sample_plain(
            applied(xl[0], xl_motion(family)), xl_scene, {"samples": torch.zeros(FRAMES, 4, SIDE, SIDE)}
        )
        assert told in caplog.text


def test_the_plain_model_is_the_same_bit_for_bit_after_long_runs(port, xl, xl_scene, xl_motion):
    before = xl_scene.run(xl[0])
    moving = applied(xl[0], xl_motion("hotshotxl"))
    for model in (
        xl_scene.windowed(moving, WindowPlan(3, 1)),
        run_node("FreeNoise", model=moving, window_length=2, stride=1),
        again(port, moving, 1),
    ):
        xl_scene.run(model, positive=travelled(xl))
        assert torch.equal(xl_scene.run(xl[0]), before)
