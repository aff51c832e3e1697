"""Schedulers, samplers, noise, masks and guidance in closed form; ComfyUI's own numbers are in tests/host."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
import torch
from frameloom.headless.engine.denoise import sample
from frameloom.headless.engine.guidance import CFG
from frameloom.headless.engine.noise import draw_noise
from frameloom.headless.samplers.sigmas import SCHEDULERS, Sampling, run_sigmas, schedule_sigmas
from frameloom.headless.samplers.table import SAMPLERS, find_sampler
from frameloom.headless.samplers.walk import Walk
from frameloom.headless.weights.networks import build_unet
from frameloom.headless.weights.shared_attention import share_tokens
from frameloom.models.edits.edit import Edit, Part
from frameloom.models.motion.edit import motion_edit
from frameloom.models.network.sizes import DEMO
from frameloom.models.video.schedules import ANIMATEDIFF, STABLE_DIFFUSION
from frameloom.tests.support.random_demo import as_learner, draw_clip, random_motion, random_text
from frameloom.tests.support.tensors import apart
from frameloom.tests.support.tensors import draw as numbers

EPS, V = (Sampling(prediction, STABLE_DIFFUSION) for prediction in ("eps", "v"))


def draw(model, *, positive=None, negative=None, cfg=3.0, **options):
    guidance = CFG(positive or random_text(1), negative or random_text(2), cfg)
    return draw_clip(model, guidance, **{"frames": 2, **options})


@pytest.mark.parametrize("scheduler", list(SCHEDULERS))
def test_schedules_descend_from_the_highest_sigma_to_zero(scheduler):
    sigmas = schedule_sigmas(EPS, scheduler, 10)
    assert len(sigmas) == 11
    assert torch.all(sigmas[1:] < sigmas[:-1])
    assert sigmas[-1] == 0
    # ddim_uniform counts up from timestep 1 in strides of 100, as ComfyUI's does, so it starts at 901
    first = 901 if scheduler == "ddim_uniform" else 999
    assert float(sigmas[0]) == pytest.approx(EPS.sigma(first), rel=1e-5)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"scheduler='ays'.*normal, sgm_uniform, simple, karras"):
        schedule_sigmas(EPS, "ays", 5)
    with pytest.raises(ValueError, match=r"sampler_name='sa_solver'.*euler, euler_ancestral, heun"):
        find_sampler("sa_solver")


@pytest.mark.parametrize("name", ["uni_pc", "uni_pc_bh2", "dpm_fast", "dpm_adaptive"])
def test_a_sampler_that_one_step_leaves_noisy_refuses_it(name):
    """ComfyUI returns the noise, scaled, in silence."""
    noise = torch.randn(1, 4, 8, 8)
    with pytest.raises(ValueError, match=rf"sampler_name='{name}': got 1 step; expected at least 2"):
        go_down(name, lambda noisy, _: noisy, noise, torch.tensor([14.6, 0.0]))


def test_kl_optimal_refuses_one_step_of_which_it_makes_nan():
    with pytest.raises(ValueError, match=r"kl_optimal.*steps=1; expected at least 2"):
        schedule_sigmas(EPS, "kl_optimal", 1)


def test_some_samplers_leave_the_last_level_out_of_one_step_more():
    sigmas = schedule_sigmas(EPS, "karras", 6)
    assert torch.equal(run_sigmas(EPS, "karras", 5, skip_a_level=True), sigmas[[0, 1, 2, 3, 4, 6]])
    part = run_sigmas(EPS, "karras", 5, 0.5, skip_a_level=True)
    assert torch.equal(part, schedule_sigmas(EPS, "karras", 11)[[5, 6, 7, 8, 9, 11]])


def test_denoise_takes_the_last_steps():
    assert torch.equal(run_sigmas(EPS, "normal", 5, 0.5), schedule_sigmas(EPS, "normal", 10)[-6:])
    assert len(run_sigmas(EPS, "normal", 5, 0.0)) == 0
    with pytest.raises(
        ValueError, match=r"denoise=1e-09 with steps=5 is the end of a way of 5,000,000,000 steps"
    ):
        run_sigmas(EPS, "normal", 5, 1e-9)


def test_timesteps_and_sigmas_are_inverse():
    for timestep in (0, 1, 500, 999):
        assert EPS.timestep(EPS.sigma(timestep)) == timestep
    assert EPS.sigma(10.5) == pytest.approx((EPS.sigma(10) * EPS.sigma(11)) ** 0.5, rel=1e-5)


def test_shares_of_the_steps_are_noise_levels():
    assert [EPS.percent_to_sigma(percent) for percent in (-1, 0, 1, 2)] == [float("inf"), float("inf"), 0, 0]
    assert EPS.percent_to_sigma(0.25) == EPS.sigma(749.25)
    assert float(schedule_sigmas(EPS, "normal", 5)[1]) == EPS.percent_to_sigma(0.25)


@pytest.mark.parametrize("sampling", [EPS, V], ids=["eps", "v"])
def test_a_perfect_prediction_is_turned_into_the_clean_latents(sampling):
    clean, noise = torch.randn(2, 1, 4, 8, 8)
    sigma = torch.tensor(2.5)
    signal = 1 / (1 + sigma**2)
    velocity = signal.sqrt() * noise - (1 - signal).sqrt() * clean
    output = noise if sampling.prediction == "eps" else velocity
    assert torch.allclose(sampling.denoised(output, clean + sigma * noise, sigma), clean, atol=1e-5)


SIGMAS = schedule_sigmas(EPS, "karras", 6)
# What noise a sampler leaves where the levels end in 0.
LEAVES = {"dpm_fast": SIGMAS[-2], "dpm_adaptive": SIGMAS[-2], "uni_pc": 0.001, "uni_pc_bh2": 0.001}


def go_down(name, denoise, start, sigmas=SIGMAS, seed=0, on_step=lambda *_: None):
    """Run a sampler on a function, whose answer is what it is without guidance too."""
    answers = []

    def ask(noisy, sigma):
        answers.append(denoise(noisy, sigma))
        return answers[-1]

    return find_sampler(name).run(Walk(ask, sigmas, seed, on_step, lambda: answers[-1]), start)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_samplers_reach_the_answer_of_a_perfect_denoiser(name):
    clean, noise = torch.randn(2, 2, 4, 8, 8)
    steps = []
    start = clean + noise * SIGMAS[0]
    got = go_down(name, lambda *_: clean, start, on_step=lambda step, _clean: steps.append(step))
    assert torch.allclose(got, clean + noise * LEAVES.get(name, 0), atol=1e-5)
    assert steps[:3] == [0, 1, 2]
    assert len(steps) == 6 or name in ("dpm_fast", "dpm_adaptive")


@pytest.mark.parametrize(
    "name",
    ["heun", "dpm_2", "lms", "dpm_adaptive", "dpmpp_2m", "deis", "res_multistep", "uni_pc", "uni_pc_bh2"],
)
def test_samplers_of_higher_order_are_closer_than_euler(name):
    """A Gaussian of variance 4: its exact denoiser and its exact trajectory are known."""
    sigmas = torch.logspace(1.16, -1, 17)
    start = torch.randn(1, 4, 8, 8) * (sigmas[0] ** 2 + 4) ** 0.5
    exact = start * ((sigmas[-1] ** 2 + 4) / (sigmas[0] ** 2 + 4)) ** 0.5

    def error(sampler):
        return apart(go_down(sampler, lambda x, sigma: x * 4 / (4 + sigma**2), start, sigmas), exact)

    assert error(name) < error("euler") / 2


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_samplers_that_draw_noise_follow_the_seed(name):
    start = torch.randn(2, 4, 8, 8) * SIGMAS[0]
    first, again, other = (
        go_down(name, lambda x, sigma: x / (1 + sigma**2), start, seed=seed) for seed in (1, 1, 2)
    )
    draws = "ancestral" in name or "_sde" in name or name in ("ddpm", "lcm")
    assert torch.equal(first, again)
    assert torch.equal(first, other) != draws


# Not dpmpp_2s_ancestral_cfg_pp: in ComfyUI it takes the second look's answer from the first's.
@pytest.mark.parametrize(
    "name",
    [name for name in SAMPLERS if name.endswith("_cfg_pp") and name != "dpmpp_2s_ancestral_cfg_pp"],
)
def test_cfg_pp_without_guidance_is_the_plain_sampler(name):
    start = torch.randn(2, 4, 8, 8) * SIGMAS[0]
    got, plain = (
        go_down(each, lambda x, sigma: x / (1 + sigma**2), start)
        for each in (name, name.removesuffix("_cfg_pp"))
    )
    # A batch of another shape runs other kernels; a random network carries 1e-7 to some 1e-5 in a few steps.
    assert apart(got, plain) <= 1e-5


def test_cfg_pp_asks_the_negative_prompt_at_cfg_1_too(model):
    def drawn(sampler, negative):
        return draw(model, sampler=sampler, negative=negative, cfg=1.0)

    assert torch.equal(drawn("euler", random_text(2)), drawn("euler", random_text(3)))
    assert not torch.equal(drawn("euler_cfg_pp", random_text(2)), drawn("euler_cfg_pp", random_text(3)))


def test_a_brownian_path_is_one_whatever_the_steps_it_is_read_in():
    def read(levels):
        walk = Walk(lambda x, _: x, torch.tensor([14.0, 1.0, 0.0]), 7, lambda *_: None)
        draw = walk.brownian(torch.zeros(8, 4, 16, 16))
        steps = [(torch.tensor(here), torch.tensor(there)) for here, there in itertools.pairwise(levels)]
        return [draw(here, there) * (here - there).sqrt() for here, there in steps]

    (whole,), (first, second) = read([14.0, 1.0]), read([14.0, 5.0, 1.0])
    assert torch.allclose(first + second, whole, atol=1e-4)
    assert float((first / 3).std()) == pytest.approx(1, abs=0.03)  # of 8,192 draws
    assert abs(float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])) < 0.05


def test_noise_of_a_frame_depends_on_its_index_alone():
    latent = torch.zeros(4, 4, 8, 8)
    every = draw_noise(latent, 3, [0, 1, 2, 3])
    assert torch.equal(draw_noise(latent[:3], 3, [3, 1, 3]), every[[3, 1, 3]])
    assert torch.equal(draw_noise(latent, 3), numbers(4, 4, 8, 8, seed=3))


def test_a_run_repeats_bit_for_bit_and_follows_its_seed(model):
    first, again, other = (draw(model, sampler="euler_ancestral", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_run_without_a_step_is_noised_to_its_level(model):
    latent, level = torch.randn(2, 4, 8, 8), torch.tensor([2.0])
    got = draw(model, latent=latent, sigmas=level)
    assert torch.allclose(got, latent + 2 * draw_noise(latent, 1) / model.latent_scale, atol=1e-5)
    assert torch.equal(draw(model, latent=latent, sigmas=level[:0]), latent)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_masks_of_a_condition_in_another_number_than_frames_begin_again_or_are_cut(model, rows):
    masks = torch.rand(rows, 20, 28)

    def drawn(masks):
        return draw(model, positive=[*random_text(1, mask=masks), *random_text(3)], frames=3)

    assert torch.equal(drawn(masks), drawn(masks[torch.arange(3) % rows]))


def test_the_page_of_samplers_has_every_name_and_each_within_the_tests_tolerance():
    page = (Path(__file__).parents[2] / "docs" / "samplers.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE)
    assert [name for name, _ in rows] == [*SAMPLERS, *SCHEDULERS]
    assert all(float(figure) <= 1e-4 for _, figures in rows for figure in figures.split(" | "))


def test_two_conditions_are_averaged(model):
    one = random_text(1)
    assert apart(draw(model, positive=one), draw(model, positive=[*one, *one])) <= 1e-4


@pytest.mark.parametrize("key", ["area", "hooks", "default"])
def test_conditions_that_are_not_built_are_named(model, key):
    with pytest.raises(ValueError, match=f"'{key}' is not built headless"):
        draw(model, positive=random_text(1, **{key: object()}))


def test_text_is_projected_once_a_condition_not_once_a_frame(model):
    rows = []
    layer = model.unet.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn2.to_k")
    handle = layer.register_forward_hook(lambda _module, inputs, _output: rows.append(inputs[0].shape[0]))
    try:
        draw(model, frames=5)
    finally:
        handle.remove()
    assert rows == [2, 2, 2]  # three steps, positive and negative


def test_shared_text_equals_plain_cross_attention():
    torch.manual_seed(0)
    unet = build_unet(DEMO.unet).eval()
    noisy, tokens = torch.randn(6, 4, 16, 16), torch.randn(2, 77, DEMO.unet.context_dim)
    with torch.no_grad():
        plain = unet(noisy, 500, encoder_hidden_states=tokens.repeat_interleave(3, 0)).sample
        shared = share_tokens(unet)(noisy, 500, encoder_hidden_states=tokens).sample
    assert torch.allclose(shared, plain, atol=1e-5)


def test_a_run_leaves_hooks_and_random_state_alone(model):
    clone = model.with_edit(motion_edit("motion", as_learner(random_motion()), ANIMATEDIFF))
    before, state = draw(model), torch.get_rng_state()
    moved = draw(clone, frames=2)

    def stop(step, _clean):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw(clone, on_step=stop)
    assert not torch.allclose(moved, before, atol=1e-2)
    assert torch.equal(draw(model), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(part._forward_hooks for part in model.unet.modules())


def test_an_edit_is_told_of_each_call(model):
    calls = []

    class Told(Part):
        def acts(self, call):
            calls.append(call)
            return False

    clone = model.with_edit(Edit("test", input=Told()))
    draw(clone, positive=random_text(1, frameloom={"boxes": 1}), frames=4)
    assert [call.frames for call in calls] == [4, 4, 4]
    assert {each.index: dict(each.payload) for each in calls[0].conditions} == {0: {"boxes": 1}, 1: {}}
    assert calls[0].progress == 0
    assert calls[0].sigma > calls[1].sigma > calls[2].sigma


def test_noise_of_another_shape_is_named(model):
    guidance, latent = CFG(random_text(1), random_text(2), 1.0), torch.zeros(3, 4, 8, 8)
    with pytest.raises(ValueError, match=r"noise is \(2, 4, 8, 8\).*latent is \(3, 4, 8, 8\)"):
        sample(model, latent[:2], guidance, sampler=SAMPLERS["euler"], sigmas=torch.ones(2), latent=latent)
