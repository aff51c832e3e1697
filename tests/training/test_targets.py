import pytest
import torch
from frameloom.models.schedules import STABLE_DIFFUSION
from frameloom.training.targets import noise_mse

ALPHAS = STABLE_DIFFUSION.alphas_cumprod().float()


@pytest.fixture
def clip():
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(2, 3, 4, 5, 5, generator=generator) for _ in range(2))
    return latents, noise, torch.tensor([10, 900])


@pytest.mark.parametrize("prediction_type", ["eps", "v"])
def test_the_right_answer_has_no_loss_and_denoises(clip, prediction_type):
    latents, noise, timesteps = clip
    alpha = ALPHAS[timesteps].view(-1, 1, 1, 1, 1)

    def oracle(noisy, at):
        assert torch.equal(at, timesteps)
        if prediction_type == "eps":
            return (noisy - alpha.sqrt() * latents) / (1 - alpha).sqrt()
        return (alpha.sqrt() * noisy - latents) / (1 - alpha).sqrt()  # x0 = sqrt(a) x - sqrt(1 - a) v

    assert noise_mse(oracle, latents, timesteps, noise, ALPHAS, prediction_type) < 1e-6


def test_the_target_agrees_with_diffusers(clip):
    from diffusers import DDPMScheduler

    latents, noise, timesteps = clip
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    velocity = scheduler.get_velocity(latents, noise, timesteps)
    loss = noise_mse(lambda noisy, at: torch.zeros_like(noisy), latents, timesteps, noise, ALPHAS, "v")
    assert torch.isclose(loss, velocity.square().mean(), rtol=1e-5)


def test_another_prediction_type_is_refused(clip):
    latents, noise, timesteps = clip
    with pytest.raises(ValueError, match="prediction_type='x0' is unknown"):
        noise_mse(lambda noisy, at: noisy, latents, timesteps, noise, ALPHAS, "x0")
