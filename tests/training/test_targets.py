import pytest
import torch
from frameloom.models.video.schedules import STABLE_DIFFUSION
from frameloom.training.motion.targets import noise_mse

ALPHAS = STABLE_DIFFUSION.alphas_cumprod().float()


@pytest.fixture
def clip():
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(2, 3, 4, 5, 5, generator=generator) for _ in range(2))
    return latents, noise, torch.tensor([10, 900])


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


@pytest.mark.parametrize("prediction_type", ["eps", "v"])
def test_min_snr_weighs_the_error_of_clean_latents(clip, prediction_type):
    """Both kinds of prediction have the loss ``min(SNR, 5) * |x0 error|^2``."""
    latents, noise, timesteps = clip
    alpha = ALPHAS[timesteps].view(-1, 1, 1, 1, 1)
    wrong = 0.1 * torch.randn(latents.shape, generator=torch.Generator().manual_seed(3))

    def predict(noisy, at):
        clean = latents + wrong
        if prediction_type == "eps":
            return (noisy - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        return (alpha.sqrt() * noisy - clean) / (1 - alpha).sqrt()

    loss = noise_mse(predict, latents, timesteps, noise, ALPHAS, prediction_type, min_snr=5.0)
    snr = (alpha / (1 - alpha)).flatten()
    assert snr[0] > 5 > snr[1]
    torch.testing.assert_close(
        loss, (snr.clamp(max=5) * wrong.square().mean((1, 2, 3, 4))).mean(), rtol=1e-3, atol=0
    )


def test_given_frames_have_no_part_in_the_loss(clip):
    latents, noise, timesteps = clip
    unknown = torch.ones(2, 3)
    unknown[:, 0] = 0

    def predict(noisy, at):
        return torch.cat([noisy[:, :1] * 1e6, noise[:, 1:] + 2], 1)

    loss = noise_mse(predict, latents, timesteps, noise, ALPHAS, "eps", unknown=unknown)
    torch.testing.assert_close(loss, torch.tensor(4.0))
