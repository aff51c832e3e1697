"""What every host promises of FreeInit."""

from __future__ import annotations

import pytest
import torch
from frameloom.models.edits.edit import Edit
from frameloom.models.edits.run import sample_run
from frameloom.models.long_video.free_init import NoiseReinit
from frameloom.models.long_video.free_noise import NoiseShuffle
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.support.tensors import apart

FRAMES = 5
STEPS = 3


def again(port, model, iterations=1, **settings):
    return port.install(model, Edit("Free Init", run=NoiseReinit(iterations, **settings)))


def by_hand(scene, model, reinit, noise=None, latent=None, sigmas=None, edits=(), **more):
    """What several runs by themselves give, each with the noise that follows from the last."""
    unit, noise = scene.port.noise_unit(model), scene.noise(FRAMES) if noise is None else noise
    sigmas = scene.port.sigmas(model, STEPS, "normal") if sigmas is None else sigmas

    def once(start, levels, _shown):
        return scene.run(model, noise=start, latent=latent, sigmas=levels, **more) / unit

    given = torch.zeros_like(noise) if latent is None else latent / unit
    highest = scene.port.timestep_to_sigma(model, 999)
    edits = [*edits, Edit("test", run=reinit)]
    return sample_run(edits, once, noise, given, sigmas, highest=highest) * unit


def test_runs_are_repeated_from_what_the_last_one_drew(port, moving, scene):
    settings = {"filter": "gaussian", "spatial": 0.5, "temporal": 0.3, "coarse_to_fine": True}
    drawn = scene.run(again(port, moving, 2, **settings), frames=FRAMES)
    wanted = by_hand(scene, moving, NoiseReinit(2, **settings))
    torch.testing.assert_close(drawn, wanted, rtol=1e-3, atol=1e-3)
    assert apart(drawn, scene.drawn(moving, FRAMES)) > 0.05


def test_a_clip_is_repeated_from_part_of_the_way_down(port, moving, scene):
    latent, rest = scene.drawn(moving, FRAMES), port.sigmas(moving, STEPS, "normal")[1:]
    more = {"noise": scene.noise(FRAMES).flip(0), "latent": latent, "sigmas": rest}
    drawn = scene.run(again(port, moving), **more)
    torch.testing.assert_close(drawn, by_hand(scene, moving, NoiseReinit(1), **more), rtol=1e-3, atol=1e-3)


def test_what_a_mask_holds_is_held(port, moving, scene):
    held = scene.noise(FRAMES).flip(0)
    mask = torch.ones_like(held[:, :1])
    mask[:2] = 0
    drawn = scene.run(again(port, moving), frames=FRAMES, latent=held, mask=mask)
    assert float((drawn[:2] - held[:2]).abs().max()) < 1e-5
    assert float((drawn[2:] - held[2:]).abs().max()) > 0.1


def test_each_run_begins_anew_with_windows_and_an_anchor(port, moving, scene):
    """Windows that move with the step, and an anchor of the run before, would give another clip."""
    edited = scene.windowed(scene.crossing(moving), WindowPlan(3, 1, "uniform", 2))
    drawn = scene.run(again(port, edited), frames=FRAMES)
    torch.testing.assert_close(drawn, by_hand(scene, edited, NoiseReinit(1)), rtol=1e-3, atol=1e-3)


def test_noise_that_recurs_recurs_in_every_run(port, moving, scene):
    shuffle = NoiseShuffle(2, 2)
    recurring = Edit("Free Noise", noise=shuffle)
    drawn = scene.run(again(port, port.install(moving, recurring)), frames=FRAMES)
    arranged = shuffle.arrange(scene.noise(FRAMES))
    wanted = by_hand(scene, moving, NoiseReinit(1), arranged, edits=[recurring])
    torch.testing.assert_close(drawn, wanted, rtol=1e-3, atol=1e-3)
    assert apart(drawn, by_hand(scene, moving, NoiseReinit(1), arranged)) > 0.01


def test_progress_goes_once_from_start_to_end(port, moving, scene):
    seen = []

    class Bar:
        def update(self, value):
            seen.append(value)

    scene.run(again(port, moving, 2), progress=Bar())
    assert len(seen) == 3 * STEPS
    assert seen == sorted(seen)
    assert set(seen) == set(range(1, STEPS + 1))


def test_a_part_of_a_run_is_refused_and_the_model_stays_as_it_was(port, moving, scene):
    twice, part = again(port, moving), port.sigmas(moving, STEPS, "normal")[:3]
    plain = scene.drawn(moving)
    with pytest.raises(ValueError, match="Free Init: got a run that stops at level"):
        scene.run(twice, sigmas=part)
    with pytest.raises(ValueError, match="Free Init: got a run without noise"):
        scene.run(twice, noise=torch.zeros_like(plain), latent=5 * plain)
    assert torch.equal(scene.run(moving), plain)
    assert torch.equal(scene.run(again(port, twice, 0), sigmas=part), scene.run(moving, sigmas=part))


def test_one_forward_pass_is_not_repeated(port, demo, scene):
    """Foreground Mask makes such."""
    assert torch.equal(scene.predict(again(port, demo[0], 2)), scene.predict(demo[0]))
