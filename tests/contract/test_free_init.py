"""What every host promises of FreeInit."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.edits.run import sample_run
from frameloom.models.free_init import NoiseReinit
from frameloom.models.free_noise import NoiseShuffle
from frameloom.models.windows import WindowPlan

FRAMES = 5
STEPS = 4


def again(port, model, reinit):
    return port.install(model, Edit("Free Init", run=reinit))


def draw(port, scene, model, noise, latent, sigmas, **more):
    start = {"samples": torch.zeros_like(noise) if latent is None else latent}
    return port.sample(
        model, scene.positive, scene.negative, start, noise=noise, sigmas=sigmas, sampler="euler", cfg=3.0, **more
    )["samples"]  # fmt: skip


def by_hand(port, scene, model, reinit, noise, latent=None, sigmas=None, **more):
    """What several runs by themselves give, each with the noise that follows from the last."""
    unit = port.noise_unit(model)
    sigmas = port.sigmas(model, STEPS, "normal") if sigmas is None else sigmas

    def once(start, levels, _shown):
        return draw(port, scene, model, start, latent, levels, **more) / unit

    given = torch.zeros_like(noise) if latent is None else latent / unit
    highest = port.timestep_to_sigma(model, 999)
    return sample_run([Edit("test", run=reinit)], once, noise, given, sigmas, highest=highest) * unit


def moving_scene(port, demo, motion, scene):
    return scene.moving(demo[0], motion), scene.noise(FRAMES), port.sigmas(demo[0], STEPS, "normal")


@pytest.mark.parametrize(
    "reinit", [NoiseReinit(1), NoiseReinit(2, "gaussian", 0.5, 0.3), NoiseReinit(2, coarse_to_fine=True)]
)
def test_runs_are_repeated_from_what_the_last_one_drew(port, demo, motion, scene, reinit):
    model, noise, sigmas = moving_scene(port, demo, motion, scene)
    drawn = draw(port, scene, again(port, model, reinit), noise, None, sigmas)
    torch.testing.assert_close(drawn, by_hand(port, scene, model, reinit, noise), rtol=1e-3, atol=1e-3)
    plain = draw(port, scene, model, noise, None, sigmas)
    assert float((drawn - plain).norm() / plain.norm()) > 0.05


def test_no_iterations_are_bit_identical_and_the_last_edit_counts(port, demo, motion, scene):
    model, noise, sigmas = moving_scene(port, demo, motion, scene)
    plain = draw(port, scene, model, noise, None, sigmas)
    none = again(port, again(port, model, NoiseReinit(2)), NoiseReinit(0))
    assert torch.equal(draw(port, scene, none, noise, None, sigmas), plain)


def test_a_clip_is_repeated_from_part_of_the_way_down(port, demo, motion, scene):
    model, noise, sigmas = moving_scene(port, demo, motion, scene)
    latent = draw(port, scene, model, noise, None, sigmas)
    rest, other = sigmas[2:], torch.randn(noise.shape, generator=torch.Generator().manual_seed(5))
    reinit = NoiseReinit(1)
    drawn = draw(port, scene, again(port, model, reinit), other, latent, rest)
    wanted = by_hand(port, scene, model, reinit, other, latent, rest)
    torch.testing.assert_close(drawn, wanted, rtol=1e-3, atol=1e-3)


def test_what_a_mask_holds_is_held(port, demo, motion, scene):
    model, noise, sigmas = moving_scene(port, demo, motion, scene)
    held = torch.randn(noise.shape, generator=torch.Generator().manual_seed(9))
    mask = torch.ones(FRAMES, 1, 16, 16)
    mask[:2] = 0
    drawn = draw(port, scene, again(port, model, NoiseReinit(1)), noise, held, sigmas, mask=mask)
    assert float((drawn[:2] - held[:2]).abs().max()) < 1e-5
    assert float((drawn[2:] - held[2:]).abs().max()) > 0.1


def test_each_run_begins_anew_with_windows_and_an_anchor(port, demo, motion, scene):
    """Windows that move with the step, and an anchor of the run before, would give another clip."""
    model, noise, sigmas = moving_scene(port, demo, motion, scene)
    plan = WindowPlan(3, 1, "uniform", 2)
    edited = port.install(scene.crossing(model), Edit("windows", windows=plan))
    reinit = NoiseReinit(1)
    drawn = draw(port, scene, again(port, edited, reinit), noise, None, sigmas)
    torch.testing.assert_close(drawn, by_hand(port, scene, edited, reinit, noise), rtol=1e-3, atol=1e-3)


def test_noise_that_recurs_recurs_in_every_run(port, demo, motion, scene):
    model, noise, sigmas = moving_scene(port, demo, motion, scene)
    shuffle = NoiseShuffle(2, 2)
    reinit = NoiseReinit(1, "ideal", 0.01, 0.01)  # keeps the mean
    both = again(port, port.install(model, Edit("Free Noise", noise=shuffle)), reinit)
    given = []
    by_hand_edits = [Edit("Free Noise", noise=shuffle), Edit("Free Init", run=reinit)]

    def once(start, levels, _shown):
        given.append(start)
        return draw(port, scene, model, start, None, levels) / unit

    unit = port.noise_unit(model)
    arranged = shuffle.arrange(noise)
    highest = port.timestep_to_sigma(model, 999)
    wanted = sample_run(by_hand_edits, once, arranged, torch.zeros_like(noise), sigmas, highest=highest)
    torch.testing.assert_close(
        draw(port, scene, both, noise, None, sigmas), wanted * unit, rtol=1e-3, atol=1e-3
    )
    fresh = given[1] - given[1].mean((0, 2, 3), keepdim=True)
    torch.testing.assert_close(fresh[2], fresh[shuffle.sources([2])[0]], rtol=1e-4, atol=1e-4)


def test_progress_goes_once_from_start_to_end(port, demo, motion, scene):
    model, noise, sigmas = moving_scene(port, demo, motion, scene)
    seen = []

    class Bar:
        def update(self, value):
            seen.append(value)

    draw(port, scene, again(port, model, NoiseReinit(2)), noise, None, sigmas, progress=Bar())
    assert len(seen) == 3 * STEPS
    assert seen == sorted(seen)
    assert set(seen) == set(range(1, STEPS + 1))


def test_a_part_of_a_run_is_refused_and_the_model_stays_as_it_was(port, demo, motion, scene):
    model, noise, sigmas = moving_scene(port, demo, motion, scene)
    twice = again(port, model, NoiseReinit(1))
    plain = draw(port, scene, model, noise, None, sigmas)
    with pytest.raises(ValueError, match="Free Init: got a run that stops at level"):
        draw(port, scene, twice, noise, None, sigmas[:3])
    with pytest.raises(ValueError, match="Free Init: got a run without noise"):
        draw(port, scene, twice, torch.zeros_like(noise), 5 * noise, sigmas)
    assert torch.equal(draw(port, scene, model, noise, None, sigmas), plain)
    none, part = again(port, twice, NoiseReinit(0)), sigmas[:3]
    assert torch.equal(
        draw(port, scene, none, noise, None, part), draw(port, scene, model, noise, None, part)
    )


def test_one_forward_pass_is_not_repeated(port, demo, scene):
    """Foreground Mask makes such."""
    noisy = {"samples": scene.noise(FRAMES) * port.noise_unit(demo[0])}
    model = again(port, demo[0], NoiseReinit(2))
    wanted = port.predict(demo[0], scene.positive, noisy, 3.0)
    assert torch.equal(port.predict(model, scene.positive, noisy, 3.0), wanted)
