"""FreeInit and FreeNoise in ComfyUI: both kinds of sampler node, and what takes part of a run."""

from __future__ import annotations

from copy import copy

import torch
from comfy_extras import nodes_custom_sampler
from frameloom.models.edits.edit import Edit
from frameloom.models.long_video.free_init import NoiseReinit
from frameloom.models.long_video.free_noise import NoiseShuffle
from frameloom.tests.contract.test_free_init import FRAMES, again, by_hand
from frameloom.tests.host.inside.core import call, sample_custom, sample_plain


def test_the_plain_sampler_and_the_custom_one_draw_the_same(port, moving, scene):
    """On noise that is shuffled and sampled again, as by hand."""
    shuffle, latent = Edit("Free Noise", noise=NoiseShuffle(4, 2)), torch.zeros_like(scene.noise(FRAMES))
    model = again(port, port.install(moving, shuffle), 2)
    plain = sample_plain(model, scene, {"samples": latent})
    custom, clean = sample_custom(model, scene, {"samples": latent})
    assert torch.equal(plain, custom)
    torch.testing.assert_close(clean, plain, rtol=1e-3, atol=1e-3)  # the last run's last step
    noise = call(nodes_custom_sampler.RandomNoise, noise_seed=3).generate_noise({"samples": latent})
    wanted = by_hand(scene, moving, NoiseReinit(2), shuffle.noise.arrange(noise), edits=[shuffle])
    torch.testing.assert_close(plain, wanted, rtol=1e-3, atol=1e-3)


def test_conditions_of_a_part_of_the_steps_act_in_every_run(port, moving, scene):
    """ComfyUI works out noise levels of ConditioningSetTimestepRange once for all runs."""
    parts = copy(scene)
    parts.positive = [
        [tokens, {**options, "start_percent": start, "end_percent": start + 0.5}]
        for side, start in ((scene.positive, 0.5), (scene.negative, 0.0))
        for tokens, options in side
    ]
    drawn = parts.run(again(port, moving), frames=FRAMES)
    torch.testing.assert_close(drawn, by_hand(parts, moving, NoiseReinit(1)), rtol=1e-3, atol=1e-3)
