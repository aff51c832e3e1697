"""Distillation into few steps: against the closed form, diffusers' DDIM, and the sampler that users take."""

import pytest
import torch
from frameloom.headless.samplers.sigmas import Sampling, schedule_sigmas
from frameloom.models.motion.few_steps import trailing
from frameloom.models.video.schedules import STABLE_DIFFUSION
from frameloom.training.motion.few_steps import FewSteps, few_steps_mse, guide

ALPHAS = STABLE_DIFFUSION.alphas_cumprod().float()
PARTS, TEACHER_STEPS = 4, 5


@pytest.fixture
def clip():
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(4, 2, 4, 3, 3, generator=generator) for _ in range(2))
    return latents, trailing(PARTS), noise


def bend(noisy, at):
    """A prediction that is no straight way: it depends on the state and on the time."""
    return (noisy * (1 + at.view(-1, 1, 1, 1, 1) / 500)).sin()


def loss(student, teacher, clip, kind="v", teacher_steps=TEACHER_STEPS):
    few = FewSteps(PARTS, PARTS * teacher_steps)
    return few_steps_mse(student, teacher, *clip, ALPHAS, kind, few=few)


@pytest.mark.parametrize("kind", ["eps", "v"])
def test_who_takes_the_teachers_only_step_has_no_loss(clip, kind):
    assert loss(bend, bend, clip, kind, teacher_steps=1) < 1e-9
    assert loss(bend, bend, clip, kind) > 1e-3


@pytest.mark.parametrize("kind", ["eps", "v"])
def test_one_step_towards_what_is_wanted_ends_where_diffusers_steps_of_the_teacher_do(clip, kind):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        prediction_type={"eps": "epsilon", "v": "v_prediction"}[kind], timestep_spacing="trailing",
        set_alpha_to_one=True,
    )  # fmt: skip
    scheduler.set_timesteps(PARTS * TEACHER_STEPS)
    for part in range(PARTS):
        one = tuple(each[part : part + 1] for each in clip)
        state = noisy = scheduler.add_noise(one[0], one[2], one[1])
        for at in scheduler.timesteps[part * TEACHER_STEPS :][:TEACHER_STEPS]:
            state = scheduler.step(bend(state, at.view(1)), int(at), state).prev_sample
        # The prediction whose one step of DDIM ends there; solved for by two tries, since the step is linear in it.
        coarse = DDIMScheduler.from_config(scheduler.config)
        coarse.set_timesteps(PARTS)
        none, all_ = (
            coarse.step(value, int(one[1]), noisy).prev_sample for value in (0 * noisy, 0 * noisy + 1)
        )
        right = (state - none) / (all_ - none)
        assert loss(lambda noisy, at, right=right: right, bend, one, kind) < 1e-6
        assert loss(lambda noisy, at, right=right: right + 0.1, bend, one, kind) > 1e-3


def test_gradients_go_through_the_student_alone(clip):
    student, teacher = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    loss(lambda noisy, at: noisy * student, lambda noisy, at: noisy * teacher, clip).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_its_timesteps_are_those_of_sgm_uniform():
    sampling = Sampling("v", STABLE_DIFFUSION)
    sigmas = schedule_sigmas(sampling, "sgm_uniform", PARTS)
    found = [int((sampling.sigmas.log() - sigma.log()).abs().argmin()) for sigma in sigmas[:-1]]
    assert (torch.tensor(found) - trailing(PARTS)).abs().max() <= 1


def test_guidance_is_classifier_free(clip):
    told, _, untold = clip
    assert torch.equal(guide(told, untold, 1.0), told)
    torch.testing.assert_close(guide(told, untold, 3.0), untold + 3 * (told - untold))
