"""What every host promises of a mask encoder."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from frameloom.models.long_video.free_init import NoiseReinit
from frameloom.models.motion.checkpoint import MotionWeights
from frameloom.models.motion.edit import motion_edit
from frameloom.models.motion.lora import MotionLoRA
from frameloom.models.motion.mask_adapter import MASK_KEY
from frameloom.models.motion.module import MotionModel
from frameloom.models.training import Learner
from frameloom.models.video.windows import WindowPlan
from frameloom.tests.contract.test_free_init import again, by_hand
from frameloom.tests.support.layout import guide, lay_out
from frameloom.tests.support.motion import tiny_module
from frameloom.tests.support.scene import SIDE
from frameloom.tests.support.tensors import apart

FRAMES = 5
WIDTH = 32  # of the demo's first convolution


def encoder(seed=0):
    """An encoder's weight, which changes a lot."""
    return 0.3 * torch.randn(WIDTH, 5, 3, 3, generator=torch.Generator().manual_seed(seed))


# A mask adapter whose motion LoRA changes nothing else.
ADAPTER = MotionLoRA("adapter", {}, encoder())


def adapted(motion, strength=1.0):
    return motion.with_lora(ADAPTER, strength)


def whole(port, motion, weight):
    """A motion module whose own file has an encoder."""
    weights = motion.weights.with_encoder(MASK_KEY)
    return port.load_motion(replace(weights, state={**weights.state, MASK_KEY: weight}))


@contextmanager
def encoded_by_hand(model, latents, mask, strength=1.0):
    """Let the host's own UNet add the convolution of given frames behind its first, for every chunk of a batch."""
    unet = model.unet if hasattr(model, "unet") else model.model.diffusion_model
    first = unet.conv_in if hasattr(unet, "conv_in") else unet.input_blocks[0][0]
    word = torch.cat([latents * mask, mask], 1)
    word = torch.nn.functional.conv2d(word, encoder(), padding=1)

    def add(_module, _inputs, output):
        return output + strength * word.repeat(len(output) // len(word), 1, 1, 1).to(output)

    hook = first.register_forward_hook(add)
    try:
        yield
    finally:
        hook.remove()


def held(frames=(0,)):
    """Latents, and a mask that holds some of their frames."""
    latents = torch.randn(FRAMES, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(9))
    mask = torch.ones(FRAMES, 1, SIDE, SIDE)
    mask[list(frames)] = 0
    return latents, mask


@pytest.fixture
def draw(scene):
    """Sample a model with latents of which a mask holds a part."""

    def run(model, latents, mask=None, **more):
        return scene.run(model, frames=len(latents), latent=latents, mask=mask, **more)

    return run


@pytest.fixture
def told(scene, demo, motion):
    """The demo model with an adapted motion module."""
    return scene.moving(demo[0], adapted(motion))


@pytest.mark.parametrize("mask", [None, torch.ones(FRAMES, 1, SIDE, SIDE)], ids=["none", "everywhere"])
def test_where_nothing_is_given_it_is_bit_identical_to_the_module_without(moving, told, draw, mask):
    latents, _ = held()
    assert torch.equal(draw(told, latents, mask), draw(moving, latents, mask))


def test_it_is_the_convolution_of_what_is_given_added_behind_the_first(port, demo, motion, scene, draw):
    """Also part of a frame, of several prompts at once, and at the module's strength."""
    latents, mask = held((0, 3))
    mask[2, :, :, :3] = 0.25
    both = [*scene.positive, *port.encode_text(demo[1], "a blue cross")[0]]
    model, plain = (scene.moving(demo[0], module, 0.6) for module in (adapted(motion), motion))
    got = draw(model, latents, mask, positive=both)
    with encoded_by_hand(demo[0], latents / port.noise_unit(demo[0]), 1 - mask, strength=0.6):
        wanted = draw(plain, latents, mask, positive=both)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    assert apart(got, draw(plain, latents, mask, positive=both)) > 0.01
    assert torch.equal(draw(model, latents, mask, positive=both), got), "the hook stayed"


def test_a_module_that_does_not_act_tells_nothing(demo, motion, scene, draw):
    latents, mask = held()
    idle = scene.moving(demo[0], adapted(motion), strength=0.0)
    assert torch.equal(draw(idle, latents, mask), draw(demo[0], latents, mask))


def test_a_single_frame_is_told_nothing(demo, told, draw):
    latents, mask = (each[:1] for each in held())
    mask[0, :, :4] = 1
    assert torch.equal(draw(told, latents, mask), draw(demo[0], latents, mask))


def test_a_windows_frames_are_told_their_own(scene, told, draw):
    """Windows without overlap are clips by themselves."""
    latents, noise, mask = scene.noise(8).flip(-1), scene.noise(8), torch.ones(8, 1, SIDE, SIDE)
    mask[[0, 5, 6]] = 0
    got = draw(scene.windowed(told, WindowPlan(4, 0)), latents, mask, noise=noise)
    parts = zip(latents.split(4), mask.split(4), noise.split(4), strict=True)
    wanted = torch.cat([draw(told, *part, noise=start) for *part, start in parts])
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)


def test_a_lora_scales_adds_and_takes_away(port, demo, motion, scene, moving, draw):
    latents, mask = held()

    def drawn(module):
        return draw(scene.moving(demo[0], module), latents, mask)

    plain, half = draw(moving, latents, mask), drawn(whole(port, motion, 0.5 * encoder()))
    torch.testing.assert_close(drawn(adapted(motion, 0.5)), half, rtol=1e-4, atol=1e-4)
    added = whole(port, motion, 0.25 * encoder()).with_lora(ADAPTER, 0.25)
    torch.testing.assert_close(drawn(added), half, rtol=1e-4, atol=1e-4)
    assert apart(drawn(adapted(motion, -0.5)), half) > 0.01
    assert torch.equal(drawn(adapted(motion, 0.0)), plain)
    torch.testing.assert_close(drawn(adapted(adapted(motion, 0.7), -0.7)), plain, rtol=1e-3, atol=1e-3)
    assert torch.equal(draw(moving, latents, mask), plain), "the adapter stayed in the module"


def test_loras_before_and_behind_an_adapter_both_act(demo, motion, scene, told, draw):
    name = next(key for key in motion.weights.state if key.endswith("attention_blocks.0.to_q.weight"))
    generator = torch.Generator().manual_seed(3)
    pair = tuple(torch.randn(*shape, generator=generator) for shape in ((2, WIDTH), (WIDTH, 2)))
    lora = MotionLoRA("pan", {name: pair})
    orders = (adapted(motion.with_lora(lora, 0.8)), adapted(motion).with_lora(lora, 0.8))
    clips = [draw(scene.moving(demo[0], module), *held()) for module in orders]
    torch.testing.assert_close(*clips, rtol=1e-4, atol=1e-4)
    assert apart(clips[0], draw(told, *held())) > 1e-3


def test_modules_with_an_encoder_and_without_act_beside_each_other(port, demo, motion, scene, draw):
    latents, mask = held()
    half = scene.moving(demo[0], motion, 0.5)
    with encoded_by_hand(demo[0], latents / port.noise_unit(demo[0]), 1 - mask, strength=0.4):
        wanted = draw(scene.moving(half, motion, 0.4), latents, mask)
    got = draw(scene.moving(half, adapted(motion), 0.4), latents, mask)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_guidance_by_an_energy_asks_with_what_is_given(port, demo, moving, told, draw):
    """Its gradient is of the UNet as it is then asked."""
    latents, mask = held()
    plain = guide(port, moving)
    settings = {"positive": lay_out(port, demo[1], frames=FRAMES), "sigmas": torch.tensor([3.0, 0.0])}
    got = draw(guide(port, told), latents, mask, **settings)
    with encoded_by_hand(demo[0], latents / port.noise_unit(demo[0]), 1 - mask):
        wanted = draw(plain, latents, mask, **settings)
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)
    assert apart(got, draw(plain, latents, mask, **settings)) > 0.01


def test_runs_that_are_repeated_are_told_each_time(port, scene, told, draw):
    latents, mask = held()
    wanted = by_hand(scene, told, NoiseReinit(1), latent=latents, mask=mask)
    torch.testing.assert_close(draw(again(port, told), latents, mask), wanted, rtol=1e-3, atol=1e-3)


def test_the_model_is_as_before_after_an_exception(demo, told, draw):
    latents, mask = held()
    plain, wanted = (draw(model, latents, mask) for model in (demo[0], told))

    class Stop(Exception):
        pass

    class Bar:
        def update(self, done, preview=None):
            raise Stop

    with pytest.raises(Stop):
        draw(told, latents, mask, progress=Bar())
    assert torch.equal(draw(demo[0], latents, mask), plain)
    assert torch.equal(draw(told, latents, mask), wanted)


def test_training_is_told_what_is_given_of_each_video(port, demo, motion, scene):
    """And its gradient goes back to that, through the module: from a frame that is not given to the one that is."""
    forward = port.train_forward(port.install(demo[0], motion_edit("test", adapted(motion))), 3)
    with torch.inference_mode(False):
        generator = torch.Generator().manual_seed(2)
        noisy, tokens, latents = (
            torch.randn(6, *size, generator=generator).to(port.compute_device())
            for size in ((4, SIDE, SIDE), (77, 64), (4, SIDE, SIDE))
        )
        latents.requires_grad_(True)
        mask = torch.tensor([1.0, 0, 0, 0, 0, 1]).to(latents)[:, None, None, None].expand(6, 1, SIDE, SIDE)

        def predict(rows, given):
            return forward(
                noisy[rows], torch.full_like(noisy[rows, 0, 0, 0], 300).long(), tokens[rows], given=given
            )

        out = predict(slice(None), (latents, mask))
        (gradient,) = torch.autograd.grad(out[1].sum(), latents)
        for rows in (slice(3), slice(3, 6)):
            alone = predict(rows, (latents[rows], mask[rows]))
            torch.testing.assert_close(out[rows], alone, rtol=1e-4, atol=1e-4)
        nothing = predict(slice(None), None)
        assert torch.equal(predict(slice(None), (latents, torch.zeros_like(mask))), nothing)
        assert apart(out.detach(), nothing.detach()) > 0.01
    assert (gradient.abs().amax((1, 2, 3)) > 0).tolist() == [True, False, False, False, False, False]


def test_an_encoder_that_learns_has_the_gradient_of_what_it_changes(port, demo):
    """From zero on, against a difference quotient along the gradient."""
    with torch.inference_mode(False):
        plain = tiny_module(middle=False)
        weights = MotionWeights("tiny", "frameloom", plain.size, plain.state_dict(), None).with_encoder(
            MASK_KEY
        )
        network = MotionModel(weights.size)
        network.load_state_dict(weights.state)
        encoder = network.requires_grad_(False).get_parameter(MASK_KEY).requires_grad_()
        forward = port.train_forward(demo[0], 3, Learner(network, weights))
        generator = torch.Generator().manual_seed(2)
        noisy, latents, target = torch.randn(3, 3, 4, 8, 8, generator=generator)
        tokens = torch.randn(3, 77, 64, generator=generator)
        mask = torch.tensor([1.0, 0, 0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)

        def loss():
            out = forward(noisy, torch.full((3,), 300), tokens, given=(latents, mask))
            return (out - target)[1:].square().mean()

        (gradient,) = torch.autograd.grad(loss(), encoder)
        step = 1e-3 * gradient / gradient.norm()
        sides = []
        with torch.no_grad():
            for way in (step, -2 * step):
                encoder += way
                sides.append(float(loss()))
    assert gradient.norm() > 1e-4
    torch.testing.assert_close((sides[0] - sides[1]) / 2e-3, float(gradient.norm()), rtol=2e-2, atol=0)
