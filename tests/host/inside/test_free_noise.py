"""FreeNoise in ComfyUI: its contract, both kinds of sampler node, noise of either source, LoRAs, windows, clip norm."""

from __future__ import annotations

from dataclasses import replace

import comfy.context_windows
import pytest
import torch
from comfy_extras import nodes_custom_sampler
from frameloom.models.long_video.free_noise import WindowFusion
from frameloom.models.motion.lora import MotionLoRA
from frameloom.models.video.noise import FrameNoise
from frameloom.tests.contract.test_free_noise import FRAMES, FUSION, SHUFFLE, free

import nodes

SEED = 3


def call(name, **inputs):
    """Run one of ComfyUI's nodes for custom sampling."""
    return getattr(nodes_custom_sampler, name).execute(**inputs).args[0]


def sample_plain(model, scene, latent):
    (drawn,) = nodes.KSampler().sample(
        model=model, seed=SEED, steps=3, cfg=3.0, sampler_name="euler", scheduler="normal",
        positive=scene.positive, negative=scene.negative, latent_image=latent, denoise=1.0,
    )  # fmt: skip
    return drawn["samples"]


def sample_custom(model, scene, latent, noise):
    guider = call("CFGGuider", model=model, positive=scene.positive, negative=scene.negative, cfg=3.0)
    return call(
        "SamplerCustomAdvanced", noise=noise, guider=guider, sampler=call("KSamplerSelect", sampler_name="euler"),
        sigmas=call("BasicScheduler", model=model, scheduler="normal", steps=3, denoise=1.0), latent_image=latent,
    )["samples"]  # fmt: skip


class Ready:
    """A NOISE that was drawn already."""

    seed = SEED

    def __init__(self, noise):
        self.noise = noise

    def generate_noise(self, latent):
        return self.noise


@pytest.fixture
def latent():
    return {"samples": torch.zeros(FRAMES, 4, 16, 16)}


def test_the_plain_sampler_and_the_custom_one_draw_the_same(port, demo, motion, scene, latent):
    model = free(port, scene.moving(demo[0], motion), noise=SHUFFLE, time=FUSION)
    custom = sample_custom(model, scene, latent, call("RandomNoise", noise_seed=SEED))
    assert torch.equal(sample_plain(model, scene, latent), custom)


@pytest.mark.parametrize("kind", ["RandomNoise", "VideoNoise"])
def test_noise_of_any_source_is_shuffled_by_frames(port, demo, motion, scene, latent, kind):
    moving = scene.moving(demo[0], motion)
    source = FrameNoise(SEED) if kind == "VideoNoise" else call("RandomNoise", noise_seed=SEED)
    drawn = source.generate_noise(latent)
    shuffled = sample_custom(free(port, moving, noise=SHUFFLE), scene, latent, source)
    by_hand = Ready(drawn[SHUFFLE.sources(range(FRAMES))])
    assert torch.equal(shuffled, sample_custom(moving, scene, latent, by_hand))
    assert not torch.allclose(shuffled, sample_custom(moving, scene, latent, source), atol=1e-2)


def test_a_run_that_goes_on_without_noise_is_not_touched(port, demo, scene, latent):
    noisy = {"samples": latent["samples"] + 10 * scene.noise(FRAMES)}
    plain, shuffled = (
        sample_custom(model, scene, noisy, call("DisableNoise"))
        for model in (demo[0], free(port, demo[0], noise=SHUFFLE))
    )
    assert torch.equal(plain, shuffled)


def test_a_motion_lora_and_a_module_of_clip_norms_act_within_windows(port, demo, motion, scene):
    generator = torch.Generator().manual_seed(0)
    names = [key for key in motion.weights.state if key.endswith("to_v.weight")]
    widths = {name: motion.weights.state[name].shape[0] for name in names}
    pairs = {
        name: (
            0.3 * torch.randn(2, width, generator=generator),
            0.3 * torch.randn(width, 2, generator=generator),
        )
        for name, width in widths.items()
    }
    noise = scene.noise(8)
    with_lora = scene.moving(demo[0], motion.with_lora(MotionLoRA("test", pairs), 0.8))
    fused = scene.run(free(port, with_lora, time=WindowFusion(4, 4)), noise=noise)
    clips = torch.cat([scene.run(with_lora, noise=part) for part in noise.split(4)])
    torch.testing.assert_close(fused, clips, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(clips[:4], scene.run(scene.moving(demo[0], motion), noise=noise[:4]), atol=1e-2)
    normed = scene.moving(demo[0], port.load_motion(replace(motion.weights, clip_norm=True)))
    clip = scene.run(free(port, normed, time=FUSION), noise=noise)
    assert torch.isfinite(clip).all()
    assert not torch.allclose(
        clip, scene.run(free(port, scene.moving(demo[0], motion), time=FUSION), noise=noise)
    )


def test_within_context_windows_noise_is_the_clips_and_fusion_the_windows(port, demo, motion, scene):
    """Windows of 6 frames, 3 apart: each is given what it would be by itself."""
    moving = scene.moving(demo[0], motion)

    def windowed(model):
        model = model.clone()
        model.model_options["context_handler"] = comfy.context_windows.IndexListContextHandler(
            context_schedule=comfy.context_windows.get_matching_context_schedule("standard_static"),
            fuse_method=comfy.context_windows.get_matching_fuse_method("pyramid"),
            context_length=6,
            context_overlap=3,
        )
        comfy.context_windows.create_prepare_sampling_wrapper(model)
        return model

    noise = scene.noise(9)
    one = scene.run(windowed(free(port, moving, noise=SHUFFLE)), noise=noise)
    assert torch.equal(one, scene.run(windowed(moving), noise=noise[SHUFFLE.sources(range(9))]))
    fused = scene.run(windowed(free(port, moving, time=FUSION)), noise=noise)
    assert torch.isfinite(fused).all()
    assert not torch.allclose(fused, scene.run(windowed(moving), noise=noise), atol=1e-2)
    assert torch.equal(
        scene.run(windowed(free(port, moving, time=WindowFusion(8, 4))), noise=noise),
        scene.run(windowed(moving), noise=noise),
    ), "a context window that fits one of attention's is attended to as a whole"
